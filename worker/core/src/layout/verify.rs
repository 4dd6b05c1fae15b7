//! In: the tracking items and the objects under the prefix of one source, one by one. Out: the contradictions
//! between them. Bound: a few numbers for each run of one chain, at most about 150
//! bytes for each file. Fails: never; what is wrong is a [`Finding`].
//!
//! `tidemark verify` prints the findings, and fault tests assert them after each fault.

use std::collections::{BTreeSet, HashMap};

use crds::RunId;
use crds::extract_job::WatermarkType;
use crds::tracking::{Mode, RunItem, WatermarkItem};
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use self::files::FileFacts;
use self::files::file_is_whole;
pub use self::findings::{Finding, Findings, Rule};
use crate::layout::manifests::{ManifestFile, ManifestHead, Pointer};
use crate::layout::records::PartitionRecord;
use crate::planning::watermark::Value;

mod files;
mod findings;

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

/// What a key is known by.
type KeyHash = [u8; 16];

fn hash(key: &str) -> KeyHash {
    let mut hash = KeyHash::default();
    hash.copy_from_slice(&Sha256::digest(key)[..size_of::<KeyHash>()]);
    hash
}

/// What is known of a manifest after its files were checked.
#[derive(Debug)]
struct Published {
    commit: u64,
    mode: Mode,
    rows: u64,
    low: Option<String>,
    /// Whether its window has an end.
    ends: bool,
    watermark_max: Option<String>,
    value_type: Option<WatermarkType>,
}

/// The run whose records and files come now.
#[derive(Debug)]
struct Current {
    run: RunId,
    partitions: u32,
    rows: u64,
    records: u64,
    indexes: BTreeSet<u32>,
    record_rows: u64,
    recorded: Vec<KeyHash>,
    file_rows: u64,
    listed: Vec<KeyHash>,
}

/// Checks a source piece by piece: for each run of the chain, from the head down, its manifest, its
/// records and its files; then every key under the prefix. Holds at most about 150 bytes for each file.
#[derive(Debug, Default)]
pub struct Verifier {
    run: Option<RunItem>,
    watermark_item: Option<WatermarkItem>,
    pointer: Option<Pointer>,
    chain: Vec<(RunId, Option<Published>)>,
    current: Option<Current>,
    owners: HashMap<KeyHash, RunId>,
    complete: Findings,
    doubled: Findings,
    unowned: Findings,
    keys: u64,
}

/// What is read in addition to the runs.
#[derive(Debug, Clone, Default)]
pub struct Supplement {
    /// The run of the chain that its last run names as parent: the parents form a ring.
    pub ring: Option<RunId>,
    /// Runs that have open uploads.
    pub uploading: BTreeSet<RunId>,
    /// What the source says, where it was asked.
    pub recounts: Vec<Recount>,
}

impl Verifier {
    /// Of run item and watermark item, and of `current.json`.
    pub fn new(
        run: Option<RunItem>,
        watermark_item: Option<WatermarkItem>,
        pointer: Option<Pointer>,
    ) -> Self {
        Self { run, watermark_item, pointer, ..Self::default() }
    }

    /// The next run of the chain: its manifest but for the lists, and the SHA-256 of its plan. Its
    /// records and files come next, if it has a manifest.
    pub fn begin(&mut self, run: RunId, head: Option<&ManifestHead>, plan_hash: Option<&str>) {
        self.end();
        let Some(head) = head else {
            self.complete.say(Rule::Complete, Some(run), "the manifest is missing");
            self.chain.push((run, None));
            return;
        };
        if plan_hash != Some(&head.plan_hash) {
            let what = "the plan is missing, or differs from the plan that the run pinned";
            self.complete.say(Rule::Complete, Some(run), what);
        }
        let published = Published {
            commit: head.commit,
            mode: head.mode,
            rows: head.rows,
            low: head.window.low_text.clone(),
            ends: head.window.high.is_some(),
            watermark_max: head.watermark_max.clone(),
            value_type: head.watermark.as_ref().map(|watermark| watermark.value_type),
        };
        self.chain.push((run, Some(published)));
        self.current = Some(Current {
            run,
            partitions: head.partitions,
            rows: head.rows,
            records: 0,
            indexes: BTreeSet::new(),
            record_rows: 0,
            recorded: Vec::new(),
            file_rows: 0,
            listed: Vec::new(),
        });
    }

    /// A record of the run.
    pub fn record(&mut self, record: &PartitionRecord) {
        let Some(current) = &mut self.current else { return };
        current.records += 1;
        current.indexes.insert(record.index);
        current.record_rows += record.rows;
        current.recorded.extend(record.files.iter().map(|file| hash(&file.key)));
    }

    /// A file of the run's manifest, and what lies under its key.
    pub fn file(&mut self, file: &ManifestFile, facts: Option<&FileFacts>) {
        let Some(current) = &mut self.current else { return };
        let (run, key) = (current.run, hash(&file.key));
        current.file_rows += file.rows;
        current.listed.push(key);
        file_is_whole(facts, file, Some(run), &mut self.complete);
        self.owned(key, run, &file.key);
    }

    /// A file of a run whose removal is postponed: it may still lie there.
    pub fn retained(&mut self, run: RunId, key: &str) {
        self.owned(hash(key), run, key);
    }

    fn owned(&mut self, hashed: KeyHash, run: RunId, key: &str) {
        let earlier = self.owners.insert(hashed, run);
        if earlier.is_some_and(|earlier| earlier != run) {
            let what = format!("{key} is listed in two manifests");
            self.doubled.say(Rule::Exclusive, Some(run), what);
        }
    }

    /// A data file under the prefix, after all manifests were checked. A reader that lists the prefix
    /// must see the files of the chain and no others.
    pub fn listed(&mut self, key: &str) {
        self.end();
        self.keys += 1;
        if self.owners.contains_key(&hash(key)) {
            return;
        }
        // a decided run completes its files before it is published
        let committing = self.run.as_ref().filter(|run| run.state.is_open()).map(|run| run.run);
        if !committing.is_some_and(|run| key.contains(&run.to_string())) {
            let what = format!("{key} belongs to no published run");
            self.unowned.say(Rule::Exclusive, None, what);
        }
    }

    /// Ends the run whose records and files came.
    fn end(&mut self) {
        let Some(mut current) = self.current.take() else { return };
        let (run, findings) = (Some(current.run), &mut self.complete);
        let indexes = current.indexes.len() as u64;
        if indexes != u64::from(current.partitions) || current.records != indexes {
            let what = format!("only {indexes} of {} partition records exist", current.partitions);
            findings.say(Rule::Complete, run, what);
        }
        for keys in [&mut current.recorded, &mut current.listed] {
            keys.sort_unstable();
            keys.dedup();
        }
        if current.recorded != current.listed {
            let what = "the manifest and the partition records list different files";
            findings.say(Rule::Exclusive, run, what);
        }
        if current.file_rows != current.rows || current.record_rows != current.rows {
            let what = format!(
                "the manifest counts {} rows, the files {}, and the partition records {}",
                current.rows, current.file_rows, current.record_rows
            );
            findings.say(Rule::Rows, run, what);
        }
    }

    /// Runs of the chain that have a manifest, the rows that these name, and where the next window begins;
    /// from the head down. It begins at the greatest watermark that was published: rows between that and the
    /// end of the window, which commit later, are the next run's.
    pub fn published(&self) -> impl Iterator<Item = (RunId, u64, Option<String>)> {
        self.chain.iter().filter_map(|(run, published)| {
            let published = published.as_ref()?;
            let next = published.watermark_max.as_ref().or(published.low.as_ref());
            let next = next.filter(|_| published.mode != Mode::FE).cloned();
            Some((*run, published.rows, next))
        })
    }

    /// Data files under the prefix.
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// All that is wrong; empty when nothing is.
    pub fn finish(mut self, supplement: &Supplement) -> Findings {
        self.end();
        let mut findings = Findings::default();
        self.tracking(&supplement.uploading, &mut findings);
        self.pointer(supplement.ring, &mut findings);
        findings.append(std::mem::take(&mut self.complete));
        self.contiguous(&mut findings);
        findings.append(std::mem::take(&mut self.doubled));
        findings.append(std::mem::take(&mut self.unowned));
        self.source(&supplement.recounts, &mut findings);
        findings
    }

    fn tracking(&self, uploading: &BTreeSet<RunId>, findings: &mut Findings) {
        let Some(run) = &self.run else {
            if self.pointer.is_some() {
                let what = "the run item is missing, although runs are published";
                findings.say(Rule::Tracking, None, what);
            }
            return;
        };
        if self.watermark_item.is_none() {
            findings.say(Rule::Tracking, None, "the watermark item of the source is missing");
        }
        let current = run.state.is_open().then_some(run.run);
        for open in uploading.iter().filter(|open| Some(**open) != current) {
            findings.say(
                Rule::Clean,
                Some(*open),
                "a multipart upload of an ended run is still open",
            );
        }
    }

    fn pointer(&self, ring: Option<RunId>, findings: &mut Findings) {
        let head = self.run.as_ref().and_then(|run| run.head.as_ref());
        let behind = self
            .run
            .as_ref()
            .and_then(|run| run.pending_cleanup.as_ref())
            .is_some_and(|pending_cleanup| pending_cleanup.pointer);
        let pointed = self.pointer.as_ref().map(|pointer| pointer.run);
        if let Some(head) = head.filter(|head| !behind && pointed != Some(head.run)) {
            findings.say(
                Rule::Pointer,
                Some(head.run),
                "current.json does not name the latest published run",
            );
        }
        if let (Some(ring), Some((last, _))) = (ring, self.chain.last()) {
            let what =
                format!("its parent is run {ring}, which comes after it, so the chain is circular");
            findings.say(Rule::Pointer, Some(*last), what);
        }
        let mut child: Option<(RunId, u64)> = None;
        for (run, published) in &self.chain {
            let Some(parent) = published else { continue };
            if let Some((child, commit)) = child
                && commit <= parent.commit
            {
                let what =
                    format!("commit number {commit} follows commit number {}", parent.commit);
                findings.say(Rule::Pointer, Some(child), what);
            }
            child = Some((*run, parent.commit));
        }
    }

    /// Each incremental window starts where the one before it ended: at the maximum seen, or, without
    /// rows, where that one had started.
    fn contiguous(&self, findings: &mut Findings) {
        if self.run.as_ref().is_some_and(|run| run.set.is_some()) {
            // a person moved the watermark, so windows may overlap or leave a gap
            return;
        }
        let (mut end, mut last): (Option<String>, _) = (None, None);
        for (run, published) in self.chain.iter().rev() {
            let Some(published) = published else { continue };
            last = Some(*run);
            if published.mode == Mode::FE {
                // a full extract does not move the watermark
                continue;
            }
            let low = published.low.as_ref();
            if published.mode == Mode::PE && end.is_some() && end.as_ref() != low {
                let what = "its window does not start at the end of the previous window";
                findings.say(Rule::Contiguous, Some(*run), what);
            }
            end = reached(published, end).or_else(|| low.cloned());
        }
        let moved = self.run.as_ref().is_some_and(|run| run.watermark_item != self.watermark_item);
        let stored = self
            .watermark_item
            .as_ref()
            .and_then(|watermark_item| watermark_item.lwm_value.as_ref());
        if !moved && end.is_some() && end.as_ref() != stored {
            let what = "the stored watermark differs from the end of the last window";
            findings.say(Rule::Contiguous, last, what);
        }
    }

    /// A window without an end grows with its table, so it is not judged.
    fn source(&self, recounts: &[Recount], findings: &mut Findings) {
        for recount in recounts {
            let of = self.chain.iter().find(|(run, _)| *run == recount.run);
            let over = of.and_then(|(_, it)| it.as_ref()).is_some_and(|it| it.ends);
            if over && recount.source > recount.published {
                let more = recount.source - recount.published;
                let what = format!(
                    "the source has {more} more rows in this window than were published: they were \
                     committed late, or were written below the watermark afterwards"
                );
                findings.say(Rule::Source, Some(recount.run), what);
            }
        }
    }
}

/// Where the watermark stands after a run: at the maximum that was read, unless the lookback found less.
fn reached(published: &Published, before: Option<String>) -> Option<String> {
    let Some(max) = published.watermark_max.clone() else { return before };
    let value = |text: &str| published.value_type.and_then(|known| Value::parse(known, text).ok());
    let lower = before.as_deref().and_then(value) > value(&max);
    if published.mode == Mode::PE && lower { before } else { Some(max) }
}
