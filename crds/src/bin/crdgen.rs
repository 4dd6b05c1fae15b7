//! Prints the CRDs as YAML, for the chart: `crdgen` to standard output, `crdgen FOLDER` into
//! one file for each kind. What it writes is never edited by hand.

use std::io::{Error, Write, stdout};
use std::path::Path;

use crds::{ExtractJob, ExtractJobSpec, ExtractJobStatus};
use kube::CustomResourceExt;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

const HEADER: &str = "# Written by `make generate` from crds/src; do not edit.\n";

fn main() -> Result<(), Error> {
    let text = yaml(&schema_of(json!(ExtractJob::crd())))?;
    match std::env::args().nth(1) {
        Some(folder) => std::fs::write(Path::new(&folder).join("extractjobs.yaml"), text),
        None => stdout().write_all(text.as_bytes()),
    }
}

/// The CRD as the chart keeps it: Helm neither removes it nor its objects with the release.
fn schema_of(mut crd: Value) -> Value {
    crd["metadata"]["annotations"] = json!({ "helm.sh/resource-policy": "keep" });
    without_unknown_formats(&mut crd);
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    describe_all::<ExtractJobSpec>(&mut schema["spec"]);
    describe_all::<ExtractJobStatus>(&mut schema["status"]);
    join_lines(&mut crd);
    crd
}

/// Makes one line of each paragraph of a description: `kubectl explain` breaks long lines and keeps short ones.
fn join_lines(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner {
                    Value::String(text) if name == "description" => {
                        let paragraphs = text.split("\n\n").map(|part| part.replace('\n', " "));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    _ => join_lines(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Gives each field of a CRD's schema its own description. The schema of kube has that of the field's type in its
/// place, and does not describe the values of an enum.
fn describe_all<T: JsonSchema>(schema: &mut Value) {
    let typed = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let typed = typed.to_value();
    let definitions = typed["$defs"].as_object().cloned().unwrap_or_default();
    describe(schema, &typed, &definitions);
}

fn describe(schema: &mut Value, typed: &Value, definitions: &Map<String, Value>) {
    let resolved = resolve(typed, definitions);
    let own = [typed, resolved].into_iter().find_map(|schema| schema["description"].as_str());
    if let Some(own) = own {
        let values = resolved["oneOf"].as_array().into_iter().flatten().filter_map(value);
        let described: Vec<_> = std::iter::once(own.to_owned()).chain(values).collect();
        schema["description"] = described.join(" ").into();
    }
    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, field) in fields {
            describe(field, &resolved["properties"][name], definitions);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get_mut(inner).filter(|schema| schema.is_object()) {
            describe(schema, &resolved[inner], definitions);
        }
    }
}

/// The schema that a reference leads to, also of a field that may be absent.
fn resolve<'a>(typed: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    if let Some(name) = typed["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return definitions.get(name).unwrap_or(&Value::Null);
    }
    let present = typed["anyOf"].as_array().into_iter().flatten();
    match present.into_iter().find(|choice| choice["type"] != "null") {
        Some(choice) => resolve(choice, definitions),
        None => typed,
    }
}

/// A value of an enum and its description.
fn value(choice: &Value) -> Option<String> {
    let name = choice["const"].as_str()?;
    let description = choice["description"].as_str()?;
    Some(format!("`{name}`: {description}"))
}

/// Drops the widths of Rust's unsigned integers: OpenAPI has none, and the API server warns of them.
fn without_unknown_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let width = fields.get("format").and_then(Value::as_str);
            if width.is_some_and(|format| format.starts_with("uint")) {
                fields.remove("format");
            }
            fields.values_mut().for_each(without_unknown_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_unknown_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn yaml(crd: &Value) -> Result<String, Error> {
    let layout = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let body = serde_saphyr::to_string_with_options(crd, layout).map_err(Error::other)?;
    Ok(format!("{HEADER}{body}"))
}
