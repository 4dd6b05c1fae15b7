//! The mapping table: whole, true to its words, and printed in the documentation.

use super::*;
use crate::decoding::columns::tests::page;
use crate::decoding::columns::{Fidelity, Target};

fn source(oid: u32, family: Family, extension: Option<&str>, name: &str) -> SourceType {
    SourceType {
        oid,
        modifier: -1,
        type_name: name.to_owned(),
        name: name.to_owned(),
        family,
        extension: extension.map(str::to_owned),
    }
}

fn row_of(source: &SourceType) -> &'static str {
    mapping_for(source).source
}

#[test]
fn mappings_that_are_not_exact_have_a_reason() {
    for mapping in MAPPINGS {
        assert_eq!(mapping.fidelity == Fidelity::Exact, mapping.reason.is_empty(), "{mapping:?}");
        assert_ne!(mapping.fidelity, Fidelity::Lossy, "{mapping:?}");
    }
    let named: std::collections::BTreeSet<_> = MAPPINGS.iter().map(|row| row.source).collect();
    assert_eq!(named.len(), MAPPINGS.len(), "two rows of one name");
}

#[test]
fn every_type_finds_its_row() {
    let own = |oid| source(oid, Family::Plain, None, "x");
    for (oid, row) in [
        (oids::INT4, "integer"),
        (oids::TIME, "time"),
        (oids::XID, "oid, xid, cid"),
        (603, "point, line, lseg, box, path, polygon, circle"),
        (2205, "regclass, regproc, regtype and the like"),
        (oids::NUMERIC, "numeric, any other"),
        (1033, "any other type"),
        (16_385, "any other type"),
    ] {
        assert_eq!(row_of(&own(oid)), row, "{oid}");
    }
    let decimal = SourceType { modifier: (12 << 16 | 2) + 4, ..own(oids::NUMERIC) };
    assert_eq!(row_of(&decimal), "numeric(p, s), up to 38 digits");
    let column = column_for("x".to_owned(), decimal, true);
    assert_eq!(column.target, Target::Decimal { precision: 12, scale: 2 });
    for (family, row) in [
        (Family::Array, "array"),
        (Family::Enum, "enum"),
        (Family::Composite, "composite"),
        (Family::Range, "range"),
        (Family::Multirange, "multirange"),
    ] {
        // for any type of its elements
        assert_eq!(row_of(&source(1007, family, None, "_int4")), row);
        assert_eq!(row_of(&source(16_390, family, Some("citext"), "citext")), row);
    }
}

#[test]
fn a_type_belongs_to_an_extension_only_by_the_catalog() {
    let named = |extension, name| row_of(&source(16_390, Family::Plain, extension, name));
    assert_eq!(named(Some("citext"), "citext"), "citext");
    assert_eq!(named(Some("ltree"), "lquery"), "ltree, lquery, ltxtquery");
    assert_eq!(named(Some("postgis"), "geography"), "geometry, geography (PostGIS)");
    assert_eq!(named(Some("postgis"), "box2d"), "any other type");
    // its values may come in any form
    assert_eq!(named(None, "citext"), "any other type");
    assert_eq!(named(Some("mine"), "citext"), "any other type");
    assert_eq!(named(Some("citext"), "other"), "any other type");
}

#[test]
fn a_column_reports_the_fidelity_of_its_mapping() {
    let column = column_for("x".to_owned(), source(oids::OID, Family::Plain, None, "oid"), true);
    assert_eq!((column.fidelity(), column.target), (Fidelity::Widened, Target::Int64));
    assert!(column.reason.contains("unsigned"));
    let json = serde_json::to_value(&column).expect("a column");
    assert_eq!(json["fidelity"], "widened");
    // without it the target decides
    let text = r#"{"name":"a","typeOid":869,"typeName":"inet","typeModifier":-1,"nullable":true,"target":"asText"}"#;
    let bare: Column = serde_json::from_str(text).expect("a column");
    assert_eq!(bare.fidelity(), Fidelity::String);
}

#[test]
fn the_documentation_has_the_mapping_table() {
    let printed =
        page(MAPPINGS.iter().map(|row| (row.source, row.parquet, row.fidelity, row.reason)));
    let text = include_str!("../../../../../../docs/postgres.md");
    assert!(text.contains(&printed), "put this into docs/postgres.md:\n{printed}");
}
