use arrow_array::builder::Decimal128Builder;
use arrow_array::{Date32Array, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow_schema::Field;
use proptest::prelude::*;

use super::*;
use crate::decoding::columns::{oids, target_for};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .expect("a batch")
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn hive_directories(batch: &RecordBatch, by: &[&str]) -> Result<Vec<String>, HiveDirectoryError> {
    let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
    let mut ready = HiveDirectories::new(&batch.schema(), &by)?;
    let (numbers, _) = ready.assign(batch)?;
    Ok(numbers.into_iter().map(|number| ready.folder(number).to_string()).collect())
}

#[test]
fn rows_of_one_value_have_one_directory_and_the_files_lack_the_column() {
    let batch = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2, 3]))),
        ("region", texts(&[Some("EU"), None, Some("EU")])),
    ]);
    let mut ready = HiveDirectories::new(&batch.schema(), &["region".to_owned()]).expect("ready");
    let (numbers, rest) = ready.assign(&batch).expect("folders");
    assert_eq!(numbers, [0, 1, 0]);
    assert_eq!(&*ready.folder(1), "region=__HIVE_DEFAULT_PARTITION__/");
    let names: Vec<_> = rest.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id"]);
    assert_eq!(ready.schema(), &rest.schema());
}

#[test]
fn each_type_has_its_text() {
    let mut decimals = Decimal128Builder::new().with_data_type(DataType::Decimal128(10, 2));
    decimals.append_value(-1250);
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_675_159_200_500_000]));
    let batch = batch(vec![
        ("rest", texts(&[Some("")])),
        ("n", Arc::new(decimals.finish())),
        ("day", Arc::new(Date32Array::from(vec![19_388]))),
        ("at", time),
        ("odd=name", texts(&[Some("a/b %=ü")])),
    ]);
    let found = hive_directories(&batch, &["n", "day", "at", "odd=name"]).expect("folders");
    let expected = "n=-12.50/day=2023-01-31/at=2023-01-31 10%3A00%3A00.5/odd%3Dname=a%2Fb %25%3Dü/";
    assert_eq!(found, [expected.replace(".5/", ".500000/")]);
}

#[test]
fn values_that_name_no_directory_are_refused_and_not_shown() {
    let long = "canary".repeat(100);
    for (value, kind) in [("", "empty"), (NULL_DIRECTORY, "NULL"), (&long, "too long")] {
        let batch = batch(vec![("v", texts(&[Some(value)])), ("id", texts(&[None]))]);
        let said = hive_directories(&batch, &["v"]).expect_err(kind);
        assert!(said.to_string().contains(kind), "{said}");
        assert!(!said.to_string().contains("canary") && !said.remedy().is_empty());
    }
}

#[test]
fn columns_that_name_directories_are_checked_by_the_planner() {
    let column = |name: &str, oid| Column {
        name: name.to_owned(),
        type_oid: oid,
        type_name: "t".to_owned(),
        type_modifier: -1,
        nullable: true,
        target: target_for(oid, -1),
        fidelity: None,
        reason: String::new(),
    };
    let columns = [
        column("Region", oids::TEXT),
        column("f", oids::FLOAT8),
        column("extract_run", oids::TEXT),
    ];
    let check = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        check(&columns, &names).map_err(|failure| failure.report.reason)
    };
    assert_eq!(check(&["Region"]), Ok(vec!["Region".to_owned()]));
    assert_eq!(check(&["nope"]), Err(Reason::ColumnNotFound));
    assert_eq!(check(&["f"]), Err(Reason::ColumnTypeUnsupported));
    assert_eq!(check(&["extract_run"]), Err(Reason::InvalidSpec));
    assert_eq!(check(&["Region", "Region"]), Err(Reason::InvalidSpec));
}

proptest! {
    /// Different values have different directories, with any content.
    #[test]
    fn no_two_values_share_a_directory(values in prop::collection::hash_set("\\PC{1,20}", 1..30)) {
        let values: Vec<String> = values.into_iter().collect();
        let array: ArrayRef = Arc::new(StringArray::from(values.clone()));
        let found = hive_directories(&batch(vec![("v", array), ("id", texts(&vec![None; values.len()]))]), &["v"]);
        let found = found.expect("folders");
        let distinct: std::collections::BTreeSet<_> = found.iter().collect();
        prop_assert_eq!(distinct.len(), values.len());
        for folder in &found {
            prop_assert_eq!(folder.matches('/').count(), 1);
        }
    }
}

#[test]
fn a_field_of_the_batch_keeps_its_metadata() {
    let field = Field::new("id", DataType::Int32, true)
        .with_metadata(HashMap::from([("k".to_owned(), "v".to_owned())]));
    let schema = Schema::new(vec![Field::new("v", DataType::Utf8, true), field]);
    let ready = HiveDirectories::new(&schema, &["v".to_owned()]).expect("ready");
    assert_eq!(ready.schema().field(0).metadata().get("k").map(String::as_str), Some("v"));
}
