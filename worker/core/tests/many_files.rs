//! The lists of a manifest, one file at a time: the same bytes as a whole manifest, and as much memory
//! for 200,000 files as for none.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod generated;

use crds::Reason::{RecordMismatch, RecordMissing, RowCountMismatch};
use crds::RunId;
use proptest::prelude::*;
use worker_core::layout::body::to_body;
use worker_core::layout::manifests::{
    Earlier, FileCount, ListedFile, Listing, Lists, Manifest, ManifestFile, ManifestHead,
    each_earlier_file, each_file, head, read_head,
};
use worker_core::layout::records::{PartitionRecord, RecordsHash, Tallying, tally};

use generated::{
    FILES, Generated, LIMIT_BYTES, PARTITIONS, peak_bytes, plan, record, run_id, run_item,
};

#[test]
fn memory_for_two_hundred_thousand_files_is_that_of_one_record() {
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
fn records_that_do_not_fit_the_plan_are_refused() {
    let (plan, whole) = (plan(2), [record(0, 1), record(1, 1)]);
    assert!(tally(&plan, "h", &whole).is_ok());
    let reason =
        |records: &[PartitionRecord]| tally(&plan, "h", records).unwrap_err().report.reason;
    assert_eq!(reason(&whole[..1]), RecordMissing);
    assert_eq!(reason(&[whole[0].clone(), whole[0].clone()]), RecordMissing);
    let changed = |change: fn(&mut PartitionRecord)| {
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
