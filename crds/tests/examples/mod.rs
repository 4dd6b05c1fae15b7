//! The manifests of `crds/examples`.

use std::fs;
use std::path::{Path, PathBuf};

/// Every manifest of a folder of the examples, by name. No other file lies there, so a test that uses these uses
/// the whole folder.
pub(crate) fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("examples").join(folder);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.is_file() && !path.ends_with("README.md")).collect();
    paths.sort();
    let other = paths.iter().find(|path| path.extension().is_none_or(|ending| ending != "yaml"));
    assert_eq!(other, None, "not a manifest");
    assert!(!paths.is_empty(), "{} has no manifest", folder.display());
    paths
}
