//! A refusal, what its remedy says, and the change that follows it.

mod stores;

use serde_json::{Value, json};

use self::stores::{published, reached};

/// Which engines a case is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engines {
    Both,
    Postgres,
    Mariadb,
}

/// What happens between a published run and the one that is refused.
#[derive(Debug, Clone, Copy)]
pub(super) enum Between {
    Sql(&'static str),
    /// The watermark item is deleted.
    LegacyItemLost,
    /// An object of the run is deleted whose key holds this.
    ObjectLost(&'static str),
}

/// One refusal. Manifests are incremental by column `id`; `{t}` stands for the table's name.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) reason: &'static str,
    pub(super) engines: Engines,
    pub(super) setup: &'static str,
    /// What all runs have.
    pub(super) base: Value,
    /// A run that is published before, and how it differs.
    pub(super) earlier: Option<Value>,
    pub(super) between: Vec<Between>,
    /// `run`, or what else is refused.
    pub(super) command: &'static str,
    /// What is refused.
    pub(super) wrong: Value,
    /// Words of the remedy, and the change that follows it.
    pub(super) remedy: (&'static str, Value),
    /// Rows that are published then.
    pub(super) rows: Option<u64>,
}

const TABLE: &str = "create table {t} (id int primary key, v int, d date, f double precision, n varchar(9)); \
    insert into {t} values (1, 7, '2020-01-01', 0.5, 'a'), (2, 8, '2020-01-02', 1.5, 'b'), (3, 9, '2020-01-03', 2.5, 'c')";

fn case(reason: &'static str, wrong: Value, remedy: (&'static str, Value)) -> Case {
    Case {
        reason,
        engines: Engines::Both,
        setup: TABLE,
        base: json!({}),
        earlier: None,
        between: Vec::new(),
        command: "run",
        wrong,
        remedy,
        rows: Some(3),
    }
}

fn extract(fields: &Value) -> Value {
    json!({ "extract": fields })
}

fn watermark(fields: &Value) -> Value {
    json!({ "extract": { "watermark": fields } })
}

/// An uri of a table's own.
fn uri(name: &str) -> Value {
    json!({ "output": { "uri": format!("s3://{{bucket}}/{name}") } })
}

pub(super) fn cases() -> Vec<Case> {
    [first_runs(), outputs(), values(), tracking(), published(), reached()].concat()
}

/// Refusals of a first run by its watermark and its columns: they must leave no watermark behind.
#[expect(clippy::too_many_lines, reason = "a table")]
fn first_runs() -> Vec<Case> {
    let by_id = || watermark(&json!({ "column": "id", "type": "int" }));
    vec![
        case(
            "ColumnTypeUnsupported",
            watermark(&json!({ "column": "d", "type": "timestamp" })),
            ("Set extract.watermark.type: date", watermark(&json!({ "type": "date" }))),
        ),
        case(
            "ColumnTypeUnsupported",
            watermark(&json!({ "column": "n", "type": "int", "low": "1" })),
            (
                "Choose a watermark column",
                watermark(&json!({ "column": "d", "type": "date", "low": null })),
            ),
        ),
        Case {
            rows: Some(2),
            ..case(
                "ColumnTypeUnsupported",
                watermark(
                    &json!({ "column": "d", "type": "timestamp", "low": "2019-01-01 00:00:00" }),
                ),
                (
                    "Set extract.watermark.type: date",
                    watermark(&json!({ "type": "date", "low": "2020-01-01" })),
                ),
            )
        },
        case(
            "ColumnTypeUnsupported",
            extract(&json!({ "partition": { "column": "f", "count": 2 } })),
            (
                "Choose a column of type integer",
                extract(&json!({ "partition": { "column": "id" } })),
            ),
        ),
        case(
            "ColumnTypeUnsupported",
            json!({ "output": { "partitionBy": ["f"] } }),
            ("Choose columns of type integer", json!({ "output": { "partitionBy": ["v"] } })),
        ),
        case(
            "ColumnNotFound",
            watermark(&json!({ "column": "idd" })),
            ("Correct extract.watermark.column", by_id()),
        ),
        case(
            "ColumnNotFound",
            extract(&json!({ "columns": ["id", "vv"] })),
            ("Correct extract.columns", extract(&json!({ "columns": ["id", "v"] }))),
        ),
        case(
            "ColumnNotFound",
            extract(&json!({ "types": { "vv": "string" } })),
            ("Correct extract.types", extract(&json!({ "types": { "vv": null, "v": "string" } }))),
        ),
        Case {
            setup: "create table {t} (id int, a int); insert into {t} values (1, null), (2, 5), (3, 6)",
            rows: Some(2),
            ..case(
                "NullWatermarkRows",
                watermark(&json!({ "column": "a" })),
                ("extract.watermark.nullPolicy", watermark(&json!({ "nullPolicy": "exclude" }))),
            )
        },
        Case {
            engines: Engines::Postgres,
            setup: "create table {t} (id int, x float8); insert into {t} values (1, 'infinity'), (2, 5), (3, 6)",
            ..case(
                "NonFiniteValue",
                watermark(&json!({ "column": "x", "type": "double" })),
                ("choose another watermark column", by_id()),
            )
        },
        // a full extract without watermark is published: its item has no column, which the next run fills in
        Case {
            earlier: Some(json!({ "extract": { "type": "FE", "watermark": null } })),
            ..case(
                "ColumnTypeUnsupported",
                watermark(&json!({ "column": "d", "type": "timestamp" })),
                ("Set extract.watermark.type: date", watermark(&json!({ "type": "date" }))),
            )
        },
    ]
}

fn outputs() -> Vec<Case> {
    vec![
        case(
            "InvalidSpec",
            json!({ "output": { "columns": { "rowHash": "N" } } }),
            (
                "Set output.columns.rowHash to another name",
                json!({ "output": { "columns": { "rowHash": "hash" } } }),
            ),
        ),
        Case {
            setup: "create table {t} (id int, Extract_Run int); insert into {t} values (1, 1), (2, 2), (3, 3)",
            ..case(
                "InvalidSpec",
                json!({}),
                ("Set output.runFolder: time", json!({ "output": { "runFolder": "time" } })),
            )
        },
        case(
            "InvalidSpec",
            extract(&json!({ "where": "id > 0 /* all */" })),
            ("Write one condition without comments", extract(&json!({ "where": "id > 0" }))),
        ),
        case(
            "InvalidSpec",
            extract(&json!({ "columns": ["v"] })),
            ("Include the column", extract(&json!({ "columns": ["v", "id"] }))),
        ),
        case(
            "InvalidSpec",
            // the rule of the CRD refuses `id`, and does not know that `ID` is the same column
            extract(&json!({ "types": { "ID": "string" } })),
            ("Remove \"id\" from extract.types", extract(&json!({ "types": null }))),
        ),
        Case {
            engines: Engines::Mariadb,
            setup: "create table {t} (id int, p point); insert into {t} values (1, point(1, 1))",
            rows: Some(1),
            ..case(
                "LossyColumn",
                extract(&json!({ "fidelity": "strict" })),
                ("Set extract.fidelity: report", extract(&json!({ "fidelity": "report" }))),
            )
        },
        Case {
            engines: Engines::Mariadb,
            setup: "create table {t} (id int primary key, v int) engine = MyISAM; insert into {t} values (1, 1), (2, 2), (3, 3)",
            ..case(
                "SnapshotUnavailable",
                extract(
                    &json!({ "consistency": "snapshot", "partition": { "column": "id", "count": 2 } }),
                ),
                (
                    "extract.consistency: perPartition",
                    extract(&json!({ "consistency": "perPartition" })),
                ),
            )
        },
    ]
}

fn values() -> Vec<Case> {
    let types = |column: &str| extract(&json!({ "types": { column: "string" } }));
    vec![
        Case {
            engines: Engines::Postgres,
            setup: "create table {t} (id int, j json); insert into {t} values (1, '\"\\ud83d\"'), (2, '1'), (3, null)",
            ..case("DecodeFailed", json!({}), ("set extract.types to string", types("j")))
        },
        Case {
            engines: Engines::Postgres,
            setup: "create table {t} (id int, at time); insert into {t} values (1, '24:00:00'), (2, '1:00'), (3, null)",
            ..case("DecodeFailed", json!({}), ("set extract.types to string", types("at")))
        },
        Case {
            engines: Engines::Postgres,
            setup: "create table {t} (id int, d date); insert into {t} values (1, 'infinity'), (2, null), (3, null)",
            ..case("NonFiniteValue", json!({}), ("set extract.types to string", types("d")))
        },
        Case {
            engines: Engines::Mariadb,
            setup: "set check_constraint_checks = 0; create table {t} (id int, j json); \
                insert into {t} values (1, ''), (2, '1'), (3, null)",
            ..case("DecodeFailed", json!({}), ("set extract.types to string", types("j")))
        },
        Case {
            engines: Engines::Mariadb,
            setup: "set sql_mode = ''; create table {t} (id int, d date); insert into {t} values (1, '0000-00-00'), (2, null), (3, null)",
            ..case(
                "DecodeFailed",
                json!({}),
                ("Set extract.zeroDates: null", extract(&json!({ "zeroDates": "null" }))),
            )
        },
    ]
}

fn tracking() -> Vec<Case> {
    let tracking = |fields: Value| json!({ "tracking": fields });
    vec![
        case(
            "TrackingTableNotFound",
            tracking(json!({ "table": "missing-{t}" })),
            ("tracking.table", tracking(json!({ "table": "{tracking}" }))),
        ),
        case(
            "TrackingNotAllowed",
            tracking(json!({ "table": null })),
            ("Set spec.tracking.table", tracking(json!({ "table": "{tracking}" }))),
        ),
        Case {
            earlier: Some(json!({})),
            between: vec![Between::LegacyItemLost],
            ..case(
                "TrackingLost",
                json!({}),
                ("run a reingest or an FE", extract(&json!({ "reingest": true }))),
            )
        },
        Case {
            earlier: Some(json!({})),
            ..case(
                "WatermarkColumnChanged",
                watermark(&json!({ "column": "v" })),
                ("set extract.reingest: true", extract(&json!({ "reingest": true }))),
            )
        },
        Case {
            earlier: Some(json!({})),
            between: vec![Between::Sql("insert into {t} (id) values (4)")],
            rows: Some(1),
            ..case(
                "WatermarkColumnChanged",
                watermark(&json!({ "column": "v" })),
                ("Restore extract.watermark.column", watermark(&json!({ "column": "id" }))),
            )
        },
        Case {
            earlier: Some(json!({})),
            between: vec![Between::Sql("delete from {t} where id > 1")],
            rows: Some(1),
            ..case(
                "WatermarkRegressed",
                json!({}),
                ("eingest", extract(&json!({ "reingest": true }))),
            )
        },
        Case {
            rows: None,
            ..case(
                "Unguarded",
                json!({}),
                ("set extract.watermark.lagUnits", watermark(&json!({ "lagUnits": 1 }))),
            )
        },
    ]
}
