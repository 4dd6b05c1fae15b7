//! Records and manifests that are made as they are read, of any number of files.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![expect(unreachable_pub, reason = "a module of several tests")]

use std::io::{self, Read};

use crds::RunId;
use crds::tracking::{Mode, RunItem};
use serde_json::{from_value, json};
use uuid::Uuid;
use worker_core::layout::manifests::{Lists, ManifestFile, ManifestHead};
use worker_core::layout::records::{PartitionRecord, PendingFile};
use worker_core::planning::plan::Plan;

/// So many partitions, of so many files each.
pub const PARTITIONS: u32 = 1_000;
pub const FILES: u32 = 200;
/// Memory that they may take beyond what the process holds before.
pub const LIMIT_BYTES: u64 = 64 << 20;

pub fn run_id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

pub fn plan(partitions: u32) -> Plan {
    let partition = json!({ "from": null, "to": null, "nulls": true });
    from_value(json!({
        "version": 1, "run": run_id(7), "source": "shop.orders", "mode": "PE",
        "table": { "schema": "public", "table": "orders" }, "columns": [],
        "watermark": { "column": "id", "valueType": "int", "nullPolicy": "fail" },
        "window": { "low": null, "lowText": null, "high": "20", "empty": false, "guard": null },
        "partitionColumn": "id", "partitions": vec![partition; partitions as usize], "snapshot": "s",
        "estimatedRows": 1, "warnings": [],
    }))
    .unwrap()
}

pub fn run_item() -> RunItem {
    from_value(json!({
        "source": "shop.orders#tidemark", "schema": 1, "revision": 1, "state": "running",
        "run": run_id(7), "uri": "s3://lake/orders", "attempt": 1, "deadline": 0, "records": 0,
        "commit": 3, "mode": Mode::PE,
        "owner": { "uid": "a", "request": "r", "hashVersion": 1, "generation": 1 },
    }))
    .unwrap()
}

pub fn record(index: u32, files: u32) -> PartitionRecord {
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
    PartitionRecord {
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
pub struct Generated {
    lists: Option<Lists>,
    buffer: Vec<u8>,
    taken: usize,
    next: u32,
    pub bytes: u64,
}

impl Generated {
    pub fn new(head: &ManifestHead) -> Self {
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
pub fn peak_bytes() -> u64 {
    let status = std::io::BufRead::lines(open("/proc/self/status"));
    let line = status.map_while(Result::ok).find(|line| line.starts_with("VmHWM")).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap() << 10
}

#[expect(clippy::disallowed_methods, reason = "the test measures its own process")]
fn open(path: &str) -> io::BufReader<std::fs::File> {
    io::BufReader::new(std::fs::File::open(path).unwrap())
}
