//! What other processes do after DECIDE at a later time: the undo of a stuck run, and the
//! postponed removal.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod stores;

use crds::extract_job::ExtractType;
use crds::tracking::RunState;
use crds::{Reason, Task};
use stores::{Stores, order, task};
use worker_core::protocol::watermark::{WatermarkRequest, set};
use worker_core::protocol::{Effect, Ending, GRACE_SECONDS, Process, Role};

const LEASE: i64 = 600;

fn coordinate(task: Task) -> Process {
    Process::new(Role::Coordinate { task: Box::new(task), last: false }, LEASE)
}

fn recover(attempt: u32) -> Process {
    let task = Box::new(task("a", attempt, ExtractType::PE));
    Process::new(Role::Recover { task, order: Box::new(order(false, false)) }, LEASE)
}

/// Decided, one upload completed, the other lost: no process can finish it.
fn stuck() -> Stores {
    let mut stores = Stores::new();
    // claim, source.json, plan, PIN, manifest, DECIDE, the first completion
    assert!(stores.drive(coordinate(task("a", 1, ExtractType::PE)), 7).is_none());
    let decided = stores.run().unwrap().run;
    stores.uploads.retain(|(key, _)| !key.contains("part-1"));
    let ending = stores.drive(recover(1), usize::MAX).unwrap();
    let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
    assert_eq!(failure.report.reason, Reason::CommitStuck);
    assert_eq!((stores.run().unwrap().run, stores.files.len()), (decided, 1));
    stores
}

fn force(stores: &Stores) -> Process {
    let run = stores.run().unwrap().run;
    let task = Box::new(task("a", 1, ExtractType::PE));
    Process::new(Role::Force { task, run, by: "ann".to_owned() }, LEASE)
}

#[test]
fn a_stuck_run_is_undone_by_a_person_and_its_window_is_pending() {
    let mut stores = stuck();
    let window = stores.run().unwrap().window;
    assert_eq!(stores.drive(force(&stores), usize::MAX).unwrap(), Ending::Recovered);
    let run = stores.run().unwrap();
    assert_eq!((run.state, run.pending_window), (RunState::Failed, window.clone()));
    assert!(stores.files.is_empty() && stores.uploads.is_empty(), "something is left");
    stores.drive(coordinate(task("a", 2, ExtractType::PE)), usize::MAX).unwrap();
    assert_eq!(stores.run().unwrap().window, window);
    stores.check();
}

#[test]
fn undo_of_a_run_fails_while_a_lock_protects_one_of_its_files() {
    let mut stores = stuck();
    let until = stores.now + 1000;
    stores.locked.insert("extract_run=".to_owned(), until);
    for process in [force(&stores), recover(1), coordinate(task("a", 2, ExtractType::PE))] {
        let ending = stores.drive(process, usize::MAX).unwrap();
        let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
        assert_eq!(failure.report.reason, Reason::StorageDenied);
        assert_eq!(
            stores.run().unwrap().state,
            RunState::Reverting,
            "its window is not taken again"
        );
    }
    stores.now = until;
    stores.drive(coordinate(task("a", 2, ExtractType::PE)), usize::MAX).unwrap();
    assert_eq!(stores.run().unwrap().state, RunState::Published);
    stores.check();
}

#[test]
fn a_run_being_reverted_is_finished_by_the_next_process() {
    for dies_after in 1..5 {
        for by_claim in [false, true] {
            let mut stores = stuck();
            stores.drive(force(&stores), dies_after);
            let process =
                if by_claim { coordinate(task("a", 2, ExtractType::PE)) } else { recover(1) };
            stores.drive(process, usize::MAX).unwrap();
            let run = stores.run().unwrap();
            let end = if by_claim { RunState::Published } else { RunState::Failed };
            assert_eq!(run.state, end, "died after {dies_after}");
            assert!(stores.uploads.is_empty(), "died after {dies_after}");
            if by_claim {
                stores.check();
            }
        }
    }
}

#[test]
fn only_a_decided_run_of_that_id_is_undone() {
    let mut stores = Stores::new();
    stores.drive(coordinate(task("a", 1, ExtractType::PE)), usize::MAX).unwrap();
    let ending = stores.drive(force(&stores), usize::MAX).unwrap();
    let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
    assert_eq!(failure.report.reason, Reason::NotStuck);
    stores.check();
}

fn full(attempt: u32, requested: &str, retain: u64) -> Task {
    let mut task = task("a", attempt, ExtractType::FE);
    task.owner.requested_at = Some(format!("2026-01-01T00:00:0{requested}Z"));
    task.spec.output.retain_replaced_seconds = Some(retain);
    task
}

#[test]
fn replaced_files_stay_until_their_time_is_over() {
    let mut stores = Stores::new();
    stores.drive(coordinate(full(1, "1", 100)), usize::MAX).unwrap();
    stores.drive(coordinate(full(2, "2", 100)), usize::MAX).unwrap();
    assert_eq!(stores.files.len(), 4, "both extracts are there");
    let pending_cleanup = stores.run().unwrap().pending_cleanup.unwrap();
    let due: Vec<i64> = pending_cleanup.removals.iter().map(|removal| removal.due).collect();
    assert_eq!((pending_cleanup.pointer, due), (false, vec![stores.now + 100]));
    stores.drive(recover(2), usize::MAX).unwrap();
    assert_eq!(stores.files.len(), 4, "recovery came too early to remove");
    stores.now += 100;
    stores.drive(recover(2), usize::MAX).unwrap();
    assert_eq!(stores.run().unwrap().pending_cleanup, None);
    stores.check();
}

#[test]
fn a_postponed_removal_survives_incremental_runs() {
    let mut stores = Stores::new();
    stores.drive(coordinate(full(1, "1", 100)), usize::MAX).unwrap();
    stores.drive(coordinate(full(2, "2", 100)), usize::MAX).unwrap();
    let appended = stores.drive(coordinate(task("b", 1, ExtractType::PE)), usize::MAX).unwrap();
    assert!(matches!(appended, Ending::Published(_)), "{appended:?}");
    assert_eq!(stores.files.len(), 6);
    stores.now += 100;
    stores.drive(coordinate(task("c", 1, ExtractType::PE)), usize::MAX).unwrap();
    assert_eq!(stores.files.len(), 6, "the first extract is gone, a third increment is there");
    stores.check();
}

#[test]
fn a_full_extract_finishes_the_removal_of_its_parent() {
    let mut stores = Stores::new();
    stores.drive(coordinate(full(1, "1", 100)), usize::MAX).unwrap();
    stores.drive(coordinate(full(2, "2", 100)), usize::MAX).unwrap();
    stores.drive(coordinate(full(3, "3", 0)), usize::MAX).unwrap();
    assert_eq!(stores.files.len(), 2);
    stores.check();
}

#[test]
fn objects_of_a_dead_run_are_removed_after_the_grace_period() {
    let mut stores = Stores::new();
    // claim, source.json, plan, PIN: it is recovered, and nobody publishes it
    stores.drive(coordinate(task("a", 1, ExtractType::PE)), 4);
    stores.drive(recover(1), usize::MAX).unwrap();
    stores.drive(coordinate(task("a", 2, ExtractType::PE)), usize::MAX).unwrap();
    assert_eq!(stores.runs_seen().len(), 2, "the dead run is too young to go");
    stores.now += GRACE_SECONDS + 1;
    stores.drive(recover(2), usize::MAX).unwrap();
    let published = stores.run().unwrap().head.unwrap().run;
    assert_eq!(stores.runs_seen().into_iter().collect::<Vec<_>>(), [published]);
    stores.check();
}

#[test]
fn dead_runs_beyond_one_act_are_swept_by_the_next() {
    for at_once in 1..4 {
        let mut stores = Stores::new();
        for number in 1..4 {
            stores.drive(coordinate(task("a", number, ExtractType::PE)), 4);
            stores.drive(recover(number), usize::MAX).unwrap();
        }
        stores.drive(coordinate(task("a", 4, ExtractType::PE)), usize::MAX).unwrap();
        assert_eq!(stores.runs_seen().len(), 4);
        stores.orphans_at_once = at_once;
        stores.now += GRACE_SECONDS + 1;
        stores.drive(recover(4), usize::MAX).unwrap();
        assert_eq!(stores.runs_seen().len(), 1, "{at_once} at once");
        stores.check();
    }
}

#[test]
fn directories_without_a_plan_stay_and_delay_nothing() {
    let mut stores = Stores::new();
    for number in 0..150_u128 {
        let run = uuid::Uuid::from_u128(number);
        stores.objects.insert(format!("orders/_tidemark/{run}/partitions/0.json"), Vec::new());
    }
    stores.drive(coordinate(task("a", 1, ExtractType::PE)), 4);
    let dead = stores.run().unwrap().run;
    stores.drive(recover(1), usize::MAX).unwrap();
    stores.drive(coordinate(task("a", 2, ExtractType::PE)), usize::MAX).unwrap();
    for _ in 0..10 {
        stores.now += GRACE_SECONDS + 1;
        stores.drive(recover(2), usize::MAX).unwrap();
    }
    assert!(!stores.runs_seen().contains(&dead), "the dead run goes");
    assert_eq!(stores.runs_seen().len(), 151, "whose the others are cannot be told");
    stores.check();
}

#[test]
fn a_sweep_keeps_the_chain_and_pending_removals() {
    let mut stores = Stores::new();
    let long = u64::try_from(10 * GRACE_SECONDS).unwrap();
    stores.drive(coordinate(full(1, "1", long)), usize::MAX).unwrap();
    stores.drive(coordinate(full(2, "2", long)), usize::MAX).unwrap();
    stores.drive(coordinate(task("b", 1, ExtractType::PE)), usize::MAX).unwrap();
    stores.now += GRACE_SECONDS + 1;
    stores.drive(coordinate(task("c", 1, ExtractType::PE)), usize::MAX).unwrap();
    assert_eq!((stores.runs_seen().len(), stores.files.len()), (4, 8));
}

#[test]
fn every_twentieth_manifest_of_a_chain_lists_all_before_it() {
    let mut stores = Stores::new();
    for uid in 0..42 {
        stores.drive(coordinate(task(&format!("u{uid}"), 1, ExtractType::PE)), usize::MAX).unwrap();
        stores.rows_up_to += 10;
        let run = stores.run().unwrap().run;
        let earlier = stores.manifest(run).unwrap().earlier;
        let listed = earlier.map(|listing| (listing.runs.len(), listing.files.len()));
        let want = (uid > 0 && uid % 20 == 0).then_some((uid, 2 * uid));
        assert_eq!(listed, want, "run {uid} of the chain");
    }
    stores.check();
}

#[test]
fn a_watermark_moved_by_a_person_voids_the_pending_window() {
    let mut stores = Stores::new();
    stores.drive(coordinate(task("a", 1, ExtractType::PE)), 4);
    let request = |stores: &Stores| WatermarkRequest {
        revision: stores.run().unwrap().revision,
        to: "5".to_owned(),
        by: "ann".to_owned(),
        rewind: false,
    };
    let live = set(stores.run().as_ref(), stores.watermark_item().as_ref(), &request(&stores), 0);
    assert_eq!(live.unwrap_err().report.reason, Reason::SourceBusy);
    stores.drive(recover(1), usize::MAX).unwrap();
    assert!(stores.run().unwrap().pending_window.is_some());
    let moved =
        set(stores.run().as_ref(), stores.watermark_item().as_ref(), &request(&stores), 0).unwrap();
    assert!(stores.track(Effect::Track(moved)));
    let run = stores.run().unwrap();
    assert_eq!((run.pending_window, run.set.unwrap().by), (None, "ann".to_owned()));
    stores.drive(coordinate(task("a", 2, ExtractType::PE)), usize::MAX).unwrap();
    let window = stores.run().unwrap().window.unwrap();
    assert_eq!(window.low.as_deref(), Some("5"));
    stores.check();
}
