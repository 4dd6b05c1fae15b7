//! In: a plan without partitions, and the manifest. Out: the partitions, the strategy, and its reason.
//! Bound: at most one sample of the table. Fails: as [`worker_core::planning::partitioning`], and as a session.

use crds::extract_job::{Consistency, Partition, Strategy};
use crds::tracking::Mode;
use worker_core::decoding::columns::Column;
use worker_core::errors::failure::Failure;
use worker_core::planning::partitioning::{
    self, Choice, Key, Partitioning, PlannedStrategy, PredictedSkews, Table, TableKind, TableStats,
    hashed,
};
use worker_core::planning::partitions::{self, PARTITIONS_MAX, PlannedPartition, Sample, Skew};
use worker_core::planning::plan::Plan;
use worker_core::planning::watermark::Value;
use worker_core::planning::window;
use worker_core::sql::rows::{self, SampleMethod};

use crate::source::database::Database;
use crate::source::filtering;
use crate::source::table::SourceTable;

/// Blocks that are sampled for each partition: the rows of a block often have neighbouring keys, so
/// all of them say hardly more than one row.
const BLOCKS_PER_PARTITION: u64 = 300;
/// Least and most blocks that are sampled.
const BLOCKS: (u64, u64) = (1000, 100_000);
/// Rows that are sampled for each partition, if rows are drawn one by one.
const ROWS_PER_PARTITION: u64 = 1000;
/// Least rows that are sampled.
const ROWS_MIN: u64 = 20_000;
/// Keys that are taken over for each partition, and at most.
const POINTS: (u32, u32) = (64, 4096);
/// Bytes of a block, where it is not asked for.
const BLOCK_BYTES: i64 = 8192;

/// Why a small table is one partition.
pub(super) const SMALL: &str = "the table's estimated size needs only one partition";

/// What the partitions are cut from.
pub(super) struct Divider<'a> {
    pub(super) source_table: &'a SourceTable,
    pub(super) partition: &'a Partition,
    /// Whether all partitions are read from one consistent snapshot.
    pub(super) consistency: Consistency,
    /// Bytes of the table by the statistics.
    pub(super) table_bytes: i64,
    /// Whether each partition may read the whole table.
    pub(super) may_hash: bool,
}

/// Partitions and the strategy that was chosen.
pub(super) type Divided = (Vec<PlannedPartition>, Partitioning);

impl Divider<'_> {
    pub(super) async fn divide(
        &self,
        database: &mut Database,
        plan: &Plan,
    ) -> Result<Divided, Failure> {
        let count = self.count(database, plan).await?;
        self.divide_by(database, plan, count).await
    }

    /// Divides into so many partitions, or fewer.
    pub(super) async fn divide_by(
        &self,
        database: &mut Database,
        plan: &Plan,
        count: u32,
    ) -> Result<Divided, Failure> {
        let facts = database.table_stats(self.source_table).await?;
        let table = Table {
            engine: plan.engine,
            columns: &self.source_table.columns,
            facts: &facts,
            consistency: self.consistency,
            may_hash: self.may_hash,
        };
        let planned_strategy = partitioning::planned_strategy(self.partition, table)?;
        if count < 2 {
            let reason = match (planned_strategy, self.partition.count) {
                (PlannedStrategy::One, _) | (_, Some(_)) => "the manifest requests one partition",
                (_, None) => SMALL,
            };
            return Ok((
                vec![PlannedPartition::whole()],
                described(Strategy::None, &[], reason, None),
            ));
        }
        let asked = "the manifest requests it".to_owned();
        match planned_strategy {
            PlannedStrategy::Auto(Some(key)) => {
                self.auto(database, plan, (key, count), table).await
            }
            PlannedStrategy::Auto(None) => {
                let choice = partitioning::choose_without_key(self.partition, table);
                self.by(database, plan, count, (choice, table)).await
            }
            planned_strategy => {
                let choice = Choice { planned_strategy, reason: asked };
                self.by(database, plan, count, (choice, table)).await
            }
        }
    }

    /// How many partitions the manifest or the estimated size asks for.
    pub(super) async fn count(&self, database: &mut Database, plan: &Plan) -> Result<u32, Failure> {
        if partitioning::strategy(self.partition) == Strategy::None {
            return Ok(1);
        }
        Ok(match (self.partition.count, plan.mode) {
            (Some(count), _) => count.min(PARTITIONS_MAX),
            (None, Mode::PE) => partitions::count_for(database.estimate(plan).await?, 0),
            (None, Mode::FE | Mode::Reingest) => {
                partitions::count_for(plan.estimated_rows, self.table_bytes)
            }
        })
    }

    /// A strategy that is decided.
    async fn by(
        &self,
        database: &mut Database,
        plan: &Plan,
        count: u32,
        (choice, table): (Choice<'_>, Table<'_>),
    ) -> Result<Divided, Failure> {
        let Choice { planned_strategy, reason } = choice;
        Ok(match planned_strategy {
            PlannedStrategy::Range(key) => {
                let cuts = self.strides(database, plan, key, count).await?;
                let reason = if cuts.is_empty() {
                    let name = &key.column.name;
                    format!(
                        "{reason}; the values between the least and greatest {name:?} cannot be divided into equal strides"
                    )
                } else {
                    reason
                };
                let predicted = database
                    .statistics(self.source_table, plan, key, count)
                    .await?
                    .map(|sample| sample.skew_of(key.key_type, &cuts));
                (spans(&cuts), described(Strategy::Range, &[key.column], &reason, predicted))
            }
            PlannedStrategy::Quantile(key) => {
                let (sample, seen) = self.sample(database, plan, (key, count), table.facts).await?;
                let cuts = sample.quantiles(count);
                let reason = format!("{reason}; key ranges from {seen}");
                let how = described(Strategy::Quantile, &[key.column], &reason, Some(cuts.skew));
                (cuts.partitions, how)
            }
            PlannedStrategy::Blocks => {
                let blocks = table.facts.blocks;
                let whole = !rows::has_window(plan)?;
                let (partitions, even) = (partitions::block_spans(blocks, count), Skew::EVEN);
                let reason = format!("{reason}; the table has {blocks} blocks");
                (partitions, described(Strategy::Ctid, &[], &reason, whole.then_some(even)))
            }
            PlannedStrategy::Hash => {
                let columns = hashed(self.partition, table)?;
                (
                    partitions::hash_classes(count),
                    described(Strategy::Hash, &columns, &reason, None),
                )
            }
            PlannedStrategy::One | PlannedStrategy::Auto(_) => {
                (vec![PlannedPartition::whole()], described(Strategy::None, &[], &reason, None))
            }
        })
    }

    /// Reads the key, and chooses a suitable strategy.
    async fn auto(
        &self,
        database: &mut Database,
        plan: &Plan,
        (key, count): (Key<'_>, u32),
        table: Table<'_>,
    ) -> Result<Divided, Failure> {
        let (sample, seen) = self.sample(database, plan, (key, count), table.facts).await?;
        let strides = match key.key_type.value_type() {
            Some(_) => Some(self.strides(database, plan, key, count).await?),
            None => None,
        };
        let quantiles = sample.quantiles(count);
        let of_strides = strides.as_ref().map(|cuts| sample.skew_of(key.key_type, cuts));
        let predicted = PredictedSkews {
            strides: of_strides.zip(strides.as_ref().map(|cuts| cuts.len() + 1)),
            quantiles: (quantiles.skew, quantiles.partitions.len()),
        };
        let Choice { planned_strategy, reason } =
            partitioning::choose(key, predicted, count, table);
        let reason = format!("{reason}, according to {seen}");
        Ok(match (planned_strategy, strides) {
            (PlannedStrategy::Range(_), Some(cuts)) => {
                (spans(&cuts), described(Strategy::Range, &[key.column], &reason, of_strides))
            }
            (PlannedStrategy::Quantile(_), _) => {
                let skew = Some(quantiles.skew);
                (quantiles.partitions, described(Strategy::Quantile, &[key.column], &reason, skew))
            }
            (planned_strategy, _) => {
                let choice = Choice { planned_strategy, reason };
                self.by(database, plan, count, (choice, table)).await?
            }
        })
    }

    /// Where equal strides meet.
    async fn strides(
        &self,
        database: &mut Database,
        plan: &Plan,
        key: Key<'_>,
        count: u32,
    ) -> Result<Vec<Value>, Failure> {
        let Some(value_type) = key.key_type.value_type() else { return Ok(Vec::new()) };
        let given = |text: &Option<String>, side| {
            text.as_deref().map(|text| window::given_bound(value_type, text, side)).transpose()
        };
        let (low, high) = window_span(plan, key);
        // bounds are accepted for PE, and not used: its rows are at one end of the column
        let ends = match plan.mode {
            Mode::PE => (low, high),
            Mode::FE | Mode::Reingest => (
                given(&self.partition.lower_bound, "lower partition")?.or(low),
                given(&self.partition.upper_bound, "upper partition")?.or(high),
            ),
        };
        let span = match ends {
            (Some(least), Some(greatest)) => Some((least, greatest)),
            (least, greatest) => {
                let filter = plan.filter.as_deref();
                filtering::enter(database, &plan.filter_settings).await?;
                let (max, min) = database.extremes(&plan.table, key.column, filter).await?;
                filtering::leave(database, &plan.filter_settings).await?;
                let read = |text: Option<String>| text.and_then(|text| key.key_type.value(&text));
                least.or_else(|| read(min)).zip(greatest.or_else(|| read(max)))
            }
        };
        Ok(partitions::strides(key.key_type, span, count))
    }

    /// A sample of the window's keys, and where it comes from.
    async fn sample(
        &self,
        database: &mut Database,
        plan: &Plan,
        (key, count): (Key<'_>, u32),
        facts: &TableStats,
    ) -> Result<(Sample, &'static str), Failure> {
        if let Some(sample) = database.statistics(self.source_table, plan, key, count).await? {
            return Ok((sample, "the server's statistics"));
        }
        let sample_method = self.sample_method(database, plan, count, facts).await?;
        // a small table is sooner read than asked about
        if matches!(sample_method, SampleMethod::Rows(_))
            && let Some(sample) = database.estimates(plan, key, count).await?
        {
            return Ok((sample, "the server's index estimates"));
        }
        let points = (POINTS.0 * count).min(POINTS.1);
        let sample = database.sample(plan, key, sample_method, points).await?;
        let seen = match sample_method {
            SampleMethod::All => "all rows",
            SampleMethod::Blocks(_) => "a sample of the table's blocks",
            SampleMethod::Rows(_) => "a sample of the table's rows",
        };
        if sample.is_empty() && sample_method != SampleMethod::All {
            // the window's rows lie in few blocks, and none of them was drawn
            return Ok((database.sample(plan, key, SampleMethod::All, points).await?, "all rows"));
        }
        Ok((sample, seen))
    }

    /// How much to sample, so that the predicted skew is near the actual one.
    async fn sample_method(
        &self,
        database: &mut Database,
        plan: &Plan,
        count: u32,
        facts: &TableStats,
    ) -> Result<SampleMethod, Failure> {
        let rows = database.estimate(plan).await?;
        // a part of the table lies in a part of its blocks
        let thinned = match (u64::try_from(plan.estimated_rows), u64::try_from(rows)) {
            (Ok(all), Ok(part)) if part > 0 && rows::has_window(plan)? => (all / part).max(1),
            _ => 1,
        };
        let blocks = match facts.kind {
            TableKind::Plain => u64::from(facts.blocks),
            TableKind::Partitioned | TableKind::Inherited => {
                u64::try_from(self.table_bytes / BLOCK_BYTES).unwrap_or_default()
            }
            TableKind::View | TableKind::Other => 0,
        };
        if blocks > 0 {
            let wanted = (BLOCKS_PER_PARTITION * u64::from(count)).max(BLOCKS.0);
            let wanted = wanted.saturating_mul(thinned).min(BLOCKS.1);
            return Ok(share(wanted, blocks)
                .map_or(SampleMethod::All, |part| SampleMethod::Blocks(part * 100.0)));
        }
        let wanted = (ROWS_PER_PARTITION * u64::from(count)).max(ROWS_MIN);
        let rows = u64::try_from(rows).unwrap_or_default();
        Ok(share(wanted, rows).map_or(SampleMethod::All, SampleMethod::Rows))
    }
}

/// What part `wanted` is of `all`; `None`: all of it.
#[expect(clippy::cast_precision_loss, reason = "a share of a count need not be exact")]
fn share(wanted: u64, all: u64) -> Option<f64> {
    (wanted < all).then(|| wanted as f64 / all as f64)
}

fn spans(cuts: &[Value]) -> Vec<PlannedPartition> {
    partitions::spans(cuts.iter().map(Value::to_text).collect(), false)
}

fn described(
    strategy: Strategy,
    columns: &[&Column],
    reason: &str,
    skew: Option<Skew>,
) -> Partitioning {
    Partitioning {
        strategy,
        columns: columns.iter().map(|column| (*column).clone()).collect(),
        reason: reason.to_owned(),
        predicted_skew: skew.map(|skew| skew.to_string()),
    }
}

/// Where the partition column is the watermark, its rows lie inside the window.
fn window_span(plan: &Plan, key: Key<'_>) -> (Option<Value>, Option<Value>) {
    let same = plan.watermark.as_ref().is_some_and(|watermark| watermark.column == key.column.name);
    let read = |text: &Option<String>| {
        text.as_deref().filter(|_| same).and_then(|text| key.key_type.value(text))
    };
    (read(&plan.window.low), read(&plan.window.high))
}
