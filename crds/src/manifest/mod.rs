//! Reads a manifest from a file as the API server reads it from `kubectl apply`: a misspelt field is refused, and
//! so is what the schema or a rule of the CRD refuses.
//!
//! Nothing is restated here: schema and rules are those of the CRD itself. Rules about a change of an object
//! (`oldSelf`) do not apply to a file.

mod expressions;
mod schema;

use std::fmt;
use std::sync::LazyLock;

use kube::CustomResourceExt as _;
use serde_json::{Value, json};
use thiserror::Error;

use crate::extract_job::ExtractJob;

const API_VERSION: &str = "tidemark.dev/v1alpha1";
const KIND: &str = "ExtractJob";

/// The schema of an ExtractJob, as the API server has it.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = json!(ExtractJob::crd());
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

/// Why a text is not the manifest of an ExtractJob.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The text is not YAML; the message has no text of the file.
    #[error("not valid YAML{}", at(*line, *column))]
    NotYaml {
        /// Line of the mistake, from 1; 0 if unknown.
        line: u64,
        /// Column of the mistake, from 1; 0 if unknown.
        column: u64,
    },
    /// The text has no document, or several.
    #[error("{0} YAML documents, but exactly one ExtractJob is needed")]
    Documents(usize),
    /// The document is another kind.
    #[error("{0}, but an ExtractJob of {API_VERSION} is needed")]
    WrongKind(String),
    /// The schema or a rule of the CRD refuses it.
    #[error("{}", listed(.0))]
    Refused(Vec<Violation>),
}

/// A part of a manifest that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, such as `spec.extract.table`; empty for the whole manifest.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

fn at(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(": line {line}, column {column}") }
}

fn listed(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Reads the manifest of one ExtractJob.
///
/// # Errors
/// [`ManifestError`]. An unknown field hides what else is wrong, and a mistake of the schema hides those of the
/// rules: rules are about objects that the schema takes.
pub fn read(text: &str) -> Result<ExtractJob, ManifestError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let place = error.location();
        ManifestError::NotYaml {
            line: place.map_or(0, |place| place.line()),
            column: place.map_or(0, |place| place.column()),
        }
    })?;
    let mut documents: Vec<Value> =
        documents.into_iter().filter(|document| !document.is_null()).collect();
    let count = documents.len();
    let Some(mut object) = documents.pop().filter(|_| count == 1) else {
        return Err(ManifestError::Documents(count));
    };
    let of_kind = |field: &str| object[field].as_str().unwrap_or("none").to_owned();
    let (version, kind) = (of_kind("apiVersion"), of_kind("kind"));
    if version != API_VERSION || kind != KIND {
        return Err(ManifestError::WrongKind(format!("apiVersion {version}, kind {kind}")));
    }
    without_nulls(&mut object);
    // the API server ignores what a manifest says about the status
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let violations = violations(&object);
    if violations.is_empty() {
        return serde_json::from_value(object).map_err(|error| {
            // the schema took it: a number beyond its type, or a field of Kubernetes' own
            ManifestError::Refused(vec![Violation {
                path: String::new(),
                message: error.to_string(),
            }])
        });
    }
    Err(ManifestError::Refused(violations))
}

/// What the API server would refuse of an object.
pub fn violations(object: &Value) -> Vec<Violation> {
    let unknown = schema::unknown_fields(&SCHEMA, object);
    if !unknown.is_empty() {
        return unknown;
    }
    let wrong = schema::violations(&SCHEMA, object);
    if !wrong.is_empty() {
        return wrong;
    }
    expressions::violations(&SCHEMA, object)
}

/// A field that is null is absent, as for `kubectl apply`.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
