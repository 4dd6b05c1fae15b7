//! What `tidemark verify` holds for a run of 200,000 files, and that it still finds the one that is wrong.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod generated;

use crds::tracking::Mode;
use generated::{
    FILES, Generated, LIMIT_BYTES, PARTITIONS, peak_bytes, plan, record, run_id, run_item,
};
use worker_core::layout::manifests::{ManifestFile, ManifestHead, each_file, head};
use worker_core::layout::records::Tallying;
use worker_core::layout::verify::{FileFacts, Findings, Supplement, Verifier};

/// What is wrong with a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// A file is not there.
    Missing,
    /// A file has other rows.
    Rows,
    /// A record is not there.
    Record,
    /// A file is there that nobody has published.
    Unowned,
    /// All files are gone.
    All,
}

fn published() -> ManifestHead {
    let plan = plan(PARTITIONS);
    let mut tallying = Tallying::default();
    for index in 0..PARTITIONS {
        tallying.add(&plan, "h", &record(index, FILES)).unwrap();
    }
    let head = head(&run_item(), &plan, "h", &tallying.finish(&plan).unwrap(), Vec::new());
    // no watermark is stored here
    ManifestHead { mode: Mode::FE, ..head }
}

/// The facts of the file with that number.
fn facts(file: &ManifestFile, number: u64, wrong: Wrong) -> Option<FileFacts> {
    let odd = number == 77_777;
    if wrong == Wrong::All || (odd && wrong == Wrong::Missing) {
        return None;
    }
    let rows = file.rows + u64::from(odd && wrong == Wrong::Rows);
    let token = Some(file.token.clone());
    Some(FileFacts { bytes: file.bytes, token, etag: None, rows: Some(rows) })
}

fn verified(head: &ManifestHead, wrong: Wrong) -> Findings {
    let mut verifier = Verifier::new(None, None, None);
    verifier.begin(head.run, Some(head), Some("h"));
    for index in 0..PARTITIONS - u32::from(wrong == Wrong::Record) {
        verifier.record(&record(index, FILES));
    }
    let mut number = 0;
    each_file(&mut Generated::new(head), &mut |file| {
        verifier.file(&file, facts(&file, number, wrong).as_ref());
        number += 1;
        true
    })
    .unwrap();
    for index in 0..PARTITIONS {
        for file in record(index, FILES).files {
            verifier.listed(&file.key);
        }
    }
    if wrong == Wrong::Unowned {
        verifier.listed("orders/part-of-nobody.parquet");
    }
    verifier.finish(&Supplement::default())
}

#[test]
fn two_hundred_thousand_files_are_verified_in_little_memory() {
    let head = published();
    let before = peak_bytes();
    assert_eq!(verified(&head, Wrong::Nothing), Findings::default());
    let what = |wrong| {
        let findings = verified(&head, wrong);
        assert!(findings.count() > 0);
        findings.kept.into_iter().map(|finding| finding.what).collect::<Vec<_>>().join("; ")
    };
    assert!(what(Wrong::Missing).ends_with("is missing"));
    assert!(what(Wrong::Rows).ends_with("does not contain the recorded number of rows"));
    let record = what(Wrong::Record);
    assert!(record.contains("only 999 of 1000 partition records exist"), "{record}");
    assert!(
        record.contains("the manifest and the partition records list different files"),
        "{record}"
    );
    assert!(what(Wrong::Unowned).ends_with("belongs to no published run"));
    let all = verified(&head, Wrong::All);
    assert_eq!(all.count(), u64::from(PARTITIONS * FILES));
    assert_eq!(all.kept.len(), 1_000);
    let grown = peak_bytes() - before;
    assert!(grown < LIMIT_BYTES, "{} MiB", grown >> 20);
}

#[test]
fn file_of_two_manifests_belongs_to_both() {
    let head = published();
    let other = ManifestHead { run: run_id(8), ..head.clone() };
    let file = ManifestFile::of(record(0, 1)).next().unwrap();
    let mut verifier = Verifier::new(None, None, None);
    for head in [&head, &other] {
        verifier.begin(head.run, Some(head), Some("h"));
        verifier.file(&file, facts(&file, 0, Wrong::Nothing).as_ref());
    }
    let findings = verifier.finish(&Supplement::default());
    let doubled = |what: &str| what.ends_with("is listed in two manifests");
    assert_eq!(findings.kept.iter().filter(|finding| doubled(&finding.what)).count(), 1);
}
