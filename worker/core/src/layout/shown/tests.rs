//! What a user sees of narrow and wide tables, few and many partitions.

use crds::tracking::{Mode, Window};

use super::*;
use crate::decoding::columns::samples::copy::column;
use crate::decoding::columns::{Target, oids};
use crate::planning::plan::{CONTROL_VERSION, OutputLayout, TableName};

/// A screen has some 50 lines; a plan may take two of them.
const LINES_MAX: usize = 100;
/// A line that is longer than this is not read to its end.
const LETTERS_MAX: usize = 2_100;

fn plan(columns: Vec<Column>, partitions: Vec<PlannedPartition>) -> Plan {
    Plan {
        version: CONTROL_VERSION,
        run: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a run id"),
        source: "db.t".to_owned(),
        engine: crds::source::Engine::Postgres,
        mode: Mode::FE,
        table: TableName { schema: "public".to_owned(), table: "t".to_owned() },
        columns,
        watermark: None,
        window: Window { low: None, low_text: None, high: None, empty: false, guard: None },
        filter: None,
        partition_column: Some("c0".to_owned()),
        partitioning: None,
        partitions,
        snapshot: None,
        database: None,
        table_lock_milliseconds: None,
        unproven: None,
        unenforced: false,
        estimated_rows: -1,
        filter_settings: std::collections::BTreeMap::new(),
        filtered_rows: None,
        warnings: Vec::new(),
        layout: OutputLayout::default(),
    }
}

fn kinds(count: usize) -> Vec<Column> {
    let oids = [oids::INT4, oids::TEXT, oids::INET, oids::OID];
    let named = |i: usize| column(&format!("c{i}"), oids[i % oids.len()], -1);
    (0..count).map(named).collect()
}

fn cuts(count: usize) -> Vec<PlannedPartition> {
    let bound = |i: usize| Some((i * 10).to_string());
    let cut = |i| PlannedPartition {
        from: bound(i),
        to: bound(i + 1),
        nulls: false,
        ..PlannedPartition::whole()
    };
    (0..count).map(cut).collect()
}

fn shown_of(columns: Vec<Column>, partitions: Vec<PlannedPartition>) -> Vec<String> {
    lines(&plan(columns, partitions)).expect("lines")
}

#[test]
fn a_narrow_table_is_shown_column_by_column() {
    let lines = shown_of(kinds(60), cuts(40));
    let line = "  c2                             type 869                       \
                STRING, as text          string   Parquet has no such type";
    assert!(lines.iter().any(|found| found == line), "{}", lines.join("\n"));
    for i in 0..60 {
        assert!(lines.iter().any(|line| line.starts_with(&format!("  c{i} "))), "c{i}");
    }
    for i in 0..40 {
        let partition = format!("  {i:<4} from {} to below {}", i * 10, i * 10 + 10);
        assert!(lines.contains(&partition), "{partition}");
    }
}

#[test]
fn a_wide_table_is_shown_kind_by_kind_and_the_least_alike_first() {
    let mut columns = kinds(1600);
    columns[7].target = Target::Binary;
    columns[7].fidelity = Some(Fidelity::Lossy);
    columns[7].reason = "something".to_owned();
    let lines = shown_of(columns, cuts(1000));
    let text = lines.join("\n");
    assert!(lines.len() <= LINES_MAX, "{} lines:\n{text}", lines.len());
    assert!(lines.iter().all(|line| line.chars().count() <= LETTERS_MAX), "{text}");
    assert!(
        lines.contains(&"columns    1600: 800 exact, 399 widened, 400 string, 1 lossy".to_owned())
    );
    let places: Vec<_> = ["lossy", "string", "widened", "exact"]
        .map(|kept| lines.iter().position(|line| line.starts_with("  ") && line.contains(kept)))
        .to_vec();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?}\n{text}");
    for line in [
        "      1 of type 26                        BYTE_ARRAY               lossy    something",
        "           c7",
        "           c2, c6, c10, c14, c18, c22, c26, c30 and 392 more",
        "  all columns: tidemark plan --json",
        "  4    from 40 to below 50",
        "  ...  990 more: tidemark plan --json",
        "  999  from 9990 to below 10000",
    ] {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in\n{text}");
    }
    let statement = lines.iter().find(|line| line.starts_with("statement")).expect("a statement");
    assert!(
        statement.contains("COPY (SELECT \"c0\"") && statement.contains("FORMAT BINARY"),
        "{statement}"
    );
}

#[test]
fn a_wide_table_of_many_kinds_is_no_wall_either() {
    let mut columns = kinds(1600);
    for (i, column) in columns.iter_mut().enumerate() {
        column.type_name = format!("varchar({i})");
    }
    let lines = shown_of(columns, cuts(1));
    assert!(lines.len() <= LINES_MAX, "{}", lines.len());
    assert!(lines.contains(&"   1570 of 1570 more mappings".to_owned()), "{}", lines.join("\n"));
}

#[test]
fn few_names_are_all_named() {
    let names = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>();
    assert_eq!(few::<String>(&[]), "");
    assert_eq!(few(&names(9)), "0, 1, 2, 3, 4, 5, 6, 7, 8");
    assert_eq!(few(&names(10)), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
}

#[test]
fn a_condition_is_shown_with_its_settings_and_the_rows_that_it_leaves() {
    let mut plan = plan(kinds(2), cuts(1));
    plan.filter = Some("c0 > 1".to_owned());
    plan.filter_settings = [("search_path".to_owned(), "public".to_owned())].into();
    plan.filtered_rows = Some(7);
    let lines = lines(&plan).expect("lines");
    for line in [
        "where      c0 > 1",
        "  setting search_path = public",
        "           7 of them match extract.where (estimate)",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {}", lines.join("\n"));
    }
}
