//! One file: what lies under its key, against what was recorded.

use std::fmt::Write as _;

use crds::RunId;
use md5::{Digest, Md5};

use super::findings::{Findings, Rule};
use crate::layout::manifests::ManifestFile;

/// What is known of one data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Its size.
    pub bytes: u64,
    /// The process token in its metadata.
    pub token: Option<String>,
    /// Its `ETag`, where that is made of the content.
    pub etag: Option<String>,
    /// Rows by its Parquet footer; absent where it cannot be read.
    pub rows: Option<u64>,
}

pub(super) fn file_is_whole(
    facts: Option<&FileFacts>,
    file: &ManifestFile,
    run: Option<RunId>,
    findings: &mut Findings,
) {
    let key = &file.key;
    let Some(facts) = facts else {
        findings.say(Rule::Complete, run, format!("{key} is missing"));
        return;
    };
    let content = facts.etag.as_deref().zip(etag_of_parts(&file.parts));
    let other_content = content.is_some_and(|(found, made)| found != made);
    if facts.bytes != file.bytes || facts.token.as_ref() != Some(&file.token) || other_content {
        findings.say(
            Rule::Complete,
            run,
            format!(
                "{key} is not the recorded file: its size, token or \
             checksum differs"
            ),
        );
    }
    if facts.rows != Some(file.rows) {
        findings.say(
            Rule::Rows,
            run,
            format!("{key} does not contain the recorded number of rows"),
        );
    }
}

/// The `ETag` that a store of AWS's kind gives to an upload of these parts: the MD5 of theirs, and
/// how many. `None` where theirs are of another kind.
fn etag_of_parts(parts: &[String]) -> Option<String> {
    let mut whole = Md5::new();
    for part in parts {
        let part = part.trim_matches('"');
        let digits = (0..part.len()).step_by(2).map(|at| part.get(at..at + 2));
        let bytes: Option<Vec<u8>> =
            digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
        whole.update(bytes.filter(|bytes| bytes.len() == 16)?);
    }
    let mut text = String::new();
    for byte in whole.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Some(format!("{text}-{}", parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_known_by_the_etags_of_its_parts() {
        // the MD5 of nothing, twice
        let part = "\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned();
        let parts = [part.clone(), part];
        let made = etag_of_parts(&parts);
        assert_eq!(made.as_deref(), Some("5873dd45edd01f09c1ef2e7819369e8e-2"));
        assert_eq!(etag_of_parts(&["of-another-kind".to_owned()]), None);
    }
}
