//! The hash over the fields that define data, which tells whether an outcome answers an object.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::extract_job::{ExtractJobSpec, FidelityPolicy, Watermark};

/// Version of the list below. An outcome is compared by the version it was written with.
pub const HASH_VERSION: u32 = 1;

/// Hash and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestHash {
    /// Lower-case hexadecimal SHA-256.
    pub request: String,
    /// The version of the list that was hashed.
    pub hash_version: u32,
}

/// Hashes what `spec` says about the data, as the user wrote it: an absent field adds nothing, so
/// that a field added by a later release changes no older hash.
///
/// `None` for a version that this release does not know.
pub fn request_hash(spec: &ExtractJobSpec, hash_version: u32) -> Option<RequestHash> {
    match hash_version {
        1 => {
            let digest = Sha256::digest(Value::Object(version_1(spec)).to_string().as_bytes());
            let request = format!("{digest:x}");
            Some(RequestHash { request, hash_version })
        }
        _ => None,
    }
}

/// Names whose order says nothing.
fn sorted(names: Option<&[String]>) -> Option<Vec<&String>> {
    let mut names: Vec<_> = names?.iter().collect();
    names.sort();
    Some(names)
}

/// A watermark without the units of its distances, which follow from its type.
fn watermark(watermark: &Watermark) -> Value {
    let mut fields = json!(watermark);
    if let Some(fields) = fields.as_object_mut() {
        for (name, units) in [
            ("lag", ["lagSeconds", "lagUnits"].as_slice()),
            ("wait", &["waitSeconds"]),
            ("lookback", &["lookbackSeconds", "lookbackUnits"]),
        ] {
            let given = units.iter().find_map(|unit| fields.remove(*unit));
            fields.extend(given.map(|value| (name.to_owned(), value)));
        }
    }
    fields
}

/// `serde_json` keeps maps sorted by key, so the text is the same for the same fields.
fn version_1(spec: &ExtractJobSpec) -> Map<String, Value> {
    let extract = &spec.extract;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    put("engine", json!(spec.source.engine));
    put("database", json!(spec.source.database));
    put("table", json!(extract.table));
    put("type", json!(extract.extract_type));
    // `false` is what absence means: a default that the API server fills in asks for nothing new
    put("reingest", json!(extract.reingest.filter(|wanted| *wanted)));
    put("uri", json!(spec.output.uri));
    put("zeroDates", json!(extract.zero_dates));
    put("extract.columns", json!(sorted(extract.columns.as_deref())));
    put("extract.excludeColumns", json!(sorted(extract.exclude_columns.as_deref())));
    put("types", json!(extract.types.as_ref().filter(|types| !types.is_empty())));
    put("partitionBy", json!(spec.output.partition_by));
    put("where", json!(extract.filter));
    put("consistency", json!(extract.consistency));
    put("fidelity", json!(extract.fidelity.filter(|policy| *policy != FidelityPolicy::Report)));
    let columns = spec.output.columns.as_ref();
    put("columns", json!(columns.filter(|columns| columns.names().next().is_some())));
    put("watermark", json!(extract.watermark.as_ref().map(watermark)));
    if let Some(partition) = &extract.partition {
        put("partition.column", json!(partition.column));
        put("partition.strategy", json!(partition.strategy));
    }
    fields
}
