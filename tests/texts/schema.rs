//! Descriptions of the fields of the CRD, and messages of its rules.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

const CRD: &str = "charts/tidemark-crds/templates/extractjobs.yaml";
/// Fields of types that Kubernetes describes.
const OF_KUBERNETES: [&str; 5] =
    ["affinity", "conditions", "resources", "tolerations", "topologySpreadConstraints"];

/// Adds both.
pub(crate) fn write(page: &mut String, root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join(CRD)).context(CRD)?;
    let crd: Value = serde_saphyr::from_str(&text)?;
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    page.push_str(
        "\n## Fields of an ExtractJob\n\nFields of types that Kubernetes describes are left out.\n\n",
    );
    let whole = schema["description"].as_str().unwrap_or_default();
    let _ = writeln!(page, "- **ExtractJob**: {whole}");
    fields(page, "", schema);
    page.push_str("\n## Rules of an ExtractJob\n\n```text\n");
    let mut messages = BTreeSet::new();
    rules(schema, &mut messages);
    for message in messages {
        let _ = writeln!(page, "{message}");
    }
    page.push_str("```\n");
    Ok(())
}

fn fields(page: &mut String, path: &str, schema: &Value) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let description = field["description"].as_str().unwrap_or_default();
        if !description.is_empty() {
            let description = description.replace('\n', " ");
            let _ = writeln!(page, "- **{path}**: {description}");
        }
        if OF_KUBERNETES.contains(&name.as_str()) {
            continue;
        }
        fields(page, &path, field);
        fields(page, &format!("{path}[]"), &field["items"]);
        fields(page, &format!("{path}.*"), &field["additionalProperties"]);
    }
}

fn rules(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                messages.extend(rule["message"].as_str().map(str::to_owned));
            }
            fields.values().for_each(|field| rules(field, messages));
        }
        Value::Array(items) => items.iter().for_each(|item| rules(item, messages)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
