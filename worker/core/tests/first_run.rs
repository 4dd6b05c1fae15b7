//! What a run that published nothing leaves in the stored watermark: nothing that a corrected manifest must obey.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod stores;

use crds::extract_job::{ExtractType, Watermark};
use crds::tracking::{Provisional, RunState, WatermarkItem};
use crds::{Reason, Task};
use serde_json::{from_value, json};
use stores::{Stores, task};
use worker_core::protocol::watermark::{WatermarkRequest, set};
use worker_core::protocol::{Effect, Ending, Item, Process, Role};

const LEASE: i64 = 600;
const KEY: &str = "shop.orders";

fn coordinate(task: Task) -> Process {
    Process::new(Role::Coordinate { task: Box::new(task), last: false }, LEASE)
}

/// An incremental task by this watermark column.
fn by(attempt: u32, column: &str, value_type: &str, low: Option<&str>) -> Task {
    let mut task = task("a", attempt, ExtractType::PE);
    task.owner.request = format!("{column} {value_type}");
    let watermark: Watermark =
        from_value(json!({ "column": column, "type": value_type, "low": low })).unwrap();
    task.spec.extract.watermark = Some(watermark);
    task
}

fn watermark_item(stores: &Stores) -> WatermarkItem {
    let Some(Item::Watermark(watermark_item)) = stores.items.get(KEY) else {
        panic!("no watermark item")
    };
    (**watermark_item).clone()
}

fn column(stores: &Stores) -> (String, String) {
    let watermark_item = watermark_item(stores);
    (watermark_item.hwm_col_name.unwrap(), watermark_item.hwm_column_type.unwrap())
}

fn publishes(stores: &mut Stores, task: Task) {
    let ending = stores.drive(coordinate(task), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Published(_)), "{ending:?}");
    assert_eq!(stores.run().unwrap().provisional, None);
}

fn is_refused(stores: &mut Stores, task: Task) {
    let ending = stores.drive(coordinate(task), usize::MAX).unwrap();
    let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
    assert_eq!(failure.report.reason, Reason::WatermarkColumnChanged);
}

#[test]
fn a_run_that_could_not_be_planned_leaves_no_column_no_type_no_start_and_no_mark() {
    let mut stores = Stores::new();
    // nothing but CLAIM
    assert!(
        stores
            .drive(coordinate(by(1, "at", "timestamp", Some("2020-01-01 00:00:00"))), 1)
            .is_none()
    );
    assert_eq!(stores.run().unwrap().provisional, Some(Provisional::Item));
    assert!(stores.objects.is_empty(), "the prefix is marked");
    assert!(stores.drive(coordinate(by(2, "day", "date", Some("2020-01-01"))), 1).is_none());
    assert_eq!(column(&stores), ("day".to_owned(), "date".to_owned()));
    assert_eq!(watermark_item(&stores).lwm_value.as_deref(), Some("2020-01-01"));
    publishes(&mut stores, by(3, "id", "int", Some("3")));
    assert_eq!(column(&stores), ("id".to_owned(), "int".to_owned()));
    assert_eq!(stores.run().unwrap().window.unwrap().low.as_deref(), Some("3"));
    // a published run stands for it
    is_refused(&mut stores, by(4, "other", "int", None));
    is_refused(&mut stores, by(4, "id", "decimal", None));
}

#[test]
fn a_pending_window_is_taken_unless_it_is_of_another_column() {
    for (column, kept) in [("id", true), ("other", false)] {
        let mut stores = Stores::new();
        // CLAIM, source.json, plan, PIN
        assert!(stores.drive(coordinate(by(1, "id", "int", Some("3"))), 4).is_none());
        let window = stores.run().unwrap().window.unwrap();
        assert_eq!((window.low.as_deref(), window.high.as_deref()), (Some("3"), Some("20")));
        stores.rows_up_to = 30;
        publishes(&mut stores, by(2, column, "int", Some("1")));
        let window = stores.run().unwrap().window.unwrap();
        let expected = if kept { (Some("3"), Some("20")) } else { (Some("1"), Some("30")) };
        assert_eq!((window.low.as_deref(), window.high.as_deref()), expected, "{column}");
    }
}

#[test]
fn a_watermark_written_by_others_is_used() {
    // a legacy job's item
    let mut stores = Stores::new();
    let item = WatermarkItem {
        source: KEY.to_owned(),
        lwm_value: Some("5".to_owned()),
        hwm_value: Some("-1".to_owned()),
        hwm_col_name: Some("id".to_owned()),
        hwm_column_type: Some("LongType".to_owned()),
        ..WatermarkItem::default()
    };
    stores.items.insert(KEY.to_owned(), Item::Watermark(Box::new(item.clone())));
    is_refused(&mut stores, by(1, "other", "int", None));
    assert!(stores.drive(coordinate(by(1, "id", "int", None)), 1).is_none());
    is_refused(&mut stores, by(2, "other", "int", None));

    // a legacy job came in between
    let mut stores = Stores::new();
    assert!(stores.drive(coordinate(by(1, "id", "int", None)), 1).is_none());
    stores.items.insert(KEY.to_owned(), Item::Watermark(Box::new(item)));
    is_refused(&mut stores, by(2, "other", "int", None));

    // a person set it
    let mut stores = Stores::new();
    assert!(stores.drive(coordinate(by(1, "id", "int", None)), 1).is_none());
    let mut run = stores.run().unwrap();
    run.state = RunState::Failed;
    stores.items.insert(run.source.clone(), Item::Run(Box::new(run.clone())));
    let request = WatermarkRequest {
        revision: run.revision,
        to: "7".to_owned(),
        by: "ann".to_owned(),
        rewind: false,
    };
    let transaction =
        set(Some(&run), Some(&watermark_item(&stores)), &request, stores.now).unwrap();
    assert!(stores.track(Effect::Track(transaction)));
    is_refused(&mut stores, by(2, "other", "int", None));
}

#[test]
fn a_watermark_column_filled_in_during_a_full_extract_is_corrected() {
    let mut stores = Stores::new();
    let ending = stores.drive(coordinate(task("a", 1, ExtractType::FE)), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Published(_)), "{ending:?}");
    assert_eq!(column(&stores), (String::new(), String::new()));
    assert!(stores.drive(coordinate(by(2, "at", "timestamp", None)), 1).is_none());
    assert_eq!(stores.run().unwrap().provisional, Some(Provisional::Column));
    publishes(&mut stores, by(3, "id", "int", Some("4")));
    assert_eq!(column(&stores), ("id".to_owned(), "int".to_owned()));
    assert_eq!(stores.run().unwrap().window.unwrap().low.as_deref(), Some("4"));
}
