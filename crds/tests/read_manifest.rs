//! A manifest is refused from a file for the reason for which the API server refuses it.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::fs;
use std::path::{Path, PathBuf};

use crds::manifest::{ManifestError, read};

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(".").join("examples").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_example_is_accepted() {
    let paths = yaml_files(".");
    assert!(paths.len() >= 15, "{paths:?}");
    for path in paths {
        read(&fs::read_to_string(&path).unwrap())
            .map_err(|error| format!("{}: {error}", path.display()))
            .unwrap();
    }
}

#[test]
fn every_refused_example_is_refused_with_the_message_of_its_rule() {
    let (mut refused, mut wrong) = (0, Vec::new());
    for path in yaml_files("refused") {
        let text = fs::read_to_string(&path).unwrap();
        let why = text.lines().next().unwrap().strip_prefix("# refused: ").unwrap();
        // the API server refuses the change from the first document to the second one
        let changes = text.lines().any(|line| line == "---");
        let found = read(&text);
        let as_expected = match &found {
            Err(ManifestError::Documents(2)) => changes,
            Err(ManifestError::Refused(_)) => {
                !changes && found.as_ref().unwrap_err().to_string().contains(why)
            }
            Ok(_) | Err(_) => false,
        };
        refused += usize::from(!changes);
        if !as_expected {
            wrong.push(format!("{}: {why}: {found:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused >= 75, "{refused}");
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
