//! In: every relation that a statement on the table reads, as the catalog has them. Out: what cannot
//! be claimed of its rows, and why. Bound: one table. Fails: never.
//!
//! Snapshot and guards are proved for the database's own tables. A foreign table has its own
//! transactions, a materialized view the rows of its last refresh, a subscriber's table the
//! publisher's stamps, and what a function reads is nowhere written down.

use crate::planning::table_name::TableName;
use crate::planning::virtual_columns::Recomputed;

/// Kinds of relations, by `relkind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A table that holds rows of its own.
    Table,
    /// The parent of table partitions: holds no row itself.
    Partitioned,
    /// A view: its query is run each time.
    View,
    /// A materialized view: holds what its query gave at the last refresh.
    Materialized,
    /// A foreign table: another server or a file holds its rows.
    Foreign,
    /// A sequence, or what a later release of the server adds.
    Other,
}

impl RelationKind {
    /// The kind by the word of the catalog.
    pub fn of(relkind: &str) -> Self {
        match relkind {
            "r" => Self::Table,
            "p" => Self::Partitioned,
            "v" => Self::View,
            "m" => Self::Materialized,
            "f" => Self::Foreign,
            _ => Self::Other,
        }
    }
}

/// A relation that a statement on the table reads: the table itself, a child, or what a view reads.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts of a catalog row that do not depend on each other"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRelation {
    /// Its oid.
    pub oid: u32,
    /// Its name.
    pub name: TableName,
    /// What it is.
    pub kind: RelationKind,
    /// Whether the server's own storage (`heap`) holds its rows.
    pub heap: bool,
    /// Whether a subscription of logical replication writes it, or a partitioned table above it.
    pub subscribed: bool,
    /// Of a view: whether each of its rows is one row of one relation, with no other query in between
    /// and no rule. True of what is not a view.
    pub passes_rows: bool,
    /// Of a view: whether it takes some rows in an order that nothing fixes.
    pub unordered: bool,
    /// Of a view: a function that may read other data, or whose result hangs on session or time.
    pub function: Option<String>,
}

/// What is not claimed, and why, for people. Absent: nothing contradicts the claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unproven {
    /// That all partitions are read from one consistent snapshot.
    pub snapshot: Option<String>,
    /// That the guard sees every transaction that may still write below the end of a window.
    pub guard: Option<String>,
    /// Whether `snapshot` is not claimed because of `extract.where` alone.
    pub by_condition: bool,
    /// Whether `snapshot` is not claimed because of a column alone.
    pub by_column: bool,
    /// Whether a NOT NULL of the catalog may be one that nobody enforces, so that no test for NULL may
    /// be answered from it.
    pub not_null: bool,
}

impl Unproven {
    /// Of a statement that reads these.
    pub fn of(read: &[ReadRelation]) -> Self {
        let snapshot = read.iter().find_map(no_snapshot);
        let guard = snapshot.clone().or_else(|| read.iter().find_map(no_guard));
        let foreign =
            |it: &ReadRelation| matches!(it.kind, RelationKind::Foreign | RelationKind::Other);
        let not_null = read.iter().any(foreign);
        Self { snapshot, guard, not_null, ..Self::default() }
    }

    /// The same of a statement with a condition that may be true of other rows in each session.
    #[must_use]
    pub fn with_condition(mut self, why: &str) -> Self {
        self.by_condition = self.snapshot.is_none();
        self.snapshot.get_or_insert_with(|| why.to_owned());
        self.guard.get_or_insert_with(|| why.to_owned());
        self
    }

    /// The same of a statement that reads a column whose values are not stored.
    #[must_use]
    pub fn with_column(mut self, column: &Recomputed) -> Self {
        self.by_column = self.snapshot.is_none();
        self.snapshot.get_or_insert_with(|| column.to_string());
        self
    }
}

/// Why sessions with one snapshot may read different rows of this relation.
fn no_snapshot(it: &ReadRelation) -> Option<String> {
    let name = &it.name;
    match it.kind {
        RelationKind::Foreign => {
            Some(format!("foreign table {name} is not part of this server's snapshots"))
        }
        RelationKind::Other => Some(format!("{name} is not a table, so no snapshot covers it")),
        RelationKind::Table | RelationKind::Materialized if !it.heap => {
            Some(format!("table {name} uses a table access method other than heap"))
        }
        RelationKind::View => match &it.function {
            Some(function) => Some(format!(
                "view {name} calls {function}, which may read other data or depend on the session or the \
                 time"
            )),
            None if it.unordered => Some(format!(
                "view {name} selects rows in no fixed order (LIMIT, DISTINCT ON, TABLESAMPLE or a \
                 window function)"
            )),
            None => None,
        },
        RelationKind::Table | RelationKind::Partitioned | RelationKind::Materialized => None,
    }
}

/// Why a row of this relation may appear below a bound that the guard has proved for others.
fn no_guard(it: &ReadRelation) -> Option<String> {
    let name = &it.name;
    match it.kind {
        RelationKind::Materialized => {
            Some(format!("materialized view {name} contains the rows of its last refresh"))
        }
        RelationKind::View if !it.passes_rows => Some(format!(
            "view {name} combines rows or has rules, so a row may appear later than its watermark"
        )),
        _ if it.subscribed => Some(format!(
            "table {name} is written by a subscription, and its rows keep the publisher's watermarks"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(relkind: &str) -> ReadRelation {
        let name = TableName { schema: "shop".to_owned(), table: "orders".to_owned() };
        let kind = RelationKind::of(relkind);
        ReadRelation {
            oid: 1,
            name,
            kind,
            heap: matches!(kind, RelationKind::Table | RelationKind::Materialized),
            subscribed: false,
            passes_rows: true,
            unordered: false,
            function: None,
        }
    }

    /// What each relation is, and whether snapshot and guard are claimed of it.
    fn kinds() -> Vec<(ReadRelation, bool, bool)> {
        let (table, view) = (relation("r"), relation("v"));
        vec![
            (table.clone(), true, true),
            (relation("p"), true, true),
            (view.clone(), true, true),
            (relation("m"), true, false),
            (relation("f"), false, false),
            (relation("S"), false, false),
            (relation("?"), false, false),
            (ReadRelation { heap: false, ..table.clone() }, false, false),
            (ReadRelation { heap: false, ..relation("m") }, false, false),
            (ReadRelation { subscribed: true, ..table }, true, false),
            (ReadRelation { passes_rows: false, ..view.clone() }, true, false),
            (ReadRelation { unordered: true, ..view.clone() }, false, false),
            (ReadRelation { function: Some("f()".to_owned()), ..view }, false, false),
        ]
    }

    #[test]
    fn each_kind_of_relation_is_claimed_only_as_far_as_proved() {
        for (it, snapshot, guard) in kinds() {
            let unproven = Unproven::of(std::slice::from_ref(&it));
            assert_eq!(unproven.snapshot.is_none(), snapshot, "{it:?}");
            assert_eq!(unproven.guard.is_none(), guard, "{it:?}");
            for why in [&unproven.snapshot, &unproven.guard].into_iter().flatten() {
                assert!(why.contains("shop.orders"), "{why}");
            }
        }
    }

    #[test]
    fn one_unproven_relation_makes_all_relations_of_the_statement_unproven() {
        for (one, ..) in kinds() {
            for (other, ..) in kinds() {
                let alone = [&one, &other].map(|it| Unproven::of(std::slice::from_ref(it)));
                let both = Unproven::of(&[one.clone(), other.clone()]);
                let any = |claim: fn(&Unproven) -> bool| alone.iter().any(claim);
                assert_eq!(both.snapshot.is_some(), any(|it| it.snapshot.is_some()));
                assert_eq!(both.guard.is_some(), any(|it| it.guard.is_some()));
                assert_eq!(both.not_null, any(|it| it.not_null));
            }
        }
    }
}
