//! Collects texts from the source: what belongs to a reason, log lines, and other sentences.

mod expressions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, LitStr, Local, Macro, Pat, Token};

use self::expressions::{Lookup, arguments, literals, reason_of};
use crate::prose::is_prose;

/// The packages whose texts users read.
const PACKAGES: [&str; 5] = ["crds", "operator/core", "operator", "worker/core", "worker"];
/// Where `Reason` is declared.
const REASONS: &str = "crds/src/condition.rs";

/// The texts of a reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Report {
    pub(crate) reason: String,
    /// Message and remedy.
    pub(crate) lines: Vec<String>,
    /// The literals that they are made of.
    pub(crate) literals: Vec<String>,
}

/// What was collected; the order of files and lines is lost on purpose.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) reports: BTreeSet<Report>,
    /// By package: level and text.
    pub(crate) logs: BTreeMap<&'static str, BTreeSet<(String, String)>>,
    /// By package.
    pub(crate) others: BTreeMap<&'static str, BTreeSet<String>>,
}

/// The reasons and what they mean, in alphabetical order.
pub(crate) fn meanings(root: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(root.join(REASONS)).context(REASONS)?;
    let declared = text.lines().map(str::trim).skip_while(|line| *line != "Reason {").skip(1);
    let mut meanings = BTreeMap::new();
    let mut meaning = Vec::new();
    for line in declared.take_while(|line| *line != "}") {
        match line.strip_prefix("///") {
            Some(words) => meaning.push(words.trim()),
            None => {
                let name = line.trim_end_matches(',').to_owned();
                meanings.insert(name, std::mem::take(&mut meaning).join(" "));
            }
        }
    }
    Ok(meanings)
}

/// Everything in the source of the product, tests left out.
pub(crate) fn collect(root: &Path) -> Result<Texts> {
    let mut texts = Texts::default();
    for package in PACKAGES {
        let mut files = Vec::new();
        list(&root.join(package).join("src"), &mut files)?;
        files.sort();
        let mut parsed = Vec::new();
        for path in files {
            let text = std::fs::read_to_string(&path)?;
            let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
            parsed.push(file);
        }
        let mut constants = HashMap::new();
        for file in &parsed {
            Constants(&mut constants).visit_file(file);
        }
        for file in &parsed {
            let constants = constants.clone();
            let mut own = HashMap::new();
            Constants(&mut own).visit_file(file);
            let lookup = Lookup { constants, own, locals: HashMap::new() };
            Collector { package, lookup, texts: &mut texts }.visit_file(file);
        }
    }
    Ok(texts)
}

/// Files of the product itself. Tables of database errors have a page of their own, and statements are no texts.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(stem, "tests" | "sql" | "bin") {
                list(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !matches!(stem, "tests" | "page" | "rules")
            && !stem.ends_with("_table")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Constants that are texts, by their name.
struct Constants<'a>(&'a mut HashMap<String, String>);

impl<'ast> Visit<'ast> for Constants<'_> {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        if let [text] = literals(&item.expr).as_slice() {
            self.0.insert(item.ident.to_string(), text.clone());
        }
    }
}

struct Collector<'a> {
    package: &'static str,
    lookup: Lookup,
    texts: &'a mut Texts,
}

impl Collector<'_> {
    /// Records the texts of a reason, if there is one among these expressions.
    fn report<'e>(&mut self, expressions: impl Iterator<Item = &'e Expr> + Clone) {
        let Some(reason) = expressions.clone().find_map(reason_of) else { return };
        let texts: Vec<Vec<String>> = expressions
            .filter(|expression| reason_of(expression).is_none())
            .map(|expression| self.lookup.texts(expression))
            .map(|texts| texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
            .filter(|texts: &Vec<String>| !texts.is_empty())
            .collect();
        if texts.is_empty() {
            return;
        }
        let lines = texts.iter().map(|texts| texts.join(" | ")).collect();
        let literals = texts.into_iter().flatten().collect();
        self.texts.reports.insert(Report { reason, lines, literals });
    }

    fn other(&mut self, text: String) {
        if is_prose(&text) {
            self.texts.others.entry(self.package).or_default().insert(text);
        }
    }

    fn in_function(&mut self, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.lookup.locals);
        visit(self);
        self.lookup.locals = outer;
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let cfg = || attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test");
        path.is_ident("test") || (path.is_ident("cfg") && cfg())
    })
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.in_function(|this| visit::visit_item_fn(this, item));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            self.in_function(|this| visit::visit_impl_item_fn(this, item));
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let arguments = Punctuated::<Expr, Token![,]>::parse_terminated;
        if attribute.path().is_ident("error")
            && let Ok(arguments) = attribute.parse_args_with(arguments)
        {
            let texts = arguments.first().map(literals).unwrap_or_default();
            self.texts.others.entry(self.package).or_default().extend(texts);
        }
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if let (Pat::Ident(name), Some(init)) = (&local.pat, &local.init) {
            let texts = self.lookup.texts(&init.expr);
            self.lookup.locals.insert(name.ident.to_string(), texts);
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        self.report(call.args.iter());
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "expect" {
            return self.visit_expr(&call.receiver);
        }
        self.report(call.args.iter());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_struct(&mut self, item: &'ast syn::ExprStruct) {
        self.report(item.fields.iter().map(|field| &field.expr));
        visit::visit_expr_struct(self, item);
    }

    fn visit_expr_tuple(&mut self, tuple: &'ast syn::ExprTuple) {
        self.report(tuple.elems.iter());
        visit::visit_expr_tuple(self, tuple);
    }

    fn visit_lit_str(&mut self, literal: &'ast LitStr) {
        self.other(literal.value());
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        let name = item.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        match name.as_str() {
            "error" | "warn" | "info" | "debug" | "trace" => {
                let tokens = item.tokens.clone().into_iter();
                let texts = tokens.filter_map(|token| {
                    syn::parse_str::<LitStr>(&token.to_string()).ok().map(|text| text.value())
                });
                if let Some(text) = texts.last() {
                    self.texts.logs.entry(self.package).or_default().insert((name, text));
                }
            }
            "assert" | "assert_eq" | "assert_ne" | "debug_assert" | "unreachable" | "panic"
            | "json" | "matches" => {}
            _ => {
                for expression in arguments(item) {
                    self.visit_expr(&expression);
                }
            }
        }
    }
}
