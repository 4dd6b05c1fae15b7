//! The CRDs of the chart are those of the types, and the API server can take them.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::process::Command;

use serde_json::Value;

const COMMITTED: &str = include_str!("../../charts/tidemark-crds/templates/extractjobs.yaml");

fn crd() -> Value {
    serde_saphyr::from_str(COMMITTED).unwrap()
}

/// Calls `look` with every schema below `value`, and with its path.
fn walk(path: &str, value: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, value);
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| walk(&format!("{path}.{name}"), field, look));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(path, item, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_committed_crd_is_the_generated_one() {
    let run = Command::new(env!("CARGO_BIN_EXE_crdgen")).output().unwrap();
    let generated = String::from_utf8(run.stdout).unwrap();
    assert!(
        generated == COMMITTED,
        "charts/tidemark-crds/templates/extractjobs.yaml is not what the types say: run `make generate`"
    );
}

#[test]
fn helm_keeps_the_crd_and_reads_no_template_in_it() {
    assert_eq!(crd()["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert!(!COMMITTED.contains("{{"), "Helm would take it for a template");
}

#[test]
fn the_schema_is_structural() {
    walk("", &crd(), &mut |path, value| {
        let Some(schema) = value.as_object() else {
            return;
        };
        assert!(
            !(schema.contains_key("properties") && schema.contains_key("additionalProperties")),
            "{path}: properties beside additionalProperties"
        );
        assert!(!schema.contains_key("$ref"), "{path}: a reference");
        let width = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        assert!(!width.starts_with("uint"), "{path}: format {width} is not one of OpenAPI");
    });
}

/// The API server fills new defaults into old objects: that would change what was asked for.
#[test]
fn no_field_has_a_default() {
    walk("", &crd()["spec"]["versions"], &mut |path, value| {
        assert!(value.get("default").is_none(), "{path} has a default");
    });
}

#[test]
fn every_rule_has_a_message() {
    let mut rules = 0;
    walk("", &crd(), &mut |path, value| {
        if value.get("rule").is_some_and(Value::is_string) {
            rules += 1;
            assert!(value["message"].is_string(), "{path}: {}", value["rule"]);
        }
    });
    assert!(rules > 20, "{rules} rules");
}
