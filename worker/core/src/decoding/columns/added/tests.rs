use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;

use crate::decoding::columns::tests::{column, stream};
use crate::decoding::columns::{Column, Decoder, oids};

/// The batch of some rows with all columns added.
fn with_added(columns: &[Column], rows: &[Vec<Option<Vec<u8>>>]) -> RecordBatch {
    let names = crds::output::OutputColumns {
        extract_time: Some("extracted_at".to_owned()),
        row_hash: Some("hash".to_owned()),
        run_id: Some("run".to_owned()),
    };
    let run = "0185f9a1-1c48-7000-8000-000000000001".parse().expect("a run id");
    let mut decoder = Decoder::new(columns, None).expect("no watermark").adding(&names, run);
    decoder.feed(&stream(rows)).expect("good rows");
    decoder.finish().expect("whole");
    let batch = decoder.take_batch().expect("a batch");
    assert_eq!(batch.schema(), *decoder.schema());
    batch
}

fn hashes(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<String> {
    let columns = [column("a", oids::TEXT, -1), column("b", oids::TEXT, -1)];
    let batch = with_added(&columns, rows);
    let column = batch.column_by_name("hash").expect("a hash").as_string::<i32>();
    column.iter().map(|hash| hash.expect("never NULL").to_owned()).collect()
}

/// Defect 7 of the legacy job: a NULL in any column made the hash NULL, and ("ab", "c") was
/// ("a", "bc").
#[test]
fn legacy_job_7_a_row_hash_is_never_null_and_no_two_rows_share_one() {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let rows = [
        vec![text("ab"), text("c")],
        vec![text("a"), text("bc")],
        vec![text("abc"), text("")],
        vec![text("abc"), None],
        vec![None, text("abc")],
        vec![None, None],
        vec![text(""), text("")],
    ];
    let found = hashes(&rows);
    let distinct: std::collections::BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), distinct.len()), (rows.len(), rows.len()));
    assert_eq!(found, hashes(&rows), "the same rows, the same hashes");
}

/// `printf '\0\0\0\2ab\377\377\377\377' | sha256sum`: readers compare with what they have kept.
#[test]
fn the_row_hash_is_pinned() {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(
        hashes(&[vec![text("ab"), None]]),
        ["4acc0f93a2c15824ad4139a9e4242c8aae9de45204aca951c6231288c866001c"]
    );
}

#[test]
fn a_runs_time_and_id_are_in_each_of_its_rows() {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let batch = with_added(&[column("a", oids::TEXT, -1)], &[vec![text("x")], vec![None]]);
    let times = batch.column_by_name("extracted_at").expect("a time");
    let times = times.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values().as_ref(), [1_674_930_363_464_000, 1_674_930_363_464_000]);
    let runs = batch.column_by_name("run").expect("a run").as_string::<i32>();
    assert!(runs.iter().all(|run| run == Some("0185f9a1-1c48-7000-8000-000000000001")));
}
