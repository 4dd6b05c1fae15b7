//! The plan that the database would give.

use crds::extract_job::{NullPolicy, WatermarkType};
use crds::tracking::Window;
use worker_core::plan::{Plan, PlanOrder, PlannedWatermark, Shape, TableName};
use worker_core::ranges::KeyRange;

use super::Stores;

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
        let range = |from: Option<&str>, to: Option<&str>| KeyRange {
            from: from.map(Into::into),
            to: to.map(Into::into),
            nulls: from.is_none(),
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
            window: order.owed.clone().unwrap_or(fresh),
            filter: None,
            partition_column: Some("id".to_owned()),
            partitioning: None,
            ranges: vec![range(None, Some("10")), range(Some("10"), None)],
            snapshot: Some("s".to_owned()),
            estimated_rows: 20,
            warnings: Vec::new(),
            shape: Shape::default(),
        }
    }
}
