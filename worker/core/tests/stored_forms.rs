//! What Tidemark stores, as committed JSON: items of the tracking table, control objects, and the environment of pods.
//!
//! From the first release on these forms are frozen: a fixture may gain a key, and loses or renames none. Each fixture is
//! read and written again; a key that is not read, or that is written under another name, shows as a difference.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use crds::Task;
use crds::task::RecoverOrder;
use crds::tracking::{ITEM_VERSION, OutcomeItem, RunItem, WatermarkItem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_str, to_value};
use worker_core::layout::manifests::{Manifest, Pointer, SourceIdentity};
use worker_core::layout::records::PartitionRecord;
use worker_core::planning::plan::{CONTROL_VERSION, Plan};

/// The fixture as it is, and as it is written after it was read.
fn both<T: Serialize + DeserializeOwned>(fixture: &str) -> (Value, Value) {
    let read: T = from_str(fixture).unwrap();
    (from_str(fixture).unwrap(), to_value(read).unwrap())
}

macro_rules! stored_forms {
    ($($name:ident: $kind:ty, $file:literal;)+) => {
        $(
            #[test]
            fn $name() {
                let (fixture, written) = both::<$kind>(include_str!(concat!("fixtures/", $file)));
                assert_eq!(written, fixture);
            }
        )+
    };
}

stored_forms! {
    watermark_item_is_written_as_its_fixture: WatermarkItem, "watermark_item.json";
    run_item_is_written_as_its_fixture: RunItem, "run_item.json";
    outcome_item_is_written_as_its_fixture: OutcomeItem, "outcome_item.json";
    plan_is_written_as_its_fixture: Plan, "plan.json";
    partition_record_is_written_as_its_fixture: PartitionRecord, "partition_record.json";
    manifest_is_written_as_its_fixture: Manifest, "manifest.json";
    pointer_is_written_as_its_fixture: Pointer, "current.json";
    source_identity_is_written_as_its_fixture: SourceIdentity, "source.json";
    task_is_written_as_its_fixture: Task, "task.json";
    recover_order_is_written_as_its_fixture: RecoverOrder, "recover_order.json";
}

#[test]
fn schema_versions_start_at_1() {
    assert_eq!((ITEM_VERSION, CONTROL_VERSION, crds::task::TASK_VERSION), (1, 1, 1));
}
