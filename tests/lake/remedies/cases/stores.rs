//! Refusals by what was published before, and by parts that the manifest leads to wrongly.

use serde_json::json;

use super::{Between, Case, Engines, TABLE, case, extract, uri};

pub(super) fn published() -> Vec<Case> {
    vec![
        Case {
            earlier: Some(json!({})),
            between: vec![
                Between::Sql("alter table {t} add w int"),
                Between::Sql("insert into {t} (id) values (4)"),
            ],
            rows: Some(1),
            ..case(
                "SchemaChanged",
                extract(&json!({ "schemaPolicy": "freeze" })),
                ("set extract.schemaPolicy: evolve", extract(&json!({ "schemaPolicy": "evolve" }))),
            )
        },
        Case {
            earlier: Some(json!({})),
            ..case(
                "UriChanged",
                uri("{t}/other"),
                ("run an FE or a reingest at the new URI", extract(&json!({ "reingest": true }))),
            )
        },
        Case {
            earlier: Some(json!({})),
            rows: Some(0),
            ..case("UriChanged", uri("{t}/other"), ("Set output.uri to the URI", uri("{t}")))
        },
        Case {
            setup: "create table {t} (id int); insert into {t} values (1), (2), (3); create table {t}b (id int)",
            base: uri("{t}"),
            earlier: Some(extract(&json!({ "table": "{t}b" }))),
            ..case("PrefixTaken", json!({}), ("Choose a separate output.uri", uri("{t}own")))
        },
        Case {
            base: json!({ "extract": { "type": "FE", "watermark": null } }),
            earlier: Some(json!({})),
            between: vec![Between::ObjectLost("manifest.json")],
            ..case("ManifestMissing", json!({}), ("another URI", uri("{t}/new")))
        },
        Case {
            earlier: Some(json!({})),
            between: vec![Between::ObjectLost("part-")],
            command: "verify",
            ..case("VerifyFailed", json!({}), ("eingest", extract(&json!({ "reingest": true }))))
        },
    ]
}

/// Parts that the manifest leads to wrongly: nothing is left where the refused run read, or under the uri.
pub(super) fn reached() -> Vec<Case> {
    let source = |fields: serde_json::Value| json!({ "source": fields });
    vec![
        Case {
            base: uri("{t}"),
            ..case(
                "TableNotFound",
                extract(&json!({ "table": "{t}x" })),
                ("Check extract.table", extract(&json!({ "table": "{t}" }))),
            )
        },
        Case {
            base: uri("{t}"),
            ..case(
                "DatabaseNotFound",
                source(json!({ "database": "missing_{t}" })),
                ("source.database", source(json!({ "database": "{database}" }))),
            )
        },
        case(
            "DatabaseUnreachable",
            source(json!({ "port": 1 })),
            ("source.host", source(json!({ "port": "{port}" }))),
        ),
        case(
            "StorageUnreachable",
            json!({ "output": { "endpoint": "http://198.18.0.1:1" } }),
            ("endpoint", json!({ "output": { "endpoint": "{s3}" } })),
        ),
        case(
            "TrackingUnreachable",
            json!({ "tracking": { "endpoint": "http://198.18.0.1:1" } }),
            ("endpoint", json!({ "tracking": { "endpoint": "{dynamodb}" } })),
        ),
        slow(Engines::Postgres, "(pg_sleep(2) is null)"),
        slow(Engines::Mariadb, "sleep(5)"),
    ]
}

/// A view whose three rows take longer than the shortest deadline, ten seconds.
fn slow(engines: Engines, column: &'static str) -> Case {
    let setup = format!("{TABLE}; create view {{t}} as select id, {column} s from {{t}}_rows");
    let setup = setup.replace("create table {t}", "create table {t}_rows");
    Case {
        engines,
        setup: setup.replace("insert into {t} ", "insert into {t}_rows ").leak(),
        ..case(
            "DeadlineExceeded",
            json!({ "activeDeadlineSeconds": 10 }),
            ("activeDeadlineSeconds", json!({ "activeDeadlineSeconds": 600 })),
        )
    }
}
