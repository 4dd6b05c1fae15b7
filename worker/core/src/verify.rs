//! In: what lies in the tracking table and under the prefix of one source. Out: every
//! contradiction between them. Bound: one chain. Fails: never; what is wrong is a [`Finding`].
//!
//! What `tidemark verify` tells people, and what fault tests assert after whatever died.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crds::RunId;
use crds::tracking::{LegacyItem, Mode, RunItem};
use md5::{Digest, Md5};
use serde::Serialize;

use crate::manifests::{Manifest, ManifestFile, Pointer};
use crate::records::TaskRecord;
use crate::watermark::Value;

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

/// One run of the chain, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// Its id.
    pub run: RunId,
    /// Its manifest.
    pub manifest: Option<Manifest>,
    /// SHA-256 of its plan.
    pub plan_hash: Option<String>,
    /// Its task records.
    pub records: Vec<TaskRecord>,
}

/// Rows of one published window, as the source has them now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Recount {
    /// The run.
    pub run: RunId,
    /// Rows that it published.
    pub published: u64,
    /// Rows that the source has in that window now.
    pub source: u64,
}

/// All that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// `R`.
    pub run: Option<RunItem>,
    /// `L`.
    pub legacy: Option<LegacyItem>,
    /// `current.json`.
    pub pointer: Option<Pointer>,
    /// From the head down its parents, each run once.
    pub chain: Vec<RunFacts>,
    /// The run of the chain that its last run names as parent: the parents form a ring.
    pub ring: Option<RunId>,
    /// Runs whose files may still lie there, since their removal is put off.
    pub retained: Vec<Manifest>,
    /// Every data file under the prefix.
    pub files: BTreeMap<String, FileFacts>,
    /// Runs that have open uploads.
    pub uploading: BTreeSet<RunId>,
    /// What the source says, where it was asked.
    pub recounts: Vec<Recount>,
}

/// A contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: Rule,
    /// The run that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What is wrong; keys and counts, never a value of a row.
    pub what: String,
}

/// What must hold whenever nothing is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// A published run has its manifest, its plan, every record, and every file as recorded.
    Complete,
    /// A file belongs to one record of one run; what is published by nobody is not there.
    Exclusive,
    /// `current.json` names the head; commit numbers rise along the chain, and it has an end.
    Pointer,
    /// Windows join end to start, up to the stored watermark.
    Contiguous,
    /// Rows of manifest, records and footers agree.
    Rows,
    /// No upload of a run that is over is open.
    Clean,
    /// The tracking items agree with each other.
    Tracking,
    /// The source has no more rows in a window that is over than were published. Fewer are no
    /// contradiction: rows are deleted, and an update moves a row on to a later window.
    Source,
}

/// All that is wrong; empty when nothing is.
pub fn verify(found: &Found) -> Vec<Finding> {
    let mut findings = Vec::new();
    tracking(found, &mut findings);
    pointer(found, &mut findings);
    for facts in &found.chain {
        complete(found, facts, &mut findings);
    }
    contiguous(found, &mut findings);
    exclusive(found, &mut findings);
    source(found, &mut findings);
    findings
}

fn say(findings: &mut Vec<Finding>, rule: Rule, run: Option<RunId>, what: impl Into<String>) {
    findings.push(Finding { rule, run, what: what.into() });
}

fn tracking(found: &Found, findings: &mut Vec<Finding>) {
    let Some(run) = &found.run else {
        if found.pointer.is_some() {
            say(findings, Rule::Tracking, None, "the run item is gone, while runs are published");
        }
        return;
    };
    if found.legacy.is_none() {
        say(findings, Rule::Tracking, None, "the source's own item is gone");
    }
    let current = run.state.is_open().then_some(run.run);
    for open in found.uploading.iter().filter(|open| Some(**open) != current) {
        say(findings, Rule::Clean, Some(*open), "an upload of a run that is over is open");
    }
}

fn pointer(found: &Found, findings: &mut Vec<Finding>) {
    let head = found.run.as_ref().and_then(|run| run.head.as_ref());
    let behind =
        found.run.as_ref().and_then(|run| run.todo.as_ref()).is_some_and(|todo| todo.pointer);
    let pointed = found.pointer.as_ref().map(|pointer| pointer.run);
    if let Some(head) = head.filter(|head| !behind && pointed != Some(head.run)) {
        say(findings, Rule::Pointer, Some(head.run), "current.json does not name the head");
    }
    if let (Some(ring), Some(last)) = (found.ring, found.chain.last()) {
        let what = format!("its parent is run {ring}, which comes after it: the chain is a ring");
        say(findings, Rule::Pointer, Some(last.run), what);
    }
    let manifests: Vec<&Manifest> =
        found.chain.iter().filter_map(|facts| facts.manifest.as_ref()).collect();
    for pair in manifests.windows(2) {
        if let [child, parent] = pair
            && child.commit <= parent.commit
        {
            let what = format!("commit {} follows commit {}", child.commit, parent.commit);
            say(findings, Rule::Pointer, Some(child.run), what);
        }
    }
}

fn complete(found: &Found, facts: &RunFacts, findings: &mut Vec<Finding>) {
    let run = Some(facts.run);
    let Some(manifest) = &facts.manifest else {
        say(findings, Rule::Complete, run, "the manifest is gone");
        return;
    };
    if facts.plan_hash.as_ref() != Some(&manifest.plan_hash) {
        say(findings, Rule::Complete, run, "the plan is gone, or not the one that was pinned");
    }
    let indices: BTreeSet<u32> = facts.records.iter().map(|record| record.index).collect();
    if indices.len() != manifest.ranges as usize || facts.records.len() != indices.len() {
        let what = format!("{} of {} records are there", indices.len(), manifest.ranges);
        say(findings, Rule::Complete, run, what);
    }
    let recorded: BTreeSet<&str> =
        facts.records.iter().flat_map(|record| &record.files).map(|file| &*file.key).collect();
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| &*file.key).collect();
    if recorded != listed {
        say(findings, Rule::Exclusive, run, "manifest and records name different files");
    }
    for file in &manifest.files {
        file_is_whole(found.files.get(&file.key), file, run, findings);
    }
    let sums = [
        manifest.files.iter().map(|file| file.rows).sum::<u64>(),
        facts.records.iter().map(|record| record.rows).sum(),
    ];
    if sums.iter().any(|sum| *sum != manifest.rows) {
        let what = format!(
            "{} rows by manifest, {} by files, {} by records",
            manifest.rows, sums[0], sums[1]
        );
        say(findings, Rule::Rows, run, what);
    }
}

fn file_is_whole(
    facts: Option<&FileFacts>,
    file: &ManifestFile,
    run: Option<RunId>,
    findings: &mut Vec<Finding>,
) {
    let key = &file.key;
    let Some(facts) = facts else {
        say(findings, Rule::Complete, run, format!("{key} is not there"));
        return;
    };
    let content = facts.etag.as_deref().zip(etag_of_parts(&file.parts));
    let other_content = content.is_some_and(|(found, made)| found != made);
    if facts.bytes != file.bytes || facts.token.as_ref() != Some(&file.token) || other_content {
        say(findings, Rule::Complete, run, format!("{key} is not the file that was recorded"));
    }
    if facts.rows != Some(file.rows) {
        say(findings, Rule::Rows, run, format!("{key} does not hold the recorded rows"));
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

/// Each incremental window starts where the one before it ended: at the maximum seen, or, without
/// rows, where that one had started.
fn contiguous(found: &Found, findings: &mut Vec<Finding>) {
    if found.run.as_ref().is_some_and(|run| run.set.is_some()) {
        // a human moved it: windows overlap or leave a gap by their word
        return;
    }
    let manifests: Vec<&Manifest> =
        found.chain.iter().rev().filter_map(|facts| facts.manifest.as_ref()).collect();
    let mut end: Option<String> = None;
    for manifest in &manifests {
        if manifest.mode == Mode::FE {
            // a full extract does not move the watermark
            continue;
        }
        let low = manifest.window.low_text.as_ref();
        if manifest.mode == Mode::PE && end.is_some() && end.as_ref() != low {
            let what = "its window does not start where the one before it ended";
            say(findings, Rule::Contiguous, Some(manifest.run), what);
        }
        end = reached(manifest, end).or_else(|| low.cloned());
    }
    let moved = found.run.as_ref().is_some_and(|run| run.legacy != found.legacy);
    let stored = found.legacy.as_ref().and_then(|legacy| legacy.lwm_value.as_ref());
    if !moved && end.is_some() && end.as_ref() != stored {
        let what = "the stored watermark is not where the last window ended";
        say(findings, Rule::Contiguous, manifests.last().map(|manifest| manifest.run), what);
    }
}

/// Where the watermark stands after a run: at the maximum seen, unless a look back found less.
fn reached(manifest: &Manifest, before: Option<String>) -> Option<String> {
    let Some(max) = manifest.watermark_max.clone() else { return before };
    let known = manifest.watermark.as_ref().map(|watermark| watermark.value_type);
    let value = |text: &str| known.and_then(|known| Value::parse(known, text).ok());
    let lower = before.as_deref().and_then(value) > value(&max);
    if manifest.mode == Mode::PE && lower { before } else { Some(max) }
}

/// A window without an end grows with its table, so it is not judged.
fn source(found: &Found, findings: &mut Vec<Finding>) {
    for recount in &found.recounts {
        let facts = found.chain.iter().find(|facts| facts.run == recount.run);
        let manifest = facts.and_then(|facts| facts.manifest.as_ref());
        let over = manifest.is_some_and(|manifest| manifest.window.high.is_some());
        if over && recount.source > recount.published {
            let more = recount.source - recount.published;
            let what = format!(
                "the source has {more} rows more in this window than were published: they \
                 committed late, or were written below the watermark since"
            );
            say(findings, Rule::Source, Some(recount.run), what);
        }
    }
}

/// A reader that lists the prefix must see the files of the chain and no others.
fn exclusive(found: &Found, findings: &mut Vec<Finding>) {
    let chain = found.chain.iter().filter_map(|facts| facts.manifest.as_ref());
    let mut owner: BTreeMap<&str, RunId> = BTreeMap::new();
    for manifest in chain.chain(&found.retained) {
        for file in &manifest.files {
            let earlier = owner.insert(&file.key, manifest.run);
            if earlier.is_some_and(|earlier| earlier != manifest.run) {
                let what = format!("{} is in two manifests", file.key);
                say(findings, Rule::Exclusive, Some(manifest.run), what);
            }
        }
    }
    // a decided run completes its files before it is published
    let committing = found.run.as_ref().filter(|run| run.state.is_open()).map(|run| run.run);
    for key in found.files.keys().filter(|key| !owner.contains_key(key.as_str())) {
        if committing.is_some_and(|run| key.contains(&run.to_string())) {
            continue;
        }
        say(findings, Rule::Exclusive, None, format!("{key} belongs to no published run"));
    }
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
