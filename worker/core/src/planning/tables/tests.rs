use super::*;
use crate::decoding::columns::oids;
use crate::decoding::columns::postgres::{SourceType, column_for};

fn relation(oid: u32, schema: &str, table: &str) -> Relation {
    Relation { oid, name: TableName { schema: schema.to_owned(), table: table.to_owned() } }
}

fn pick(text: &str, candidates: &[Relation], searched: &[&str]) -> Result<u32, Reason> {
    let wanted = TableRef::parse(Engine::Postgres, text).expect(text);
    let searched: Vec<_> = searched.iter().map(|schema| (*schema).to_owned()).collect();
    pick_table(&wanted, candidates, &searched)
        .map(|relation| relation.oid)
        .map_err(|failure| failure.report.reason)
}

fn column(oid: u32, modifier: i32) -> Column {
    let type_name = "t".to_owned();
    let source = SourceType { oid, modifier, type_name, ..SourceType::default() };
    column_for("at".to_owned(), source, true)
}

#[test]
fn tables_are_named_with_and_without_schema_and_quotes() {
    for (text, schema, table) in [
        ("orders", None, "orders"),
        ("sales.orders", Some("sales"), "orders"),
        ("\"a.b\".\"say \"\"hi\"\"\"", Some("a.b"), "say \"hi\""),
        ("sales.\"Orders\"", Some("sales"), "Orders"),
    ] {
        let read = TableRef::parse(Engine::Postgres, text).expect(text);
        assert_eq!(read.schema.map(|part| part.text).as_deref(), schema);
        assert_eq!(read.table.text, table);
    }
    let long = "x".repeat(64);
    for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "a\"b", "\"a\"b", "\"\"", long.as_str()] {
        assert!(TableRef::parse(Engine::Postgres, text).is_err(), "{text}");
    }
}

#[test]
fn the_very_name_comes_before_its_folded_form() {
    let both = [relation(1, "public", "orders"), relation(2, "public", "Orders")];
    let pick = |text| pick(text, &both, &["pg_catalog", "public"]);
    assert_eq!(pick("Orders"), Ok(2));
    assert_eq!(pick("ORDERS"), Ok(1));
    assert_eq!(pick("\"ORDERS\""), Err(Reason::TableNotFound));
}

#[test]
fn without_a_schema_the_first_that_the_user_searches_counts_and_no_other() {
    let schemas = [relation(1, "sales", "orders"), relation(2, "public", "orders")];
    assert_eq!(pick("orders", &schemas, &["pg_catalog", "sales", "public"]), Ok(1));
    assert_eq!(pick("orders", &schemas, &["pg_catalog", "public", "sales"]), Ok(2));
    assert_eq!(pick("orders", &schemas, &["public"]), Ok(2));
    assert_eq!(pick("orders", &schemas[..1], &["public"]), Err(Reason::TableNotFound));
    assert_eq!(pick("orders", &schemas, &[]), Err(Reason::TableNotFound));
    assert_eq!(pick("sales.orders", &schemas, &["public"]), Ok(1));
    assert_eq!(pick("Sales.Orders", &schemas, &["public"]), Ok(1));
    let wanted = TableRef::parse(Engine::Postgres, "orders").expect("a name");
    let refused = pick_table(&wanted, &schemas[..1], &["public".to_owned()]);
    assert!(refused.expect_err("elsewhere").report.message.contains("\"sales\""));
}

#[test]
fn a_table_that_is_not_found_is_named_as_the_manifest_names_it() {
    for text in ["orders", "public.orders", "\"Sales\".orders", "\"a\"\"b.c\""] {
        let wanted = TableRef::parse(Engine::Postgres, text).expect(text);
        let failure = pick_table(&wanted, &[], &[]).expect_err(text);
        let expected = format!("the database has no table or view {text}");
        assert_eq!(failure.report.message, expected);
    }
}

#[test]
fn another_table_does_not_continue_the_published_chain() {
    let name = |schema: &str| identity(None, schema);
    let check = |text: &str, mode| {
        let wanted = TableRef::parse(Engine::Postgres, text).expect(text);
        check_same_table(Some(&name("a")), &name("b"), &wanted, mode)
    };
    for (text, mode, refused) in [
        ("orders", Mode::PE, true),
        ("b.orders", Mode::PE, true),
        ("orders", Mode::FE, true),
        ("b.orders", Mode::FE, false),
        ("orders", Mode::Reingest, false),
        ("b.orders", Mode::Reingest, false),
    ] {
        let failure = check(text, mode).err();
        assert_eq!(failure.is_some(), refused, "{text} {mode:?}");
        let Some(failure) = failure else { continue };
        assert_eq!(failure.report.reason, Reason::TableChanged);
        assert!(failure.report.message.contains("a.orders"), "{failure}");
        assert!(failure.report.message.contains("b.orders"), "{failure}");
    }
    let wanted = TableRef::from(&name("b").table);
    for published in [None, Some(&name("b"))] {
        assert_eq!(check_same_table(published, &name("b"), &wanted, Mode::PE), Ok(()));
    }
}

fn identity(database: Option<&str>, schema: &str) -> TableIdentity {
    let table = relation(1, schema, "orders").name;
    TableIdentity { database: database.map(str::to_owned), table }
}

#[test]
fn table_of_the_same_name_in_another_database_is_refused_unless_reingested() {
    let (old, new) = (Some("old"), Some("new"));
    for (published, found, same) in [
        (old, new, false),
        (old, old, true),
        // MySQL has no database beside the schema
        (None, new, true),
        (old, None, true),
        (None, None, true),
    ] {
        for (text, mode) in ["orders", "a.orders"]
            .into_iter()
            .flat_map(|text| [Mode::PE, Mode::FE, Mode::Reingest].map(|mode| (text, mode)))
        {
            let wanted = TableRef::parse(Engine::Postgres, text).expect(text);
            let (published, found) = (identity(published, "a"), identity(found, "a"));
            let failure = check_same_table(Some(&published), &found, &wanted, mode).err();
            let refused = !same && mode != Mode::Reingest;
            assert_eq!(failure.is_some(), refused, "{published:?} {found:?} {mode:?}");
            let Some(failure) = failure else { continue };
            assert_eq!(failure.report.reason, Reason::TableChanged);
            for name in ["a.orders of database \"new\"", "a.orders of database \"old\""] {
                assert!(failure.report.message.contains(name), "{failure}");
            }
        }
    }
}

#[test]
fn a_watermark_column_must_be_of_its_type() {
    let remedy = |type_oid, value_type| {
        check_watermark(&column(type_oid, -1), value_type).map_err(|bad| bad.report.remedy)
    };
    assert_eq!(remedy(oids::INT4, WatermarkType::Int), Ok(()));
    assert_eq!(remedy(oids::INT8, WatermarkType::Decimal), Ok(()));
    let expected = Err("Set extract.watermark.type: date.".to_owned());
    assert_eq!(remedy(oids::DATE, WatermarkType::Timestamp), expected);
    assert!(remedy(oids::TEXT, WatermarkType::Int).is_err());
    assert!(remedy(oids::NUMERIC, WatermarkType::Int).is_err());
}

#[test]
fn precision_comes_from_the_modifier() {
    assert_eq!(fraction_digits(&column(oids::TIMESTAMP, 0)), 0);
    assert_eq!(fraction_digits(&column(oids::TIMESTAMP, 3)), 3);
    assert_eq!(fraction_digits(&column(oids::TIMESTAMP, -1)), 6);
}

#[test]
fn an_infinite_watermark_is_refused_and_an_infinite_key_is_not() {
    let bad = watermark_extreme(WatermarkType::Timestamp, "at", "infinity").expect_err("inf");
    assert_eq!(bad.report.reason, Reason::NonFiniteValue);
    assert_eq!(KeyType::Timestamp.value("infinity"), None);
}
