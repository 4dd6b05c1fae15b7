//! The plan that the database would give, and what its pods would leave.

use std::collections::BTreeMap;

use crds::extract_job::{NullPolicy, WatermarkType};
use crds::tracking::Window;
use worker_core::layout::records::{PartitionRecord, PendingFile};
use worker_core::planning::partitions::PlannedPartition;
use worker_core::planning::plan::{OutputLayout, Plan, PlanOrder, PlannedWatermark, TableName};
use worker_core::protocol::CoordinatedRun;

use super::{Stores, root};

impl Stores {
    pub(super) fn plan(&self, order: &PlanOrder) -> Plan {
        let high = order.high.clone().unwrap_or_else(|| self.rows_up_to.to_string());
        let fresh = Window {
            low: order.low.clone(),
            low_text: order.low_text.clone(),
            high: Some(high),
            empty: false,
            guard: None,
        };
        let bound = |index: u32| (10 * index).to_string();
        let partition = |index: u32| PlannedPartition {
            from: (index > 0).then(|| bound(index)),
            to: (index + 1 < self.partitions).then(|| bound(index + 1)),
            nulls: index == 0,
            part: None,
        };
        Plan {
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
            window: order.pending_window.clone().unwrap_or(fresh),
            filter: None,
            partition_column: Some("id".to_owned()),
            partitioning: None,
            partitions: (0..self.partitions).map(partition).collect(),
            snapshot: Some("s".to_owned()),
            database: None,
            table_lock_milliseconds: None,
            unproven: None,
            unenforced: false,
            estimated_rows: 20,
            filter_settings: BTreeMap::new(),
            filtered_rows: None,
            warnings: Vec::new(),
            layout: OutputLayout::default(),
        }
    }
    pub(super) fn extract(&mut self, active: &CoordinatedRun) -> Vec<PartitionRecord> {
        let run = active.plan.run;
        let records: Vec<PartitionRecord> = (0..self.partitions)
            .map(|index| PartitionRecord {
                version: 1,
                run,
                index,
                token: format!("t{index}"),
                plan_hash: active.plan_hash.clone(),
                snapshot: active.plan.snapshot.clone(),
                schema: "schema".to_owned(),
                rows: 10,
                watermark_max: Some(if index == 0 { "9" } else { "20" }.to_owned()),
                watermark_min: Some("1".to_owned()),
                closed_early: 0,
                files: vec![PendingFile {
                    key: format!(
                        "{}/extract_run={run}/part-{index}.parquet",
                        root(&active.run.uri)
                    ),
                    upload_id: format!("u{run}{index}"),
                    parts: vec!["e".to_owned()],
                    checksums: Vec::new(),
                    bytes: 100,
                    rows: 10,
                }],
            })
            .collect();
        let dead = format!("{}/extract_run={run}/part-dead.parquet", root(&active.run.uri));
        self.uploads.insert((dead, "of a pod that was killed".to_owned()));
        for file in records.iter().flat_map(|record| &record.files) {
            self.uploads.insert((file.key.clone(), file.upload_id.clone()));
        }
        records
    }
}
