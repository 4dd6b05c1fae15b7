//! The texts in an expression.

use std::collections::HashMap;

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, LitStr, Macro, Token};

/// What names stand for.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// Constants of the package.
    pub(crate) constants: HashMap<String, String>,
    /// Constants of the file.
    pub(crate) own: HashMap<String, String>,
    /// Variables of the function so far.
    pub(crate) locals: HashMap<String, Vec<String>>,
}

impl Lookup {
    /// The texts that an expression may have.
    pub(crate) fn texts(&self, expression: &Expr) -> Vec<String> {
        match expression {
            Expr::Reference(inner) => self.texts(&inner.expr),
            Expr::Paren(inner) => self.texts(&inner.expr),
            Expr::MethodCall(call) if call.args.is_empty() => self.texts(&call.receiver),
            Expr::Path(path) => {
                let name = path.path.segments.last().map(|last| last.ident.to_string());
                name.map(|name| self.named(&name)).unwrap_or_default()
            }
            _ => literals(expression),
        }
    }

    fn named(&self, name: &str) -> Vec<String> {
        let local = self.locals.get(name).cloned();
        let constant = self.own.get(name).or_else(|| self.constants.get(name));
        local.or_else(|| constant.map(|text| vec![text.clone()])).unwrap_or_default()
    }
}

/// The `X` of a path `Reason::X`.
pub(crate) fn reason_of(expression: &Expr) -> Option<String> {
    let Expr::Path(path) = expression else { return None };
    let mut segments = path.path.segments.iter().rev();
    let (last, before) = (segments.next()?, segments.next()?);
    (before.ident == "Reason").then(|| last.ident.to_string())
}

/// All string literals of an expression, in their order.
pub(crate) fn literals(expression: &Expr) -> Vec<String> {
    let mut found = Literals::default();
    found.visit_expr(expression);
    found.0
}

/// The arguments of a macro like `format!`; none of one with a syntax of its own.
pub(crate) fn arguments(item: &Macro) -> Vec<Expr> {
    let parsed = item.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
    parsed.map(|arguments| arguments.into_iter().collect()).unwrap_or_default()
}

#[derive(Default)]
struct Literals(Vec<String>);

impl<'ast> Visit<'ast> for Literals {
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_lit_str(&mut self, literal: &'ast LitStr) {
        self.0.push(literal.value());
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        for argument in arguments(item) {
            self.visit_expr(&argument);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.visit_expr(&arm.body);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "expect" {
            return self.visit_expr(&call.receiver);
        }
        visit::visit_expr_method_call(self, call);
    }
}
