//! In: the columns of the last manifest, those of the table now. Out: what has changed, and the columns in
//! the order that files have had so far. Bound: one table. Fails: `SchemaChanged`, where the manifest does
//! not want that change.

use crds::Reason;
use crds::extract_job::SchemaPolicy;

use crate::decoding::columns::{Column, Target};
use crate::errors::failure::Failure;

/// Changes that a message names before it only counts.
const NAMED_MAX: usize = 10;

/// The columns that are to be read: those that files have had so far in their order, then new ones, so
/// that a reader by position finds what it found before; and what has changed, in words.
///
/// # Errors
/// `SchemaChanged`.
pub fn follow(
    published: &[Column],
    columns: Vec<Column>,
    policy: SchemaPolicy,
) -> Result<(Vec<Column>, Option<String>), Failure> {
    let place = |name: &str| published.iter().position(|column| column.name == name);
    let (mut kept, added): (Vec<Column>, Vec<Column>) =
        columns.into_iter().partition(|column| place(&column.name).is_some());
    kept.sort_by_key(|column| place(&column.name));
    let (mut broken, mut harmless) = (Vec::new(), Vec::new());
    for before in published {
        match kept.iter().find(|column| column.name == before.name) {
            None => broken.push(format!("{} ({}) was removed", before.name, before.type_name)),
            Some(now) if now.type_name != before.type_name => {
                let said =
                    format!("{} changed from {} to {}", now.name, before.type_name, now.type_name);
                // a text of another length is the text that readers know
                let same = (now.target, before.target) == (Target::Text, Target::Text);
                if same { harmless.push(said) } else { broken.push(said) }
            }
            Some(now) if now.target != before.target => broken.push(format!(
                "{} ({}) was written as {} and would now be written as {}",
                now.name, now.type_name, before.target, now.target
            )),
            Some(_) => {}
        }
    }
    let new =
        added.iter().map(|column| format!("{} ({}) was added", column.name, column.type_name));
    let changes: Vec<String> = broken.iter().cloned().chain(harmless).chain(new).collect();
    let refused = match policy {
        SchemaPolicy::Evolve => &[][..],
        SchemaPolicy::AdditiveOnly => &broken,
        SchemaPolicy::Freeze => &changes,
    };
    if !refused.is_empty() {
        return Err(Failure::permanent(
            Reason::SchemaChanged,
            format!(
                "the columns of the table differ from those of the last run: {}",
                list(refused)
            ),
            "Undo the change in the table, or set extract.schemaPolicy: evolve (additiveOnly accepts new \
             columns only).",
        ));
    }
    let said = (!changes.is_empty()).then(|| {
        format!("the columns of the table changed since the last run: {}", list(&changes))
    });
    Ok((kept.into_iter().chain(added).collect(), said))
}

fn list(changes: &[String]) -> String {
    let mut named = changes.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>();
    if changes.len() > NAMED_MAX {
        named.push(format!("and {} more", changes.len() - NAMED_MAX));
    }
    named.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoding::columns::{oids, target_for};

    fn column(text: &str) -> Column {
        let (name, type_name) = text.split_once(' ').expect("a name and a type");
        let oid = if type_name == "integer" { oids::INT4 } else { oids::TEXT };
        Column {
            name: name.to_owned(),
            type_oid: oid,
            type_name: type_name.to_owned(),
            type_modifier: -1,
            nullable: true,
            target: target_for(oid, -1),
            fidelity: None,
            reason: String::new(),
        }
    }

    fn columns(texts: &[&str]) -> Vec<Column> {
        texts.iter().map(|text| column(text)).collect()
    }

    fn followed(now: &[&str], policy: SchemaPolicy) -> Result<(String, Option<String>), String> {
        let published = columns(&["id integer", "a text", "b text"]);
        match follow(&published, columns(now), policy) {
            Ok((columns, said)) => {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                Ok((names.join(" "), said))
            }
            Err(failure) => Err(failure.report.message),
        }
    }

    #[test]
    fn columns_keep_their_order_and_new_ones_come_last() {
        for policy in [SchemaPolicy::Evolve, SchemaPolicy::AdditiveOnly, SchemaPolicy::Freeze] {
            let same = followed(&["b text", "id integer", "a text"], policy);
            assert_eq!(same, Ok(("id a b".to_owned(), None)));
        }
        let more = ["id integer", "x text", "a text", "b text"];
        for policy in [SchemaPolicy::Evolve, SchemaPolicy::AdditiveOnly] {
            let (order, said) = followed(&more, policy).expect("new columns are taken");
            assert_eq!(order, "id a b x");
            assert!(said.expect("it is said").ends_with("x (text) was added"));
        }
        assert!(
            followed(&more, SchemaPolicy::Freeze)
                .expect_err("frozen")
                .contains("x (text) was added")
        );
    }

    #[test]
    fn only_evolve_accepts_removed_or_retyped_columns() {
        for (now, words) in [
            (&["id integer", "a text"][..], "b (text) was removed"),
            (&["id text", "a text", "b text"], "id changed from integer to text"),
        ] {
            let said = followed(now, SchemaPolicy::Evolve).expect("evolves").1;
            assert!(said.expect("it is said").contains(words));
            for policy in [SchemaPolicy::AdditiveOnly, SchemaPolicy::Freeze] {
                assert!(followed(now, policy).expect_err("refused").contains(words));
            }
        }
        let longer = ["id integer", "a varchar(20)", "b text"];
        let said = followed(&longer, SchemaPolicy::AdditiveOnly).expect("the same text").1;
        assert!(said.expect("it is said").ends_with("a changed from text to varchar(20)"));
        assert!(followed(&longer, SchemaPolicy::Freeze).expect_err("frozen").contains("varchar"));
        let mut published = columns(&["id integer"]);
        published[0].target = Target::AsText;
        let said = follow(&published, columns(&["id integer"]), SchemaPolicy::Freeze);
        assert!(said.expect_err("another form").report.message.contains("was written as"));
    }

    #[test]
    fn a_long_list_is_counted() {
        let names: Vec<String> = (0..30).map(|number| format!("c{number} text")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let said = follow(&columns(&names), columns(&["id integer"]), SchemaPolicy::Freeze);
        assert!(said.expect_err("gone").report.message.ends_with("and 21 more"));
    }
}
