use crds::extract_job::ZeroDates;
use serde_json::{Value, json};

use super::*;
use crate::decoding::columns::{oids, postgres};

fn extract(fields: &Value) -> Extract {
    let mut extract = json!({ "table": "t", "type": "FE" });
    for (key, value) in fields.as_object().expect("fields") {
        extract[key] = value.clone();
    }
    serde_json::from_value(extract).expect("extract")
}

fn column(name: &str, oid: u32) -> Column {
    let source = postgres::SourceType { oid, modifier: -1, ..postgres::SourceType::default() };
    postgres::column_for(name.to_owned(), source, true)
}

fn table() -> Vec<Column> {
    vec![
        column("id", oids::INT8),
        column("at", oids::TIMESTAMP),
        column("Doc", oids::JSONB),
        column("note", oids::TEXT),
        column("price", oids::NUMERIC),
    ]
}

fn applied(fields: &Value) -> Result<Vec<Column>, (Reason, String)> {
    apply(Engine::Postgres, table(), &extract(fields))
        .map_err(|failure| (failure.report.reason, failure.report.message))
}

#[test]
fn columns_that_are_named_become_text_and_no_other() {
    assert_eq!(applied(&json!({})), Ok(table()));
    let types = json!({ "ID": "string", "Doc": "string", "note": "string", "price": "string" });
    let found = applied(&json!({ "types": types })).expect("columns");
    let kept: Vec<_> = found.iter().map(|column| (column.target, column.fidelity())).collect();
    let expected = [
        (Target::AsText, Fidelity::String),
        (Target::Timestamp, Fidelity::Exact),
        // as it is sent, without a cast
        (Target::Text, Fidelity::String),
        (Target::Text, Fidelity::Exact),
        (Target::AsText, Fidelity::String),
    ];
    assert_eq!(kept, expected);
    assert_eq!(found[0].reason, ASKED);
    assert_eq!(found[4], table()[4]);
}

#[test]
fn a_name_that_is_no_column_and_a_column_that_runs_compare_are_refused() {
    let unknown = applied(&json!({ "types": { "doc2": "string" } })).expect_err("unknown");
    assert_eq!(unknown.0, Reason::ColumnNotFound);
    assert!(unknown.1.contains("\"doc2\""), "{unknown:?}");
    let (watermark, partition) =
        (json!({ "column": "AT", "type": "timestamp" }), json!({ "column": "id", "count": 2 }));
    for (fields, words) in [
        (json!({ "types": { "at": "string" }, "watermark": watermark }), "watermark column \"at\""),
        (json!({ "types": { "id": "string" }, "partition": partition }), "partition column \"id\""),
    ] {
        let (reason, message) = applied(&fields).expect_err(words);
        assert_eq!(reason, Reason::InvalidSpec);
        assert!(message.contains(words), "{message}");
    }
    let none = json!({ "column": "id", "strategy": "none" });
    assert!(applied(&json!({ "types": { "id": "string" }, "partition": none })).is_ok());
}

/// Each type of MySQL then arrives as text.
#[test]
fn every_type_of_mysql_has_a_text() {
    let types = [
        "tinyint",
        "bigint",
        "float",
        "double",
        "decimal",
        "bit",
        "date",
        "datetime",
        "timestamp",
        "time",
        "year",
        "varchar",
        "enum",
        "json",
        "blob",
        "vector",
        "uuid",
        "point",
        "inet6",
    ];
    for data_type in types {
        for zero_dates in [ZeroDates::Fail, ZeroDates::Null, ZeroDates::String] {
            let source = mysql::SourceType {
                data_type: data_type.to_owned(),
                column_type: format!("{data_type}(8)"),
                precision: Some(8),
                scale: Some(0),
                ..mysql::SourceType::default()
            };
            let column = mysql::column_for("c".to_owned(), &source, true, zero_dates);
            let extract = extract(&json!({ "types": { "c": "string" } }));
            let columns = apply(Engine::Mysql, vec![column], &extract).expect("columns");
            assert!(matches!(columns[0].target, Target::Text | Target::AsText), "{data_type}");
            let form = mysql::Form::of(columns[0].type_oid);
            // varchar, longtext
            assert!(
                form.comes_as(253, false) && form.comes_as(252, false),
                "{data_type}: {form:?}"
            );
        }
    }
}
