//! What readers follow: `current.json` names a manifest, a manifest names the files of one run and
//! its parent. All of them are deterministic: no clock, no process, sorted.

use crds::RunId;
use crds::tracking::{Mode, Window};
use serde::{Deserialize, Serialize};

use crate::columns::Column;

/// `_tidemark/<run>/manifest.json`: one published (or decided) run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`crate::plan::CONTROL_VERSION`].
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Its place in the order of publications.
    pub commit: u64,
    /// Key of the source.
    pub source: String,
    /// What kind of run.
    pub mode: Mode,
    /// The run whose files come before these (PE); none: these are all.
    pub parent: Option<RunId>,
    /// Runs whose files this one replaces (FE, reingest), oldest first.
    pub replaces: Vec<RunId>,
    /// The window.
    pub window: Window,
    /// The columns.
    pub columns: Vec<Column>,
    /// SHA-256 of the plan.
    pub plan_hash: String,
    /// The snapshot that all ranges were read under.
    pub snapshot: Option<String>,
    /// Rows of all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Ranges.
    pub ranges: u32,
    /// Greatest watermark seen.
    pub watermark_max: Option<String>,
    /// The files, by range and number.
    pub files: Vec<ManifestFile>,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Key in the bucket.
    pub key: String,
    /// Rows by its footer.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Token of the process that wrote it; the object carries it as metadata.
    pub token: String,
    /// The upload, to be completed by whoever carries the run.
    pub upload_id: String,
    /// ETags of its parts.
    pub parts: Vec<String>,
}

/// `_tidemark/current.json`: the published end of the chain. The only object ever overwritten,
/// under `If-Match`, and only to a higher commit number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// [`crate::plan::CONTROL_VERSION`].
    pub version: u32,
    /// Key of the source.
    pub source: String,
    /// The run.
    pub run: RunId,
    /// Its commit number.
    pub commit: u64,
    /// Key of its manifest.
    pub manifest: String,
}

/// `_tidemark/source.json`: whose prefix this is, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// [`crate::plan::CONTROL_VERSION`].
    pub version: u32,
    /// Endpoint or account and region of the tracking table.
    pub tracking: String,
    /// The tracking table.
    pub table: String,
    /// Key of the source.
    pub source: String,
}

/// Metadata key under which a data object carries its process token.
pub const TOKEN_METADATA: &str = "tidemark-token";
