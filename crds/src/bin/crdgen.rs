//! Prints the CRDs as YAML, for the chart: `crdgen` to standard output, `crdgen FOLDER` into
//! one file for each kind. What it writes is never edited by hand.

use std::io::{Error, Write, stdout};
use std::path::Path;

use crds::ExtractJob;
use kube::CustomResourceExt;
use serde_json::{Value, json};

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
    crd
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
