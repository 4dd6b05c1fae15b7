use super::*;
use crate::decoding::columns::{oids, target_for};

const FOLDERS: [RunFolder; 2] = [RunFolder::Run, RunFolder::Time];
/// The fields of `output.columns`.
const FIELDS: [&str; 3] = ["extractTime", "rowHash", "runId"];

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

fn layout(run_folder: RunFolder, added: &[(&str, &str)], partition_by: &[&str]) -> OutputLayout {
    let name = |field: &str| {
        added.iter().find(|(other, _)| *other == field).map(|(_, name)| (*name).to_owned())
    };
    let columns = OutputColumns {
        extract_time: name("extractTime"),
        row_hash: name("rowHash"),
        run_id: name("runId"),
    };
    let partition_by = partition_by.iter().map(|name| (*name).to_owned()).collect();
    OutputLayout { run_folder, columns, partition_by, ..OutputLayout::default() }
}

fn refused(columns: &[Column], layout: &OutputLayout) -> (String, String) {
    let failure = check(columns, layout).expect_err("a name that is taken");
    assert_eq!(failure.report.reason, Reason::InvalidSpec);
    (failure.report.message, failure.report.remedy)
}

/// A name in each spelling that a reader with one case takes for it.
fn spellings(name: &str) -> Vec<String> {
    let mut capital = name.to_owned();
    capital[..1].make_ascii_uppercase();
    let mixed = name
        .chars()
        .enumerate()
        .map(|(index, letter)| if index % 2 == 0 { letter } else { letter.to_ascii_uppercase() });
    vec![name.to_owned(), name.to_uppercase(), capital, mixed.collect()]
}

#[test]
fn the_run_directory_with_the_name_of_a_column_is_refused_in_any_case() {
    for folder in FOLDERS {
        for name in spellings(folder.column()) {
            let (message, remedy) = refused(&columns(&["id", &name]), &layout(folder, &[], &[]));
            assert!(message.contains(&format!("{name:?}")), "{message}");
            // following the remedy works
            assert!(remedy.contains(&format!("runFolder: {}", folder.other().name())), "{remedy}");
            let other = layout(folder.other(), &[], &[]);
            assert_eq!(check(&columns(&["id", &name]), &other), Ok(()));
            assert_eq!(check(&columns(&["id"]), &layout(folder, &[], &[])), Ok(()));
            let both = columns(&[&name, folder.other().column()]);
            let (_, remedy) = refused(&both, &layout(folder, &[], &[]));
            assert!(!remedy.contains("runFolder"), "{remedy}");
        }
    }
}

#[test]
fn an_added_column_with_a_name_in_use_is_refused() {
    for folder in FOLDERS {
        for field in FIELDS {
            for name in spellings("at") {
                let (message, remedy) =
                    refused(&columns(&["id", "at"]), &layout(folder, &[(field, &name)], &[]));
                assert!(message.contains(field) && message.contains("\"at\""), "{message}");
                assert!(remedy.contains(field), "{remedy}");
                // directories are columns too
                let (message, _) =
                    refused(&columns(&["id", "at"]), &layout(folder, &[(field, &name)], &["at"]));
                assert!(message.contains(field), "{message}");
            }
            for name in spellings(folder.column()) {
                let (message, _) =
                    refused(&columns(&["id"]), &layout(folder, &[(field, &name)], &[]));
                assert!(message.contains("the run's directory"), "{message}");
            }
            for other in FIELDS.into_iter().filter(|other| *other != field) {
                for name in spellings("mark") {
                    let added = [(field, "mark"), (other, name.as_str())];
                    let (message, _) = refused(&columns(&["id"]), &layout(folder, &added, &[]));
                    assert!(message.contains(field) && message.contains(other), "{message}");
                }
            }
            let free = layout(folder, &[(field, "mark")], &["at"]);
            assert_eq!(check(&columns(&["id", "at"]), &free), Ok(()));
        }
    }
}

#[test]
fn a_directory_name_of_another_column_or_one_that_readers_skip_is_refused() {
    for name in spellings("region").into_iter().filter(|name| name != "region") {
        let table = columns(&["id", "region", &name]);
        for by in ["region", &name] {
            let (message, _) = refused(&table, &layout(RunFolder::Run, &[], &[by]));
            assert!(message.contains(&format!("{name:?}")), "{message}");
        }
        // without directories readers have the file's own columns
        assert_eq!(check(&table, &layout(RunFolder::Run, &[], &[])), Ok(()));
    }
    for name in ["_day", ".day", "_", "a=b", "a/b", "a%b", "a:b", "a\"b", "a\nb"] {
        let table = columns(&["id", name]);
        let (message, remedy) = refused(&table, &layout(RunFolder::Run, &[], &[name]));
        assert!(message.contains(&format!("{name:?}")), "{message}");
        assert!(remedy.contains("output.partitionBy"), "{remedy}");
        assert_eq!(check(&table, &layout(RunFolder::Run, &[], &[])), Ok(()));
    }
    for name in ["day_", "d.ay", "file name", "tag é"] {
        assert_eq!(check(&columns(&["id", name]), &layout(RunFolder::Run, &[], &[name])), Ok(()));
    }
}

#[test]
fn letters_with_several_lower_cases_are_the_same_name() {
    let table = columns(&["id", "kelvin", "straße"]);
    for name in ["\u{212A}elvin", "STRASSE"] {
        refused(&table, &layout(RunFolder::Run, &[("rowHash", name)], &[]));
    }
}

#[test]
fn a_directory_of_the_uri_with_a_columns_name_is_a_warning() {
    let table = columns(&["id", "Region"]);
    let said = warning(&table, "s3://lake/region=EU/orders").expect("said");
    assert!(said.contains("(region)"), "{said}");
    for uri in ["s3://lake/region/orders", "s3://lake/zone=1/orders"] {
        assert_eq!(warning(&table, uri), None);
    }
}
