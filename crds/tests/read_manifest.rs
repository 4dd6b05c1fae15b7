//! A manifest is refused from a file for the reason for which the API server refuses it.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod examples;

use std::fs;

use crds::ExtractJob;
use crds::manifest::{ManifestError, Violation, read};
use kube::CustomResourceExt as _;
use regex::Regex;
use serde_json::{Value, json};

use examples::manifests;

/// What separates the documents of a file.
const SEPARATOR: &str = "\n---\n";

#[test]
fn every_example_is_accepted() {
    for path in manifests(".") {
        read(&fs::read_to_string(&path).unwrap())
            .map_err(|error| format!("{}: {error}", path.display()))
            .unwrap();
    }
}

/// A manifest of `examples/refused`.
struct Refused {
    file: String,
    /// The part of the message that its first line names.
    why: String,
    text: String,
    /// What is refused of the only document, as far as the first line names it.
    expected: Vec<Violation>,
}

impl Refused {
    /// Whether the API server refuses the change from the first document to the second one.
    fn is_change(&self) -> bool {
        self.text.contains(SEPARATOR)
    }
}

fn refused() -> Vec<Refused> {
    let example = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let why = text.lines().next().unwrap().strip_prefix("# refused: ").unwrap().to_owned();
        let mut expected = match read(&text) {
            Err(ManifestError::Refused(violations)) => violations,
            Ok(_) | Err(_) => Vec::new(),
        };
        expected.retain(|found| found.to_string().contains(&why));
        Refused { file: path.display().to_string(), why, text, expected }
    };
    manifests("refused").into_iter().map(example).collect()
}

/// A CEL rule or a pattern of the schema.
struct Rule {
    /// Matches the path of each value that it checks.
    place: String,
    message: String,
    /// Whether it compares an object with the one before a change.
    of_change: bool,
}

impl Rule {
    fn is_expected_by(&self, example: &Refused) -> bool {
        if self.of_change || example.is_change() {
            return self.of_change && example.is_change() && self.message.contains(&example.why);
        }
        let place = Regex::new(&format!("^{}$", self.place)).unwrap();
        example
            .expected
            .iter()
            .any(|found| found.message == self.message && place.is_match(&found.path))
    }
}

/// The rules and patterns of the generated schema.
fn rules() -> Vec<Rule> {
    let crd = json!(ExtractJob::crd());
    let mut found = Vec::new();
    collect("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
    found
}

fn collect(place: &str, schema: &Value, found: &mut Vec<Rule>) {
    if !schema.is_object() {
        return;
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.push(Rule {
            place: place.to_owned(),
            message: rule["message"].as_str().unwrap().to_owned(),
            of_change: rule["rule"].as_str().unwrap().contains("oldSelf"),
        });
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let message = format!("Invalid value: should match '{pattern}'");
        found.push(Rule { place: place.to_owned(), message, of_change: false });
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if place.is_empty() { "" } else { r"\." };
        collect(&format!("{place}{dot}{name}"), field, found);
    }
    collect(&format!(r"{place}\..+"), &schema["additionalProperties"], found);
    collect(&format!(r"{place}\[[0-9]+\]"), &schema["items"], found);
}

#[test]
fn every_refused_example_is_refused_with_the_message_of_its_rule() {
    let rules = rules();
    let mut wrong = Vec::new();
    for example in refused() {
        let as_expected = if example.is_change() {
            // each document is valid: only the change is refused
            example.text.split(SEPARATOR).count() == 2
                && example.text.split(SEPARATOR).all(|document| read(document).is_ok())
                && rules.iter().any(|rule| rule.is_expected_by(&example))
        } else {
            !example.expected.is_empty()
        };
        if !as_expected {
            let Refused { file, why, text, .. } = example;
            wrong.push(format!("{file}: {why}: {:?}", read(&text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_and_pattern_of_the_schema_has_a_refused_example() {
    let examples = refused();
    let rules = rules();
    assert!(rules.iter().any(|rule| rule.of_change), "no rule about a change was found");
    let without: Vec<String> = rules
        .iter()
        .filter(|rule| !examples.iter().any(|example| rule.is_expected_by(example)))
        .map(|rule| format!("{}: {}", rule.place, rule.message))
        .collect();
    assert!(without.is_empty(), "no manifest in examples/refused for:\n{}", without.join("\n"));
}

/// A manifest with one line in the place of another.
fn with(line: &str, other: &str) -> String {
    let text = fs::read_to_string("examples/incremental.yaml").unwrap();
    assert!(text.contains(line), "{text}");
    text.replace(line, other)
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn misspelt_field_is_refused_with_the_nearest_name() {
    for (line, other, said) in [
        (
            "\n  extract:",
            "\n  extrct:",
            r#"unknown field "spec.extrct", did you mean "spec.extract"?"#,
        ),
        ("\nspec:", "\nspecs:", r#"unknown field "specs", did you mean "spec"?"#),
        ("\n  name:", "\n  nam:", r#"unknown field "metadata.nam", did you mean "metadata.name"?"#),
        (
            "\n  output:",
            "\n  watermark: {}\n  output:",
            r#"unknown field "spec.watermark", did you mean "spec.extract.watermark"?"#,
        ),
        ("\n  output:", "\n  xyzzy: 1\n  output:", r#"unknown field "spec.xyzzy""#),
    ] {
        assert_eq!(refusal(&with(line, other)), said);
    }
}

#[test]
fn name_without_a_unit_is_refused_with_each_name_that_has_one() {
    for (file, names) in [
        (
            "lag-without-unit",
            r#""spec.extract.watermark.lagSeconds" or "spec.extract.watermark.lagUnits"?"#,
        ),
        ("wait-without-unit", r#""spec.extract.watermark.waitSeconds"?"#),
    ] {
        let text = fs::read_to_string(format!("examples/refused/{file}.yaml")).unwrap();
        let said = refusal(&text);
        assert!(said.contains(&format!("did you mean {names}")), "{said}");
    }
}

#[test]
fn input_other_than_one_extract_job_is_refused() {
    let one = with("\nspec:", "\nspec:");
    for (text, said) in [
        (String::new(), "0 YAML documents, but exactly one ExtractJob is needed"),
        (
            "---\n---\n# nothing\n".to_owned(),
            "0 YAML documents, but exactly one ExtractJob is needed",
        ),
        (format!("{one}\n---\n{one}"), "2 YAML documents, but exactly one ExtractJob is needed"),
        (
            one.replace("kind: ExtractJob", "kind: Job"),
            "apiVersion tidemark.dev/v1alpha1, kind Job, but an ExtractJob of tidemark.dev/v1alpha1 is needed",
        ),
        (
            one.replace("tidemark.dev/v1alpha1", "tidemark.dev/v1"),
            "apiVersion tidemark.dev/v1, kind ExtractJob, but an ExtractJob of tidemark.dev/v1alpha1 is needed",
        ),
        (
            "just a text".to_owned(),
            "apiVersion none, kind none, but an ExtractJob of tidemark.dev/v1alpha1 is needed",
        ),
    ] {
        assert_eq!(refusal(&text), said);
    }
    let broken = refusal(&one.replace("\nspec:", "\nspec: [canary-7f3a91"));
    assert!(broken.starts_with("not valid YAML: line "), "{broken}");
    assert!(!broken.contains("canary"), "a text of the file: {broken}");
}

#[test]
fn document_that_kubectl_printed_is_accepted() {
    let text = with("\nspec:", "\n  uid: 01a2\n  managedFields: []\nspec:");
    read(&format!("---\n{text}\nstatus:\n  phase: Complete\n")).unwrap();
    read(&with("\n  output:", "\n  worker: null\n  output:")).unwrap();
}

#[test]
fn value_of_another_type_is_refused_with_its_path() {
    let said = refusal(&with("\n  output:", "\n  activeDeadlineSeconds: \"60\"\n  output:"));
    assert_eq!(said, "spec.activeDeadlineSeconds: Invalid value: must be an integer, not a string");
    let said = refusal(&with("\n  output:", "\n  activeDeadlineSeconds: 1.5\n  output:"));
    assert_eq!(said, "spec.activeDeadlineSeconds: Invalid value: must be an integer, not a number");
    let said = refusal(&with("database: shop", "database: 7"));
    assert_eq!(
        said,
        "spec.source.database: Invalid value: must be a string, not a number (put it in quotes)"
    );
    let said = refusal(&with("\n  output:", "\n  activeDeadlineSeconds: 1\n  output:"));
    assert!(said.ends_with(": Invalid value: 1: should be greater than or equal to 10"), "{said}");
}
