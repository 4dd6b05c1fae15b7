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
            "{path}: both properties and additionalProperties"
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

/// Every schema below `properties`, with its path.
fn fields(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        look(&path, field);
        fields(&path, field, look);
        fields(&path, &field["items"], look);
        fields(&path, &field["additionalProperties"], look);
    }
}

#[test]
fn every_field_and_every_enum_value_is_described() {
    let crd = crd();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let (mut described, mut values) = (0, 0);
    fields("", schema, &mut |path, field| {
        let description = field["description"].as_str().unwrap_or_default();
        assert!(!description.is_empty(), "{path} has no description");
        let broken = description.replace("\n\n", "").contains('\n');
        assert!(!broken, "{path}: a line break inside a paragraph, which kubectl explain keeps");
        described += 1;
        for value in field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            values += 1;
            assert!(
                description.contains(&format!("`{value}`: ")),
                "{path}: {value} is not described"
            );
        }
    });
    assert!(described > 100 && values > 30, "{described} fields, {values} values");
}

#[test]
fn field_of_an_enum_type_keeps_its_own_description() {
    let crd = crd();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let lock =
        &schema["spec"]["properties"]["extract"]["properties"]["consistencyLock"]["description"];
    let lock = lock.as_str().unwrap();
    assert!(lock.starts_with("Whether the run locks the table"), "{lock}");
    assert!(lock.contains("`brief`: One session holds"), "{lock}");
}

#[test]
fn conditions_are_a_map_by_type() {
    let crd = crd();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let conditions = &schema["status"]["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
}

/// `kubectl get all` would fail for users who may not list this kind.
#[test]
fn kind_is_in_no_category_of_other_kinds() {
    assert_eq!(crd()["spec"]["names"]["categories"], serde_json::json!(["tidemark"]));
}
