//! In: the table's columns, what the manifest wants of them. Out: the columns that are read. Bound: one
//! table. Fails: `ColumnNotFound`, `InvalidSpec`.

use crds::Reason;
use crds::extract_job::{Extract, Strategy};

use crate::decoding::columns::Column;
use crate::errors::failure::Failure;
use crate::planning::tables::find_column;

mod reads;

pub use self::reads::{Reads, doubtful_call, mixes_time_and_date, reads};

/// The columns that `extract.columns` and `extract.excludeColumns` leave, in the table's order. Each of
/// their names must be a column: one that is misspelt would be read after all, or be missing unseen.
///
/// # Errors
/// `ColumnNotFound`; `InvalidSpec` where nothing is left, or the watermark or partition column is not.
pub fn select(columns: Vec<Column>, extract: &Extract) -> Result<Vec<Column>, Failure> {
    let (names, field) = match (&extract.columns, &extract.exclude_columns) {
        (Some(names), _) => (names, "extract.columns"),
        (None, Some(names)) => (names, "extract.excludeColumns"),
        (None, None) => return Ok(columns),
    };
    let named = names
        .iter()
        .map(|name| find_column(&columns, name, field).map(|column| column.name.clone()))
        .collect::<Result<Vec<String>, Failure>>()?;
    let taken = extract.columns.is_some();
    let (left, gone): (Vec<Column>, Vec<Column>) =
        columns.into_iter().partition(|column| named.contains(&column.name) == taken);
    if left.is_empty() {
        return Err(Failure::permanent(
            Reason::InvalidSpec,
            format!("{field} leaves no column to extract"),
            "Name at least one column to extract.",
        ));
    }
    let watermark = extract.watermark.as_ref().map(|watermark| watermark.column.as_str());
    let partition = extract.partition.as_ref();
    let partition = partition.filter(|partition| partition.strategy != Some(Strategy::None));
    let partition = partition.and_then(|partition| partition.column.as_deref());
    for (role, needed) in [("watermark", watermark), ("partition", partition)] {
        let Some(needed) = needed else { continue };
        if find_column(&left, needed, field).is_err() && find_column(&gone, needed, field).is_ok() {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                format!("{field} excludes the {role} column {needed:?}, which each run reads"),
                format!("Include the column, or choose another {role} column."),
            ));
        }
    }
    Ok(left)
}

/// Whether `extract.where` stays inside the parentheses that it is put in, however the database reads
/// it: no comment, no statement after it, no quote or parenthesis left open, and no backslash or dollar
/// sign, since engines and settings read those differently.
///
/// # Errors
/// `InvalidSpec`.
pub fn check_filter(filter: &str) -> Result<(), Failure> {
    let bad = |what: &str| {
        Err(Failure::permanent(
            Reason::InvalidSpec,
            format!("extract.where {what}"),
            "Write one condition without comments, semicolons, backslashes, dollar signs and hashes, and close every quote and parenthesis. Otherwise create a view with the condition, and set extract.table \
             to it.",
        ))
    };
    let (mut quote, mut depth, mut before) = (None, 0_u32, '\0');
    for now in filter.chars() {
        match (quote, now) {
            (_, '\\' | '\0') => return bad("contains a backslash or a NUL"),
            // a doubled quote closes and opens again
            (Some(open), _) if now == open => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(now),
            (None, ';' | '$' | '#') => return bad("contains a semicolon, a dollar sign or a hash"),
            (None, '-') if before == '-' => return bad("contains a comment"),
            (None, '*') if before == '/' => return bad("contains a comment"),
            (None, '(') => depth += 1,
            (None, ')') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return bad("closes a parenthesis that is not open"),
            },
            (Some(_) | None, _) => {}
        }
        before = now;
    }
    match (quote, depth, filter.trim()) {
        (_, _, "") => bad("is empty"),
        (Some(_), ..) => bad("has a quote that is not closed"),
        (None, 1.., _) => bad("has a parenthesis that is not closed"),
        (None, 0, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decoding::columns::{oids, target_for};

    fn columns(names: &[&str]) -> Vec<Column> {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            type_oid: oids::INT4,
            type_name: "integer".to_owned(),
            type_modifier: -1,
            nullable: true,
            target: target_for(oids::INT4, -1),
            fidelity: None,
            reason: String::new(),
        };
        names.iter().map(column).collect()
    }

    fn left(fields: &Value) -> Result<String, String> {
        let mut extract = json!({ "table": "t", "type": "FE" });
        for (key, value) in fields.as_object().expect("fields") {
            extract[key] = value.clone();
        }
        let extract = serde_json::from_value(extract).expect("extract");
        match select(columns(&["id", "a", "A", "at"]), &extract) {
            Ok(left) => {
                Ok(left.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(" "))
            }
            Err(failure) => Err(failure.report.message),
        }
    }

    #[test]
    fn columns_are_taken_or_left_out_in_the_tables_order() {
        assert_eq!(left(&json!({})), Ok("id a A at".to_owned()));
        assert_eq!(left(&json!({ "columns": ["at", "A", "ID"] })), Ok("id A at".to_owned()));
        assert_eq!(left(&json!({ "excludeColumns": ["A"] })), Ok("id a at".to_owned()));
        for (fields, words) in [
            (json!({ "columns": ["id", "b"] }), "no column \"b\""),
            (json!({ "excludeColumns": ["b"] }), "no column \"b\""),
            (json!({ "excludeColumns": ["id", "a", "A", "at"] }), "leaves no column"),
            (
                json!({ "columns": ["id"], "watermark": { "column": "at", "type": "int" } }),
                "excludes the watermark column \"at\"",
            ),
            (
                json!({ "excludeColumns": ["id"], "partition": { "column": "ID" } }),
                "excludes the partition column \"ID\"",
            ),
        ] {
            let said = left(&fields).expect_err(words);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_condition_cannot_leave_its_parentheses() {
        for fine in [
            "a = 1",
            "a = 'it''s (; -- /* $' and (b > -1 or \"odd)\" is null)",
            "a - -1 > 2 and b / 2 * 3 > 1",
            "`odd;` = 'x'",
        ] {
            assert!(check_filter(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "",
            "  ",
            "a = 1; drop table t",
            "a = 1) or (1 = 1",
            "a = (1",
            "a = 'x",
            "a = 1 -- b",
            "a /* b",
            "a = 1 # b",
            "a = '\\' or 1 = 1",
            "a = $$x$$",
            "a = \"b",
            "a = 'x''",
        ] {
            assert!(check_filter(wrong).is_err(), "{wrong}");
        }
    }
}
