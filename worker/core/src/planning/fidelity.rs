//! In: columns with what their mappings keep. Out: how many keep how much. Fails: [`check`], where
//! something would be lost and the manifest wants all.

use crds::Reason;
use crds::extract_job::FidelityPolicy;
use crds::fidelity::FidelityCounts;

use crate::decoding::columns::{Column, Fidelity};
use crate::errors::failure::Failure;

/// Columns that a message names before it only counts.
const NAMED_MAX: usize = 5;

/// How many columns keep how much of their values' meaning.
pub fn counts(columns: &[Column]) -> FidelityCounts {
    let mut counts = FidelityCounts::default();
    for column in columns {
        *match column.fidelity() {
            Fidelity::Exact => &mut counts.exact,
            Fidelity::Widened => &mut counts.widened,
            Fidelity::String => &mut counts.string,
            Fidelity::Lossy => &mut counts.lossy,
        } += 1;
    }
    counts
}

/// Whether the columns keep what the manifest wants.
///
/// # Errors
/// `LossyColumn`.
pub fn check(columns: &[Column], policy: FidelityPolicy) -> Result<(), Failure> {
    let lossy: Vec<_> =
        columns.iter().filter(|column| column.fidelity() == Fidelity::Lossy).collect();
    if lossy.is_empty() || policy == FidelityPolicy::Report {
        return Ok(());
    }
    let named = lossy.iter().take(NAMED_MAX);
    let named =
        named.map(|column| format!("{} ({}): {}", column.name, column.type_name, column.reason));
    let mut named: Vec<_> = named.collect();
    if lossy.len() > NAMED_MAX {
        named.push(format!("and {} more", lossy.len() - NAMED_MAX));
    }
    Err(Failure::permanent(
        Reason::LossyColumn,
        format!(
            "extract.fidelity is strict, but these columns would lose a part of their values: {}",
            named.join("; ")
        ),
        "Set extract.fidelity: report, or exclude the columns with extract.excludeColumns.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoding::columns::Target;

    fn column(name: &str, fidelity: Option<Fidelity>, target: Target) -> Column {
        Column {
            name: name.to_owned(),
            type_oid: 0,
            type_name: "t".to_owned(),
            type_modifier: -1,
            nullable: true,
            target,
            fidelity,
            reason: "half of it".to_owned(),
        }
    }

    #[test]
    fn every_column_is_counted_once_and_an_older_plans_by_its_target() {
        let columns = [
            column("a", Some(Fidelity::Exact), Target::Int32),
            column("b", Some(Fidelity::Widened), Target::Int32),
            column("c", Some(Fidelity::Lossy), Target::Binary),
            column("d", Some(Fidelity::String), Target::Text),
            column("e", None, Target::AsText),
            column("f", None, Target::Date),
        ];
        let expected = FidelityCounts { exact: 2, widened: 1, string: 2, lossy: 1 };
        assert_eq!(counts(&columns), expected);
    }

    #[test]
    fn strict_refuses_only_lossy_columns() {
        let lossy = |name: &str| column(name, Some(Fidelity::Lossy), Target::Binary);
        let kept = [
            column("a", Some(Fidelity::String), Target::AsText),
            column("b", Some(Fidelity::Widened), Target::Int64),
        ];
        assert_eq!(check(&kept, FidelityPolicy::Strict), Ok(()));
        assert_eq!(check(&[lossy("x")], FidelityPolicy::Report), Ok(()));
        let failure = check(&[lossy("x")], FidelityPolicy::Strict).expect_err("lossy");
        assert_eq!(failure.report.reason, Reason::LossyColumn);
        assert!(failure.report.message.contains("x (t): half of it"), "{failure:?}");
        let many: Vec<_> = (0..1600).map(|i| lossy(&format!("c{i}"))).collect();
        let failure = check(&many, FidelityPolicy::Strict).expect_err("lossy");
        assert!(failure.report.message.ends_with("and 1595 more"), "{failure:?}");
    }
}
