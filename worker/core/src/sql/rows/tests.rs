mod qualified;

use crds::extract_job::{NullPolicy, WatermarkType};
use crds::tracking::{Mode, Window};

use super::*;
use crate::decoding::columns::oids;
use crate::planning::watermark::Value;
use crds::extract_job::Strategy;

use crate::planning::partitioning::Partitioning;
use crate::planning::partitions::Part;
use crate::planning::plan::{CONTROL_VERSION, OutputLayout, PlannedWatermark};

fn column(name: &str, type_oid: u32, target: Target) -> Column {
    let type_name = "t".to_owned();
    let (name, reason) = (name.to_owned(), String::new());
    Column {
        name,
        type_oid,
        type_name,
        type_modifier: -1,
        nullable: true,
        target,
        fidelity: None,
        reason,
    }
}

fn plan(mode: Mode, low: Option<&str>, high: Option<&str>, null_policy: NullPolicy) -> Plan {
    Plan {
        version: CONTROL_VERSION,
        run: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a run id"),
        source: "db.t".to_owned(),
        engine: crds::source::Engine::Postgres,
        mode,
        table: TableName { schema: "public".to_owned(), table: "odd \" name".to_owned() },
        columns: vec![
            column("id", oids::INT4, Target::Int32),
            column("at", oids::TIMESTAMPTZ, Target::TimestampTz),
            column("shape", 600, Target::AsText),
        ],
        watermark: Some(PlannedWatermark {
            column: "at".to_owned(),
            value_type: WatermarkType::Timestamp,
            null_policy,
        }),
        window: Window {
            low: low.map(str::to_owned),
            low_text: None,
            high: high.map(str::to_owned),
            empty: false,
            guard: None,
        },
        filter: None,
        partition_column: Some("id".to_owned()),
        partitioning: None,
        partitions: Vec::new(),
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

fn predicate(plan: &Plan, partition: &PlannedPartition) -> String {
    let statement = read_statement(plan, partition).expect("a statement");
    let inner = statement.strip_prefix("COPY (").expect("COPY");
    let inner = inner.strip_suffix(") TO STDOUT (FORMAT BINARY)").expect("binary");
    let (columns, filter) = inner.split_once("\"odd \"\" name\"").expect("the table");
    assert_eq!(
        columns,
        "SELECT \"id\", \"at\", CASE WHEN \"shape\" IS DISTINCT FROM NULL THEN pg_catalog.concat(\"shape\") END FROM \"public\"."
    );
    filter.strip_prefix(" WHERE ").unwrap_or(filter).to_owned()
}

const LOW: &str = "2023-01-31 10:00:00";
const HIGH: &str = "2023-02-28 10:00:00.5";

#[test]
fn an_incremental_window_excludes_its_start_and_includes_its_end() {
    let both = plan(Mode::PE, Some(LOW), Some(HIGH), NullPolicy::Fail);
    assert_eq!(
        predicate(&both, &PlannedPartition::whole()),
        "(\"at\" OPERATOR(pg_catalog.>) '2023-01-31 10:00:00+00'::pg_catalog.timestamptz \
         AND \"at\" OPERATOR(pg_catalog.<=) '2023-02-28 10:00:00.500000+00'::pg_catalog.timestamptz)"
    );
    let first = plan(Mode::PE, None, Some(LOW), NullPolicy::Include);
    assert_eq!(
        predicate(&first, &PlannedPartition::whole()),
        "(\"at\" OPERATOR(pg_catalog.<=) '2023-01-31 10:00:00+00'::pg_catalog.timestamptz OR \"at\" IS NULL)"
    );
}

#[test]
fn an_incremental_window_without_end_has_no_value_in_it() {
    let nulls = plan(Mode::PE, Some(LOW), None, NullPolicy::Include);
    assert_eq!(predicate(&nulls, &PlannedPartition::whole()), "(false OR \"at\" IS NULL)");
    let nothing = plan(Mode::Reingest, None, None, NullPolicy::Exclude);
    assert_eq!(predicate(&nothing, &PlannedPartition::whole()), "(false)");
}

#[test]
fn a_full_extract_includes_both_ends_or_everything() {
    let both = plan(Mode::FE, Some(LOW), Some(LOW), NullPolicy::Fail);
    assert_eq!(
        predicate(&both, &PlannedPartition::whole()),
        "(\"at\" OPERATOR(pg_catalog.>=) '2023-01-31 10:00:00+00'::pg_catalog.timestamptz \
         AND \"at\" OPERATOR(pg_catalog.<=) '2023-01-31 10:00:00+00'::pg_catalog.timestamptz)"
    );
    assert_eq!(
        predicate(&plan(Mode::FE, None, None, NullPolicy::Fail), &PlannedPartition::whole()),
        ""
    );
}

#[test]
fn partitions_include_their_start_and_one_of_them_the_nulls() {
    let all = plan(Mode::FE, None, None, NullPolicy::Fail);
    let partition = |from: Option<&str>, to: Option<&str>, nulls| PlannedPartition {
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        nulls,
        part: None,
    };
    let first = predicate(&all, &partition(None, Some("-5"), true));
    assert_eq!(first, "(\"id\" OPERATOR(pg_catalog.<) '-5'::pg_catalog.int8 OR \"id\" IS NULL)");
    let middle = predicate(&all, &partition(Some("-5"), Some("7"), false));
    assert_eq!(
        middle,
        "(\"id\" OPERATOR(pg_catalog.>=) '-5'::pg_catalog.int8 AND \"id\" OPERATOR(pg_catalog.<) '7'::pg_catalog.int8)"
    );
    assert_eq!(
        predicate(&all, &partition(Some("7"), None, false)),
        "(\"id\" OPERATOR(pg_catalog.>=) '7'::pg_catalog.int8)"
    );
}

#[test]
fn single_byte_above_127_is_read_as_octal_digits_on_every_release() {
    let byte = column("c", crate::decoding::columns::oids::CHAR, Target::AsText);
    let table = TableName { schema: "s".to_owned(), table: "t".to_owned() };
    assert_eq!(
        hold_statement(Engine::Postgres, &[byte], &table, true),
        "SELECT CASE WHEN pg_catalog.int4(\"c\") OPERATOR(pg_catalog.<) 0 \
         THEN pg_catalog.encode(pg_catalog.charsend(\"c\"), 'escape') \
         ELSE CASE WHEN \"c\" IS DISTINCT FROM NULL THEN pg_catalog.concat(\"c\") END END FROM \"s\".\"t\" LIMIT 0"
    );
}

/// A plan whose partitions go by these columns.
fn by(strategy: Strategy, columns: Vec<Column>) -> Plan {
    let mut plan = plan(Mode::FE, None, None, NullPolicy::Fail);
    plan.partitioning =
        Some(Partitioning { strategy, columns, reason: String::new(), predicted_skew: None });
    plan
}

fn part(part: Part) -> PlannedPartition {
    PlannedPartition { nulls: false, part: Some(part), ..PlannedPartition::whole() }
}

#[test]
fn rows_without_key_may_have_a_partition_of_their_own() {
    let plan = by(Strategy::Quantile, vec![column("id", oids::INT4, Target::Int32)]);
    assert_eq!(predicate(&plan, &part(Part::Nulls)), "(\"id\" IS NULL)");
    let others = PlannedPartition { nulls: false, ..PlannedPartition::whole() };
    assert_eq!(predicate(&plan, &others), "(\"id\" IS NOT NULL)");
    assert_eq!(predicate(&plan, &PlannedPartition::whole()), "");
}

#[test]
fn a_text_is_a_literal_that_ends_where_the_text_does() {
    let from = |text: &str| PlannedPartition {
        from: Some(text.to_owned()),
        to: None,
        nulls: false,
        part: None,
    };
    let text = by(Strategy::Quantile, vec![column("t", oids::TEXT, Target::Text)]);
    let evil = "a'; drop table t; -- \\' é";
    assert_eq!(
        predicate(&text, &from(evil)),
        "(\"t\" OPERATOR(pg_catalog.>=) E'a''; drop table t; -- \\\\'' é')"
    );
    assert!(read_statement(&text, &from("a\0")).is_err());
    let mysql = Plan { engine: Engine::Mysql, ..text };
    let statement = read_statement(&mysql, &from("é'")).expect("a statement");
    assert!(statement.ends_with(" WHERE (`t` >= _utf8mb4 X'c3a927')"), "{statement}");
    let other = by(Strategy::Quantile, vec![column("c", 16_400, Target::AsText)]);
    assert_eq!(
        predicate(&other, &from("a")),
        "(((CASE WHEN \"c\" IS DISTINCT FROM NULL THEN pg_catalog.concat(\"c\") END) \
         COLLATE pg_catalog.\"C\") OPERATOR(pg_catalog.>=) E'a')"
    );
    let uuid = by(Strategy::Quantile, vec![column("u", oids::UUID, Target::Uuid)]);
    let id = "123e4567-e89b-12d3-a456-426655440000";
    assert_eq!(
        predicate(&uuid, &from(id)),
        format!("(\"u\" OPERATOR(pg_catalog.>=) '{id}'::pg_catalog.uuid)")
    );
    assert!(read_statement(&uuid, &from("1' OR true")).is_err());
}

#[test]
fn a_hash_goes_over_all_columns_of_the_key() {
    let columns = ["a", "b"].map(|name| column(name, oids::INT4, Target::Int32)).to_vec();
    let plan = by(Strategy::Hash, columns);
    let class = part(Part::Hash { class: 2, classes: 3 });
    assert_eq!(
        predicate(&plan, &class),
        "(((pg_catalog.hashtextextended(pg_catalog.concat(ROW(\"a\", \"b\")) COLLATE pg_catalog.\"C\", 0) \
         OPERATOR(pg_catalog.&) 9223372036854775807) OPERATOR(pg_catalog.%) 3) OPERATOR(pg_catalog.=) 2)"
    );
    let mysql = Plan { engine: Engine::Mysql, ..plan.clone() };
    let statement = read_statement(&mysql, &class).expect("a statement");
    let hash = "(CRC32(CONCAT_WS(',', IFNULL(CRC32(`a`), -1), IFNULL(CRC32(`b`), -1))) MOD 3 = 2)";
    assert!(statement.ends_with(&format!(" WHERE {hash}")), "{statement}");
    let beyond = part(Part::Hash { class: 3, classes: 3 });
    assert!(read_statement(&plan, &beyond).is_err());
    assert!(read_statement(&by(Strategy::Hash, Vec::new()), &class).is_err());
}

#[test]
fn the_last_blocks_have_no_end() {
    let plan = by(Strategy::Ctid, Vec::new());
    let blocks = |first, end| part(Part::Blocks { first, end });
    assert_eq!(
        predicate(&plan, &blocks(0, Some(7))),
        "(ctid OPERATOR(pg_catalog.>=) '(0,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(7,0)'::pg_catalog.tid)"
    );
    assert_eq!(
        predicate(&plan, &blocks(7, None)),
        "(ctid OPERATOR(pg_catalog.>=) '(7,0)'::pg_catalog.tid)"
    );
    let mysql = Plan { engine: Engine::Mysql, ..plan };
    assert!(read_statement(&mysql, &blocks(7, None)).is_err());
}

#[test]
fn a_sample_is_of_the_window() {
    let plan = plan(Mode::PE, None, Some(LOW), NullPolicy::Fail);
    let id = &plan.columns[0];
    let statement =
        sample_statement(&plan, id, SampleMethod::Blocks(2.5), 64).expect("a statement");
    assert!(
        statement.contains(
            "FROM (SELECT \"id\" AS k FROM \"public\".\"odd \"\" name\" TABLESAMPLE pg_catalog.system (2.500000) \
             WHERE (\"at\" OPERATOR(pg_catalog.<=) '2023-01-31 10:00:00+00'::pg_catalog.timestamptz)) s) r"
        ),
        "{statement}"
    );
    let statement = sample_statement(&plan, id, SampleMethod::Rows(0.25), 64).expect("a statement");
    assert!(statement.contains("'::pg_catalog.timestamptz) AND pg_catalog.random() OPERATOR(pg_catalog.<) 0.250000000) s"), "{statement}");
}

#[test]
fn a_bound_that_is_no_value_never_becomes_sql() {
    let evil = plan(Mode::PE, None, Some("2023-01-31'; drop table t; --"), NullPolicy::Fail);
    assert!(read_statement(&evil, &PlannedPartition::whole()).is_err());
    let all = plan(Mode::FE, None, None, NullPolicy::Fail);
    let partition =
        PlannedPartition { from: Some("1 OR true".to_owned()), to: None, nulls: false, part: None };
    assert!(read_statement(&all, &partition).is_err());
}

#[test]
fn identifiers_are_quoted_by_doubling() {
    assert_eq!(quote(Engine::Postgres, "a\"; drop table x; --"), "\"a\"\"; drop table x; --\"");
}

#[test]
fn a_year_before_christ_keeps_its_zone_before_the_era() {
    let old = Value::parse(WatermarkType::Timestamp, "0044-03-15 12:00:00 BC").expect("a time");
    assert_eq!(
        literal(&old, oids::TIMESTAMPTZ),
        "'0044-03-15 12:00:00+00 BC'::pg_catalog.timestamptz"
    );
}

#[test]
fn a_snapshot_id_is_hexadecimal() {
    let text = statements::import_snapshot("00000003-0000001B-1").expect("an id");
    assert_eq!(text, "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'");
    assert_eq!(statements::import_snapshot("x'; drop table t; --"), None);
}

#[test]
fn a_filter_is_in_every_statement_that_reads_rows() {
    let mut plan = plan(Mode::PE, Some(LOW), Some(HIGH), NullPolicy::Fail);
    plan.filter = Some("a = 1 or b = ';'".to_owned());
    let filter = "WHERE (a = 1 or b = ';') AND ";
    for statement in [
        read_statement(&plan, &PlannedPartition::whole()).expect("read"),
        count_statement(&plan).expect("count"),
        estimate_statement(&plan).expect("estimate"),
        any_row_statement(&plan).expect("any"),
        sample_statement(&plan, &plan.columns[0], SampleMethod::Rows(0.5), 9).expect("sample"),
        null_statement(
            Engine::Postgres,
            &plan.table,
            &plan.columns[1],
            plan.filter.as_deref(),
            false,
        ),
    ] {
        assert!(statement.contains(filter), "{statement}");
    }
    let extremes =
        extremes_statement(Engine::Mysql, &plan.table, &plan.columns[0], plan.filter.as_deref());
    assert!(extremes.ends_with(" WHERE (a = 1 or b = ';')"), "{extremes}");
}

#[test]
fn a_zero_date_of_mysql_is_a_row_without_watermark() {
    for (low, policy, expected) in [
        (None, NullPolicy::Exclude, "(`at` >= '0001-01-01' AND `at` <= "),
        (None, NullPolicy::Include, " OR (`at` IS NULL OR `at` < '0001-01-01'))"),
        (Some(LOW), NullPolicy::Exclude, "(`at` > "),
    ] {
        let plan = Plan { engine: Engine::Mysql, ..plan(Mode::PE, low, Some(HIGH), policy) };
        let statement = count_statement(&plan).expect("count");
        assert!(statement.contains(expected), "{statement}");
        let dated = statement.contains("`at` >= '0001-01-01'");
        assert_eq!(dated, low.is_none(), "{statement}");
    }
    let plan = plan(Mode::PE, None, Some(HIGH), NullPolicy::Fail);
    let asked = |engine| null_statement(engine, &plan.table, &plan.columns[1], None, false);
    assert!(asked(Engine::Mysql).contains("`at` < '0001-01-01'"));
    assert!(!asked(Engine::Postgres).contains("0001-01-01"));
}

fn of_mysql(mut plan: Plan) -> Plan {
    plan.engine = Engine::Mysql;
    plan.table = TableName { schema: "shop".to_owned(), table: "odd ` name".to_owned() };
    plan.columns[2].target = Target::AsText;
    plan
}

#[test]
fn statements_for_mysql_use_its_dialect() {
    let plan = of_mysql(plan(Mode::PE, Some(LOW), Some(HIGH), NullPolicy::Include));
    let partition =
        PlannedPartition { from: Some("-5".to_owned()), to: None, nulls: true, part: None };
    assert_eq!(
        read_statement(&plan, &partition).expect("a statement"),
        "SELECT `id`, `at`, CAST(`shape` AS CHAR) FROM `shop`.`odd `` name` WHERE \
         (`at` > TIMESTAMP'2023-01-31 10:00:00' AND `at` <= TIMESTAMP'2023-02-28 10:00:00.500000' \
         OR (`at` IS NULL OR `at` < '0001-01-01')) AND (`id` >= -5 OR `id` IS NULL)"
    );
    assert_eq!(quote(Engine::Mysql, "a`; drop table x; -- \\"), "`a``; drop table x; -- \\`");
    let narrow = column("r", 0, Target::Float32);
    let literal = |value| mysql::literal(&value, &narrow).expect("a literal");
    assert_eq!(literal(Value::Double(0.1)), "1.0000000149011612e-1");
    let beyond = Value::parse(WatermarkType::Date, "10000-01-01");
    assert!(beyond.is_err() || mysql::literal(&beyond.expect("a date"), &narrow).is_none());
}

#[test]
fn no_test_for_null_is_left_to_a_catalog_that_may_be_wrong() {
    let plan = Plan { unenforced: true, ..plan(Mode::PE, Some(LOW), None, NullPolicy::Include) };
    let partition = |nulls, part, to: Option<&str>| PlannedPartition {
        from: None,
        to: to.map(str::to_owned),
        nulls,
        part,
    };
    for partition in [
        partition(true, None, Some("10")),
        partition(false, None, None),
        partition(false, Some(crate::planning::partitions::Part::Nulls), None),
        PlannedPartition::whole(),
    ] {
        let predicate = predicate(&plan, &partition);
        assert!(!predicate.contains("NULL") && predicate.contains("num_nulls"), "{predicate}");
    }
    let found = null_statement(Engine::Postgres, &plan.table, &plan.columns[1], None, true);
    assert!(found.contains("pg_catalog.num_nulls(\"at\") OPERATOR(pg_catalog.>) 0"), "{found}");
    // MySQL keeps no NULL in such a column
    let mysql = null_statement(Engine::Mysql, &plan.table, &plan.columns[0], None, true);
    assert!(mysql.contains("`id` IS NULL"), "{mysql}");
}
