//! In: the rows of a configuration, what CLAIM ordered. Out: plan, and the record of one partition.
//! Bound: a few rows. Fails: what the product's choice of a window fails with.

use crds::extract_job::{NullPolicy, WatermarkType};
use crds::output::RunFolder;
use crds::tracking::{Guard, Mode};
use worker_core::errors::failure::Failure;
use worker_core::layout::objects::{Part, Prefix};
use worker_core::layout::records::{PartitionRecord, PendingFile};
use worker_core::planning::partitions::PlannedPartition;
use worker_core::planning::plan::{OutputLayout, Plan, PlanOrder, PlannedWatermark, TableName};
use worker_core::planning::watermark::Value;
use worker_core::planning::window::{self, GuardBound, Observed};

use crate::bodies::{Parsed, upload_id};
use crate::config::{Config, Guarding};
use crate::shop::{Shop, run_id, uri};

/// The guard as it is in one epoch.
fn guard(config: &Config, epoch: u8) -> GuardBound {
    if config.guard == Guarding::Nothing {
        return GuardBound::NOTHING;
    }
    let begun = config.rows.iter().filter(|row| row.begun <= epoch);
    let open = begun.clone().filter(|row| row.observed > epoch).map(|row| row.mark - 1).min();
    let bound = open.or_else(|| begun.map(|row| row.mark).max());
    GuardBound { kind: Guard::Exact, bound: bound.map(Value::Int), below_max: None }
}

/// Plans as the coordinator does: the guard of one epoch, the snapshot of the same or a later one.
pub(crate) fn plan(
    config: &Config,
    order: &PlanOrder,
    guarded: u8,
    epoch: u8,
) -> Result<Plan, Failure> {
    let observed = || config.rows.iter().filter(|row| row.observed <= epoch);
    let max = observed().map(|row| Value::Int(row.mark)).max_by(Value::cmp);
    let observed = Observed { max, null_rows: false };
    let mut window = match order.mode {
        Mode::PE | Mode::Reingest => {
            window::choose(order, WatermarkType::Int, observed, &guard(config, guarded))?
        }
        Mode::FE => window::full(order, Some(WatermarkType::Int), true)?,
    };
    let mut plan = Plan {
        version: 1,
        run: order.run,
        source: order.source.clone(),
        engine: crds::source::Engine::Postgres,
        mode: order.mode,
        table: TableName { schema: "public".to_owned(), table: "orders".to_owned() },
        columns: Vec::new(),
        watermark: Some(PlannedWatermark {
            column: "id".to_owned(),
            value_type: WatermarkType::Int,
            null_policy: NullPolicy::Fail,
        }),
        filter: None,
        layout: OutputLayout::default(),
        window: window.clone(),
        partition_column: Some("id".to_owned()),
        partitioning: None,
        partitions: Vec::new(),
        snapshot: Some(epoch.to_string()),
        database: None,
        table_lock_milliseconds: None,
        unproven: None,
        unenforced: false,
        estimated_rows: 20,
        filter_settings: std::collections::BTreeMap::new(),
        filtered_rows: None,
        warnings: Vec::new(),
    };
    if order.mode == Mode::FE {
        window.empty = rows_of(config, &plan).is_empty();
        plan.window = window;
    }
    if !plan.window.empty {
        plan.partitions = (0..config.partitions).map(|_| PlannedPartition::whole()).collect();
    }
    Ok(plan)
}

fn bound(text: Option<&String>) -> Option<i64> {
    text.and_then(|text| text.parse().ok())
}

/// The rows that the plan's window and snapshot hold.
pub(crate) fn rows_of(config: &Config, plan: &Plan) -> Vec<u8> {
    let epoch: u8 = plan.snapshot.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
    let low = bound(plan.window.low.as_ref());
    let high = bound(plan.window.high.as_ref());
    (0..)
        .zip(&config.rows)
        .filter(|(_, row)| row.observed <= epoch)
        .filter(|(_, row)| {
            low.is_none_or(|low| row.mark > low || (plan.mode == Mode::FE && row.mark == low))
                && high.is_none_or(|high| row.mark <= high)
        })
        .map(|(id, _)| id)
        .collect()
}

impl Shop {
    /// What the pod `token` makes of partition `index` of the run whose plan this is: its upload
    /// (none where there are no rows) and its record.
    pub(crate) fn record(&self, run: u8, index: u8, token: u8, plan: u32) -> (u32, u32) {
        self.records.of((run, index, token, plan), |_| {
            let body = self.bodies.get(plan);
            let Parsed::Plan(plan, plan_hash) = &body.parsed else { return (0, 0) };
            let partitions = u8::try_from(plan.partitions.len()).unwrap_or(1).max(1);
            let mut rows = rows_of(&self.config, plan);
            rows.retain(|row| row % partitions == index);
            let name = (self.alter.token)(token);
            let prefix = Prefix::parse(&uri(self.slot(self.slot_of(run)).prefix)).expect("a uri");
            let key = {
                let part = Part { index: u32::from(index), token: &name, number: 0, values: "" };
                prefix.data_file(run_id(run), RunFolder::Run, part)
            };
            let marks = || rows.iter().filter_map(|row| self.config.rows.get(usize::from(*row)));
            let file = PendingFile {
                key: key.clone(),
                upload_id: upload_id(run, index, token, &rows),
                parts: vec!["e".to_owned()],
                checksums: Vec::new(),
                bytes: 1,
                rows: rows.len() as u64,
            };
            let upload = if rows.is_empty() { 0 } else { self.upload(&key, &file.upload_id) };
            let record = PartitionRecord {
                version: 1,
                run: run_id(run),
                index: u32::from(index),
                token: name,
                plan_hash: plan_hash.clone(),
                snapshot: plan.snapshot.clone(),
                schema: "schema".to_owned(),
                rows: rows.len() as u64,
                watermark_max: marks().map(|row| row.mark).max().map(|mark| mark.to_string()),
                watermark_min: marks().map(|row| row.mark).min().map(|mark| mark.to_string()),
                closed_early: 0,
                files: if rows.is_empty() { Vec::new() } else { vec![file] },
            };
            let key = prefix.record(run_id(run), u32::from(index));
            let bytes = serde_json::to_vec(&record).unwrap_or_default();
            (upload, self.body(&key, bytes))
        })
    }
}
