use super::*;
use crate::decoding::columns::{oids, target_for};

fn column(name: &str, type_oid: u32) -> Column {
    Column {
        name: name.to_owned(),
        type_oid,
        type_name: "t".to_owned(),
        type_modifier: -1,
        nullable: false,
        target: target_for(type_oid, -1),
        fidelity: None,
        reason: String::new(),
    }
}

fn columns() -> Vec<Column> {
    vec![
        column("id", oids::INT8),
        column("name", oids::TEXT),
        column("ratio", oids::FLOAT8),
        column("label", 16_400),
    ]
}

fn facts(kind: TableKind, primary_key: &[&str]) -> TableStats {
    let primary_key = primary_key.iter().map(|name| (*name).to_owned()).collect();
    TableStats { kind, primary_key, blocks: 1000, reads_blocks: Ok(()) }
}

fn asked(strategy: Option<Strategy>, column: Option<&str>) -> Partition {
    Partition {
        column: column.map(str::to_owned),
        lower_bound: None,
        upper_bound: None,
        count: None,
        strategy,
        rebalance: None,
    }
}

fn table<'a>(engine: Engine, columns: &'a [Column], facts: &'a TableStats) -> Table<'a> {
    Table { engine, columns, facts, consistency: Consistency::Snapshot, may_hash: true }
}

fn planned_strategy_of(
    partition: &Partition,
    facts: &TableStats,
    engine: Engine,
) -> Result<String, Reason> {
    let columns = columns();
    let table = table(engine, &columns, facts);
    planned_strategy(partition, table).map(named).map_err(|failure| failure.report.reason)
}

fn named(planned_strategy: PlannedStrategy<'_>) -> String {
    let of = |key: Key<'_>| key.column.name.clone();
    match planned_strategy {
        PlannedStrategy::One => "one".to_owned(),
        PlannedStrategy::Range(key) => format!("range {}", of(key)),
        PlannedStrategy::Quantile(key) => format!("quantile {}", of(key)),
        PlannedStrategy::Blocks => "blocks".to_owned(),
        PlannedStrategy::Hash => "hash".to_owned(),
        PlannedStrategy::Auto(key) => format!("auto {}", key.map_or_else(|| "-".to_owned(), of)),
    }
}

#[test]
fn a_column_alone_means_strides_and_rebalance_equal_counts() {
    assert_eq!(strategy(&asked(None, Some("id"))), Strategy::Range);
    assert_eq!(strategy(&asked(None, None)), Strategy::None);
    let rebalanced = Partition { rebalance: Some(true), ..asked(None, Some("id")) };
    assert_eq!(strategy(&rebalanced), Strategy::Quantile);
}

#[test]
fn an_explicit_strategy_is_used_or_refused() {
    let plain = facts(TableKind::Plain, &["id"]);
    let keyless = facts(TableKind::Plain, &[]);
    let (text, unknown) = (Err(Reason::ColumnTypeUnsupported), Err(Reason::ColumnNotFound));
    let ok = |what: &str| Ok(what.to_owned());
    for (strategy, column, facts, expected) in [
        (Strategy::Range, Some("id"), &plain, ok("range id")),
        (Strategy::Range, Some("name"), &plain, text.clone()),
        (Strategy::Quantile, Some("name"), &plain, ok("quantile name")),
        (Strategy::Quantile, Some("label"), &plain, ok("quantile label")),
        (Strategy::Quantile, Some("ratio"), &plain, text),
        (Strategy::Quantile, Some("nothing"), &plain, unknown.clone()),
        (Strategy::Quantile, None, &plain, Err(Reason::InvalidSpec)),
        (Strategy::Ctid, None, &plain, ok("blocks")),
        (Strategy::Hash, None, &plain, ok("hash")),
        (Strategy::Hash, Some("ratio"), &keyless, ok("hash")),
        (Strategy::Hash, Some("nothing"), &keyless, unknown),
        (Strategy::Hash, None, &keyless, Err(Reason::InvalidSpec)),
        (Strategy::None, Some("id"), &plain, ok("one")),
        (Strategy::Auto, None, &plain, ok("auto id")),
        (Strategy::Auto, None, &keyless, ok("auto -")),
        (Strategy::Auto, Some("ratio"), &plain, ok("auto -")),
        (Strategy::Auto, None, &facts(TableKind::Plain, &["label", "id"]), ok("auto -")),
    ] {
        let asked = asked(Some(strategy), column);
        assert_eq!(planned_strategy_of(&asked, facts, Engine::Postgres), expected, "{asked:?}");
    }
}

#[test]
fn blocks_are_those_of_a_plain_table_of_postgres() {
    let ctid = asked(Some(Strategy::Ctid), None);
    let refused = Err(Reason::InvalidSpec);
    for kind in [TableKind::Partitioned, TableKind::Inherited, TableKind::View, TableKind::Other] {
        assert_eq!(
            planned_strategy_of(&ctid, &facts(kind, &["id"]), Engine::Postgres),
            refused,
            "{kind:?}"
        );
    }
    assert_eq!(
        planned_strategy_of(&ctid, &facts(TableKind::Plain, &["id"]), Engine::Mysql),
        refused
    );
    let old = TableStats { reads_blocks: Err("the server is old"), ..facts(TableKind::Plain, &[]) };
    assert_eq!(planned_strategy_of(&ctid, &old, Engine::Postgres), refused);
}

#[test]
fn auto_uses_rows_or_blocks_where_strides_are_uneven() {
    let columns = columns();
    let (plain, view) = (facts(TableKind::Plain, &["id"]), facts(TableKind::View, &[]));
    let two = facts(TableKind::Partitioned, &["id", "name"]);
    let key = Key { column: &columns[0], key_type: KeyType::Int };
    let skew = Skew::hundredths;
    for (strides, quantiles, facts, expected) in [
        (Some((130, 8)), (101, 8), &plain, "range id"),
        (Some((131, 8)), (101, 8), &plain, "quantile id"),
        (Some((100, 3)), (101, 8), &plain, "quantile id"),
        (None, (101, 8), &plain, "quantile id"),
        (Some((9000, 8)), (201, 8), &plain, "blocks"),
        (Some((9000, 8)), (100, 3), &plain, "blocks"),
        (Some((100, 1)), (100, 1), &plain, "blocks"),
        (Some((9000, 8)), (201, 8), &two, "hash"),
        (Some((9000, 8)), (201, 8), &view, "quantile id"),
    ] {
        let table = table(Engine::Postgres, &columns, facts);
        let of = |(hundredths, partitions)| (skew(hundredths), partitions);
        let predicted = PredictedSkews { strides: strides.map(of), quantiles: of(quantiles) };
        let choice = choose(key, predicted, 8, table);
        assert_eq!(named(choice.planned_strategy), expected, "{predicted:?}");
        assert!(choice.reason.contains("\"id\""), "{}", choice.reason);
    }
}

#[test]
fn auto_without_a_key_takes_blocks_or_a_hash_or_one_partition() {
    let columns = columns();
    let auto = asked(Some(Strategy::Auto), None);
    let facts_of_one = facts(TableKind::View, &["id"]);
    let alone = table(Engine::Postgres, &columns, &facts_of_one);
    for (strategy, column) in [(Strategy::Auto, "id"), (Strategy::Hash, "name")] {
        let hashed = hashed(&asked(Some(strategy), Some("name")), alone).expect("columns");
        assert_eq!(hashed[0].name, column, "{strategy:?}");
    }
    for (engine, kind, key, expected) in [
        (Engine::Postgres, TableKind::Plain, &[][..], "blocks"),
        (Engine::Postgres, TableKind::View, &[], "one"),
        (Engine::Postgres, TableKind::Partitioned, &["ratio"], "hash"),
        (Engine::Mysql, TableKind::Plain, &["ratio"], "hash"),
        (Engine::Mysql, TableKind::Plain, &[], "one"),
    ] {
        let facts = facts(kind, key);
        let choice = choose_without_key(&auto, table(engine, &columns, &facts));
        assert_eq!(
            named(choice.planned_strategy),
            expected,
            "{engine:?} {kind:?} {key:?}: {}",
            choice.reason
        );
    }
}

#[test]
fn implied_auto_never_uses_hash() {
    let columns = columns();
    let auto = crate::planning::implied::partition();
    let key = Key { column: &columns[0], key_type: KeyType::Int };
    let skews = [100, 130, 131, 200, 201, 9000].map(Skew::hundredths);
    let kinds = [
        TableKind::Plain,
        TableKind::Partitioned,
        TableKind::Inherited,
        TableKind::View,
        TableKind::Other,
    ];
    let mut ways = std::collections::BTreeSet::new();
    for (engine, kind) in [Engine::Postgres, Engine::Mysql]
        .into_iter()
        .flat_map(|engine| kinds.map(|kind| (engine, kind)))
    {
        for primary_key in [&[][..], &["id"], &["id", "name"], &["ratio"], &["name", "ratio"]] {
            for reads_blocks in [Ok(()), Err("the server is old")] {
                let facts = TableStats { reads_blocks, ..facts(kind, primary_key) };
                let asked_for = table(engine, &columns, &facts);
                let implied = Table { may_hash: false, ..asked_for };
                let without = |table| named(choose_without_key(&auto, table).planned_strategy);
                let of_one = |planned_strategy: String| {
                    if planned_strategy == "hash" { "one".to_owned() } else { planned_strategy }
                };
                assert_eq!(without(implied), of_one(without(asked_for)));
                for (skew, partitions) in
                    skews.into_iter().flat_map(|skew| [1, 3, 8].map(|n| (skew, n)))
                {
                    for strides in
                        [None, Some((skew, partitions)), Some((Skew::hundredths(9000), 8))]
                    {
                        let predicted = PredictedSkews { strides, quantiles: (skew, partitions) };
                        let planned_strategy =
                            |table| named(choose(key, predicted, 8, table).planned_strategy);
                        // rows of equal keys stay together
                        let even = |planned_strategy: String| {
                            if planned_strategy == "hash" {
                                "quantile id".to_owned()
                            } else {
                                planned_strategy
                            }
                        };
                        assert_eq!(
                            planned_strategy(implied),
                            even(planned_strategy(asked_for)),
                            "{engine:?} {facts:?} {predicted:?}"
                        );
                        ways.insert(planned_strategy(asked_for));
                    }
                }
            }
        }
    }
    assert!(ways.contains("hash"), "{ways:?}");
}

#[test]
fn partitions_without_a_common_snapshot_are_not_cut_by_block() {
    let (columns, no_key) = (columns(), facts(TableKind::Plain, &[]));
    let apart = |engine| Table {
        consistency: Consistency::PerPartition,
        ..table(engine, &columns, &no_key)
    };
    let ctid = asked(Some(Strategy::Ctid), None);
    let refused = planned_strategy(&ctid, apart(Engine::Postgres)).expect_err("ctid");
    assert!(refused.report.message.contains("its own snapshot"), "{refused}");
    let auto = asked(Some(Strategy::Auto), None);
    let choice = choose_without_key(&auto, apart(Engine::Postgres));
    assert_eq!(choice.planned_strategy, PlannedStrategy::One);
    assert_eq!(
        choose_without_key(&auto, table(Engine::Postgres, &columns, &no_key)).planned_strategy,
        PlannedStrategy::Blocks
    );
}
