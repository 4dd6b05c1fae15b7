//! The lists of a manifest, one file at a time: the same bytes as a whole manifest, and as much memory
//! for 200,000 files as for none.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use crds::Reason::{RecordMismatch, RecordMissing, RowCountMismatch};
use std::io::{self, Read};

use crds::RunId;
use crds::tracking::{Mode, RunItem};
use proptest::prelude::*;
use serde_json::{from_value, json};
use uuid::Uuid;
use worker_core::manifests::{
    Earlier, FileCount, ListedFile, Listing, Lists, Manifest, ManifestFile, ManifestHead,
    each_earlier_file, each_file, head, read_head, to_body,
};
use worker_core::plan::Plan;
use worker_core::records::{PendingFile, RecordsHash, Tallying, TaskRecord, tally};

/// So many partitions, of so many files each.
const PARTITIONS: u32 = 1_000;
const FILES: u32 = 200;
/// Memory that they may take beyond what the process holds before.
const LIMIT_BYTES: u64 = 64 << 20;

fn run_id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn plan(partitions: u32) -> Plan {
    let range = json!({ "from": null, "to": null, "nulls": true });
    from_value(json!({
        "version": 1, "run": run_id(7), "source": "shop.orders", "mode": "PE",
        "table": { "schema": "public", "table": "orders" }, "columns": [],
        "watermark": { "column": "id", "value_type": "int", "null_policy": "fail" },
        "window": { "low": null, "low_text": null, "high": "20", "empty": false, "guard": null },
        "partition_column": "id", "ranges": vec![range; partitions as usize], "snapshot": "s",
        "estimated_rows": 1, "warnings": [],
    }))
    .unwrap()
}

fn run_item() -> RunItem {
    from_value(json!({
        "source": "shop.orders#tidemark", "schema": 1, "rev": 1, "state": "running",
        "run": run_id(7), "uri": "s3://lake/orders", "attempt": 1, "deadline": 0, "records": 0,
        "commit": 3, "mode": Mode::PE,
        "owner": { "uid": "a", "request": "r", "hash_version": 1, "generation": 1 },
    }))
    .unwrap()
}

fn record(index: u32, files: u32) -> TaskRecord {
    let file = |number: u32| PendingFile {
        key: format!(
            "orders/extract_run={}/part-{index:05}-{index:032x}-{number:03}.parquet",
            run_id(7)
        ),
        upload_id: format!("{index:064x}{number:064x}"),
        parts: vec![format!("\"{index:016x}{number:016x}\"")],
        checksums: vec!["crc64nvme:AAAAAAAAAAA=".to_owned()],
        bytes: 1000,
        rows: 10,
    };
    TaskRecord {
        version: 1,
        run: run_id(7),
        index,
        token: format!("{index:032x}"),
        plan_hash: "h".to_owned(),
        snapshot: Some("s".to_owned()),
        schema: "c".to_owned(),
        rows: u64::from(files) * 10,
        watermark_max: Some(index.to_string()),
        watermark_min: Some("0".to_owned()),
        closed_early: 0,
        files: (0..files).map(file).collect(),
    }
}

/// A manifest whose bytes are made as they are read, from records that are made as they are needed.
struct Generated {
    lists: Option<Lists>,
    buffer: Vec<u8>,
    taken: usize,
    next: u32,
    bytes: u64,
}

impl Generated {
    fn new(head: &ManifestHead) -> Self {
        let mut buffer = Vec::new();
        let lists = Some(Lists::begin(head, &mut buffer));
        Self { lists, buffer, taken: 0, next: 0, bytes: 0 }
    }

    fn refill(&mut self) {
        (self.taken, self.buffer) = (0, Vec::new());
        if self.next == PARTITIONS {
            if let Some(lists) = self.lists.take() {
                lists.end(&mut self.buffer);
            }
        } else if let Some(lists) = &mut self.lists {
            for file in ManifestFile::of(record(self.next, FILES)) {
                lists.file(&mut self.buffer, &file);
            }
            self.next += 1;
        }
    }
}

impl Read for Generated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.buffer.len() {
            self.refill();
        }
        let length = out.len().min(self.buffer.len() - self.taken);
        out[..length].copy_from_slice(&self.buffer[self.taken..self.taken + length]);
        self.taken += length;
        self.bytes += length as u64;
        Ok(length)
    }
}

/// The most memory that this process has held.
fn peak_bytes() -> u64 {
    let status = std::io::BufRead::lines(open("/proc/self/status"));
    let line = status.map_while(Result::ok).find(|line| line.starts_with("VmHWM")).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap() << 10
}

#[expect(clippy::disallowed_methods, reason = "the test measures its own process")]
fn open(path: &str) -> io::BufReader<std::fs::File> {
    io::BufReader::new(std::fs::File::open(path).unwrap())
}

#[test]
fn two_hundred_thousand_files_take_no_more_memory_than_one_record() {
    let plan = plan(PARTITIONS);
    let before = peak_bytes();
    let (mut tallying, mut again) = (Tallying::default(), RecordsHash::default());
    for index in 0..PARTITIONS {
        let record = record(index, FILES);
        tallying.add(&plan, "h", &record).unwrap();
        again.add(&record);
    }
    let tally = tallying.finish(&plan).unwrap();
    assert_eq!(tally.files, u64::from(PARTITIONS * FILES));
    assert_eq!(tally.hash, again.finish());
    assert_eq!(tally.watermark_max.as_deref(), Some("999"), "the greatest by value");

    let head = head(&run_item(), &plan, "h", &tally, Vec::new());
    let read = read_head(&mut Generated::new(&head)).unwrap();
    assert_eq!((read.files, read.rows), (FileCount(tally.files), head.rows));
    let (mut files, mut rows, mut manifest) = (0, 0, Generated::new(&head));
    each_file(&mut manifest, &mut |file| {
        (files, rows) = (files + 1, rows + file.rows);
        true
    })
    .unwrap();
    assert_eq!((files, rows), (tally.files, head.rows));
    let grown = peak_bytes() - before;
    assert!(manifest.bytes > LIMIT_BYTES, "{} bytes show nothing", manifest.bytes);
    assert!(
        grown < LIMIT_BYTES,
        "{} MiB for a manifest of {} MiB",
        grown >> 20,
        manifest.bytes >> 20
    );
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z\"\\\\/]{0,12}", "\\PC{0,8}", Just("a\nb\t\u{0}\u{2028}".to_owned())]
}

fn manifest_file() -> impl Strategy<Value = ManifestFile> {
    let texts = || prop::collection::vec(word(), 0..3);
    (word(), any::<u64>(), any::<u64>(), word(), word(), (texts(), texts())).prop_map(
        |(key, rows, bytes, token, upload_id, (parts, checksums))| ManifestFile {
            key,
            rows,
            bytes,
            token,
            upload_id,
            parts,
            checksums,
        },
    )
}

fn listing() -> impl Strategy<Value = Listing> {
    let file = (word(), any::<u64>(), any::<u64>()).prop_map(|(key, rows, bytes)| ListedFile {
        key,
        rows,
        bytes,
    });
    let runs = prop::collection::vec(any::<u128>().prop_map(run_id), 0..4);
    (runs, prop::collection::vec(file, 0..4)).prop_map(|(runs, files)| Listing { runs, files })
}

proptest! {
    #[test]
    fn manifest_written_file_by_file_has_the_bytes_of_a_whole_one(
        files in prop::collection::vec(manifest_file(), 0..5),
        earlier in prop::option::of(listing()),
        replaces in prop::collection::vec(any::<u128>().prop_map(run_id), 0..3),
    ) {
        let sums = tally(&plan(1), "h", &[record(0, 2)]).unwrap();
        let head = head(&run_item(), &plan(1), "h", &sums, replaces);
        let body = to_body(&head);
        let plain: Manifest = serde_json::from_slice(&body).unwrap();
        let whole = Manifest { files: files.clone(), earlier: earlier.clone(), ..plain };

        let mut body = Vec::new();
        let mut lists = Lists::begin(&head, &mut body);
        for file in &files {
            lists.file(&mut body, file);
        }
        if let Some(earlier) = &earlier {
            lists.earlier(&mut body, &earlier.runs);
            earlier.files.iter().for_each(|file| lists.earlier_file(&mut body, file));
        }
        lists.end(&mut body);
        prop_assert_eq!(String::from_utf8(body.clone()).unwrap(), String::from_utf8(to_body(&whole)).unwrap());

        let read = read_head(&mut &body[..]).unwrap();
        prop_assert_eq!(read.files, FileCount(files.len() as u64));
        prop_assert_eq!(read.earlier.map(|earlier| earlier.runs), earlier.as_ref().map(|earlier| earlier.runs.clone()));
        let (mut own, mut listed) = (Vec::new(), Vec::new());
        each_file(&mut &body[..], &mut |file| { own.push(file); true }).unwrap();
        each_earlier_file(&mut &body[..], &mut |file| { listed.push(file); true }).unwrap();
        prop_assert_eq!(own, files);
        prop_assert_eq!(listed, earlier.map_or(Vec::new(), |earlier| earlier.files));
        // a body that breaks off is an error, and never a shorter list
        let cut = body.len() / 2;
        prop_assert!(each_file(&mut &body[..cut], &mut |_| true).is_err());
    }
}

#[test]
fn records_that_do_not_fit_are_told_apart() {
    let (plan, whole) = (plan(2), [record(0, 1), record(1, 1)]);
    assert!(tally(&plan, "h", &whole).is_ok());
    let reason = |records: &[TaskRecord]| tally(&plan, "h", records).unwrap_err().report.reason;
    assert_eq!(reason(&whole[..1]), RecordMissing);
    assert_eq!(reason(&[whole[0].clone(), whole[0].clone()]), RecordMissing);
    let changed = |change: fn(&mut TaskRecord)| {
        let mut records = whole.clone();
        change(&mut records[1]);
        reason(&records)
    };
    assert_eq!(changed(|record| record.run = run_id(8)), RecordMismatch);
    assert_eq!(changed(|record| record.plan_hash = "other".to_owned()), RecordMismatch);
    assert_eq!(changed(|record| record.snapshot = None), RecordMismatch);
    assert_eq!(changed(|record| record.schema = "other".to_owned()), RecordMismatch);
    assert_eq!(changed(|record| record.index = 2), RecordMismatch);
    assert_eq!(changed(|record| record.rows = 11), RowCountMismatch);
}

#[test]
fn chain_is_known_by_its_runs_and_by_the_manifests_that_name_their_files() {
    let sums = tally(&plan(1), "h", &[record(0, 1)]).unwrap();
    let head = |run, listed: Option<Vec<RunId>>| ManifestHead {
        run: run_id(run),
        earlier: listed.map(|runs| Listing { runs, files: FileCount(0) }),
        ..head(&run_item(), &plan(1), "h", &sums, Vec::new())
    };
    let mut earlier = Earlier::default();
    earlier.prepend(&head(5, None));
    earlier.prepend(&head(4, None));
    earlier.prepend(&head(3, Some(vec![run_id(1), run_id(2)])));
    assert_eq!(earlier.runs, [1, 2, 3, 4, 5].map(run_id));
    assert_eq!(earlier.manifests, [3, 4, 5].map(run_id));
}
