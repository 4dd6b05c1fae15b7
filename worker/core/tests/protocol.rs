//! The protocol against stores in memory: every death after every write ends in one published run.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod stores;

use crds::condition::Exit;
use crds::extract_job::ExtractType;
use crds::task::RecoverOrder;
use crds::tracking::{Mode, RunState, TrackedOutcome};
use crds::{Reason, Report};
use stores::{Stores, order, task};
use worker_core::protocol::{Ending, Process, Role};

const LEASE: i64 = 600;

fn coordinate(attempt: u32, kind: ExtractType) -> Process {
    Process::new(Role::Coordinate { task: Box::new(task("a", attempt, kind)), last: false }, LEASE)
}

fn recover(attempt: u32, kind: ExtractType, order: RecoverOrder) -> Process {
    let task = Box::new(task("a", attempt, kind));
    Process::new(Role::Recover { task, order: Box::new(order) }, LEASE)
}

#[test]
fn an_incremental_run_moves_the_watermark_to_the_maximum_read() {
    let mut stores = Stores::new();
    let ending = stores.drive(coordinate(1, ExtractType::PE), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Published(_)), "{ending:?}");
    let watermark_item = stores.watermark_item().unwrap();
    assert_eq!(watermark_item.lwm_value.as_deref(), Some("20"));
    assert_eq!(watermark_item.hwm_value.as_deref(), Some("-1"));
    assert_eq!(watermark_item.extract_successful.as_deref(), Some("Y"));
    assert_eq!(stores.pointer().unwrap().commit, 1);
    assert!(stores.uploads.is_empty(), "a killed pod's upload stays open");
    stores.check();
}

#[test]
fn a_request_that_was_answered_is_not_run_again() {
    let mut stores = Stores::new();
    stores.drive(coordinate(1, ExtractType::FE), usize::MAX).unwrap();
    let ending = stores.drive(coordinate(2, ExtractType::FE), usize::MAX).unwrap();
    assert_eq!(ending, Ending::Answered);
    assert_eq!(stores.pointer().unwrap().commit, 1);
}

#[test]
fn a_late_duplicate_of_an_attempt_is_fenced() {
    let mut stores = Stores::new();
    stores.drive(coordinate(1, ExtractType::PE), 2);
    let ending = stores.drive(coordinate(1, ExtractType::PE), usize::MAX).unwrap();
    let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
    assert_eq!(failure.exit, Exit::Fenced);
}

/// Dies after `writes` writes, is recovered, and tried again: for any number, the end is the same.
fn dies_after(kind: ExtractType, writes: usize, recover_dies: usize) -> bool {
    let mut stores = Stores::new();
    let whole = stores.drive(coordinate(1, kind), writes).is_some();
    stores.drive(recover(1, kind, order(false, false)), recover_dies);
    let ending = stores.drive(recover(1, kind, order(false, false)), usize::MAX).unwrap();
    assert_eq!(ending, Ending::Recovered, "after {writes} writes");
    let run = stores.run();
    assert!(run.is_none_or(|run| !run.state.is_open()), "after {writes} writes");
    let ending = stores.drive(coordinate(2, kind), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Published(_) | Ending::Answered), "{writes}: {ending:?}");
    assert_eq!(stores.published(), 1, "runs published after {writes} writes");
    assert_eq!(stores.watermark_item().unwrap().extract_successful.as_deref(), Some("Y"));
    assert!(stores.uploads.is_empty(), "open uploads after {writes} writes");
    stores.check();
    whole
}

#[test]
fn one_run_is_published_after_a_death_at_any_write() {
    for kind in [ExtractType::PE, ExtractType::FE] {
        let mut writes = 0;
        while !dies_after(kind, writes, usize::MAX) {
            for recover_dies in 0..6 {
                dies_after(kind, writes, recover_dies);
            }
            writes += 1;
        }
        assert!(writes >= 9, "only {writes} writes were seen");
    }
}

#[test]
fn a_run_that_failed_leaves_its_window_to_the_next() {
    let mut stores = Stores::new();
    // claim, source.json, plan, PIN
    stores.drive(coordinate(1, ExtractType::PE), 4);
    let before = stores.run().unwrap();
    assert_eq!(before.state, RunState::Running);
    stores.drive(recover(1, ExtractType::PE, order(false, false)), usize::MAX).unwrap();
    stores.rows_up_to = 99;
    stores.drive(coordinate(2, ExtractType::PE), usize::MAX).unwrap();
    let after = stores.run().unwrap();
    assert_eq!(
        (before.window.as_ref().unwrap().low.clone(), before.window.unwrap().high),
        (after.window.as_ref().unwrap().low.clone(), after.window.unwrap().high),
    );
}

#[test]
fn a_decided_run_is_published_by_recovery_and_never_failed() {
    let mut stores = Stores::new();
    // claim, source.json, plan, PIN, manifest, DECIDE
    stores.drive(coordinate(1, ExtractType::PE), 6);
    assert_eq!(stores.run().unwrap().state, RunState::Committing);
    stores.drive(recover(1, ExtractType::PE, order(true, true)), usize::MAX).unwrap();
    assert_eq!(stores.run().unwrap().state, RunState::Published);
    assert_eq!(stores.published(), 1);
    stores.check();
}

#[test]
fn a_recovered_attempt_never_claims() {
    let mut stores = Stores::new();
    let ending = stores.drive(recover(1, ExtractType::PE, order(true, false)), usize::MAX).unwrap();
    assert_eq!(ending, Ending::Recovered);
    let ending = stores.drive(coordinate(1, ExtractType::PE), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Failed(_)), "{ending:?}");
    assert!(stores.run().is_none());
}

#[test]
fn a_live_run_of_another_is_left_alone_until_its_deadline() {
    let mut stores = Stores::new();
    stores.drive(coordinate(1, ExtractType::PE), 4);
    let other = || {
        let task = Box::new(task("b", 1, ExtractType::PE));
        Process::new(Role::Coordinate { task, last: true }, LEASE)
    };
    let Ending::Failed(failure) = stores.drive(other(), usize::MAX).unwrap() else { panic!() };
    assert_eq!((failure.exit, failure.report.reason), (Exit::Fenced, Reason::SourceBusy));
    stores.now += LEASE + 1;
    let ending = stores.drive(other(), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Published(_)), "{ending:?}");
}

#[test]
fn a_foreign_write_of_the_watermark_wins() {
    let mut stores = Stores::new();
    stores.drive(coordinate(1, ExtractType::PE), 5);
    let mut watermark_item = stores.watermark_item().unwrap();
    watermark_item.lwm_value = Some("7".to_owned());
    stores.put_watermark_item(watermark_item);
    stores.drive(recover(1, ExtractType::PE, order(false, false)), usize::MAX).unwrap();
    assert_eq!(stores.run().unwrap().pending_window, None, "a pending window is void");
    stores.drive(coordinate(2, ExtractType::PE), usize::MAX).unwrap();
    let run = stores.run().unwrap();
    assert_eq!(run.mode, Mode::PE);
    assert_eq!(run.window.unwrap().low.as_deref(), Some("7"));
}

#[test]
fn a_lost_item_is_never_treated_as_a_first_run() {
    for lost in ["L", "R"] {
        let mut stores = Stores::new();
        stores.drive(coordinate(1, ExtractType::PE), usize::MAX).unwrap();
        stores.lose(lost);
        let mut process = coordinate(2, ExtractType::PE);
        if let Role::Coordinate { task, .. } = &mut process.role {
            task.owner.requested_at = Some("2026-01-01T00:00:00Z".to_owned());
        }
        let Ending::Failed(failure) = stores.drive(process, usize::MAX).unwrap() else { panic!() };
        assert_eq!((failure.exit, failure.report.reason), (Exit::Permanent, Reason::TrackingLost));
    }
}

#[test]
fn a_full_extract_removes_replaced_files_only_after_the_pointer_moved() {
    let mut stores = Stores::new();
    stores.drive(coordinate(1, ExtractType::FE), usize::MAX).unwrap();
    let mut again = coordinate(2, ExtractType::FE);
    if let Role::Coordinate { task, .. } = &mut again.role {
        task.owner.requested_at = Some("2026-01-01T00:00:00Z".to_owned());
    }
    stores.drive(again, usize::MAX).unwrap();
    assert_eq!(stores.published(), 2);
    assert_eq!(stores.files.len(), 2, "files of the second run only");
    stores.check();
}

#[test]
fn an_order_names_its_report() {
    let order = RecoverOrder {
        last: true,
        aborted: false,
        report: Report::new(Reason::PodLost, "the pod is gone", "look"),
    };
    let mut stores = Stores::new();
    stores.drive(coordinate(1, ExtractType::PE), 4);
    stores.drive(recover(1, ExtractType::PE, order), usize::MAX).unwrap();
    let result = stores.outcome("a").unwrap().result.unwrap();
    assert_eq!(result.report.unwrap().reason, Reason::PodLost);
}

/// The coordinator of the next attempt, which asks for a run by this `requested-at`.
fn asks(attempt: u32, value: Option<&str>) -> Process {
    let mut task = task("a", attempt, ExtractType::FE);
    task.owner.requested_at = value.map(ToOwned::to_owned);
    Process::new(Role::Coordinate { task: Box::new(task), last: false }, LEASE)
}

fn honoured(stores: &Stores) -> Option<String> {
    stores.outcome("a").unwrap().result.unwrap().owner.requested_at
}

#[test]
fn only_a_later_request_is_claimed() {
    // as text, the earlier instant comes last
    let (early, noon) = ("2026-01-01T23:00:00+14:00", "2026-01-01T12:00:00Z");
    let (same, late) = ("2026-01-01T13:00:00.0+01:00", "2026-01-01T07:00:01-05:00");
    let mut stores = Stores::new();
    stores.drive(asks(1, Some(noon)), usize::MAX).unwrap();
    for value in [Some(early), Some(same), Some("again"), None] {
        let ending = stores.drive(asks(2, value), usize::MAX).unwrap();
        assert_eq!((ending, stores.published()), (Ending::Answered, 1), "{value:?}");
        assert_eq!(honoured(&stores).as_deref(), Some(noon));
    }
    stores.drive(asks(2, Some(late)), usize::MAX).unwrap();
    assert_eq!((stores.published(), honoured(&stores).as_deref()), (2, Some(late)));
}

#[test]
fn stored_request_never_goes_back() {
    let noon = "2026-01-01T12:00:00Z";
    let mut stores = Stores::new();
    stores.drive(asks(1, Some(noon)), usize::MAX).unwrap();
    // an edited spec runs although its request is older
    let edited = |attempt, value: &str| {
        let mut task = task("a", attempt, ExtractType::FE);
        task.owner.requested_at = Some(value.to_owned());
        (task.owner.request, task.owner.generation) =
            (format!("edit {attempt}"), i64::from(attempt));
        Box::new(task)
    };
    let early = "2026-01-01T11:00:00Z";
    let coordinate = Process::new(Role::Coordinate { task: edited(2, early), last: false }, LEASE);
    stores.drive(coordinate, usize::MAX).unwrap();
    assert_eq!((stores.published(), honoured(&stores).as_deref()), (2, Some(noon)));
    let order = Box::new(order(true, false));
    let recover = Process::new(Role::Recover { task: edited(3, early), order }, LEASE);
    stores.drive(recover, usize::MAX).unwrap();
    let result = stores.outcome("a").unwrap().result.unwrap();
    assert_eq!(result.outcome, TrackedOutcome::Failed);
    assert_eq!(result.owner.requested_at.as_deref(), Some(noon));
}

/// Bytes of the largest tracking item that a run stores that fails after PIN, or the published run after it.
fn largest_item_bytes(partitions: u32) -> usize {
    let largest = |kind| {
        let mut stores = Stores::new();
        stores.partitions = partitions;
        assert!(stores.drive(coordinate(1, kind), 4).is_none(), "it did not end after PIN");
        let failed = stores.drive(recover(1, kind, order(false, false)), 1);
        assert!(failed.is_none(), "it did not end after FAIL");
        let ending = stores.drive(coordinate(2, kind), usize::MAX);
        assert!(matches!(ending, Some(Ending::Published(_))), "{ending:?}");
        assert_eq!(stores.outcome("a").unwrap().result.unwrap().partitions, partitions);
        stores.check();
        stores.largest_item_bytes
    };
    largest(ExtractType::PE).max(largest(ExtractType::FE))
}

#[test]
fn tracking_items_do_not_grow_with_the_number_of_partitions() {
    let (few, many) = (largest_item_bytes(2), largest_item_bytes(10_000));
    // only the counts in it have more digits
    assert!(many < few + 100, "{few} bytes with 2 partitions, {many} with 10,000");
    assert!(many < 400_000, "{many} bytes");
}
