//! Postponed removals while the source moves to another URI.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod stores;

use crds::Task;
use crds::extract_job::ExtractType;
use crds::tracking::{ObjectStore, Removal};
use proptest::prelude::*;
use stores::{Stores, order, task};
use worker_core::protocol::removals::{REMOVALS_MAX, RETRY_SECONDS};
use worker_core::protocol::{Ending, GRACE_SECONDS, Phase, Process, Role, Then};

const LEASE: i64 = 600;

fn coordinate(task: Task) -> Process {
    Process::new(Role::Coordinate { task: Box::new(task), last: false }, LEASE)
}

/// A full extract of the object `uid`, to a prefix of the bucket.
fn full(uid: &str, attempt: u32, to: &str, retain: u64) -> Task {
    let mut task = task(uid, attempt, ExtractType::FE);
    let at = jiff::Timestamp::from_second(i64::from(attempt)).unwrap();
    task.owner.requested_at = Some(at.to_string());
    task.spec.output.retain_replaced_seconds = Some(retain);
    task.spec.output.uri = format!("s3://lake/{to}");
    task
}

fn recover(task: Task) -> Process {
    let order = Box::new(order(false, false));
    Process::new(Role::Recover { task: Box::new(task), order }, LEASE)
}

fn runs(stores: &mut Stores, task: Task) {
    let ending = stores.drive(coordinate(task), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Published(_)), "{ending:?}");
}

fn files(stores: &Stores, at: &str) -> usize {
    stores.files.iter().filter(|key| key.starts_with(&format!("{at}/"))).count()
}

fn removals(stores: &Stores) -> Vec<Removal> {
    stores
        .run()
        .unwrap()
        .pending_cleanup
        .map(|pending_cleanup| pending_cleanup.removals)
        .unwrap_or_default()
}

/// Two full extracts at `orders`, the removal of the first postponed; then one of another object at
/// `moved`.
fn moved() -> Stores {
    let mut stores = Stores::new();
    runs(&mut stores, full("a", 1, "orders", 100));
    runs(&mut stores, full("a", 2, "orders", 100));
    runs(&mut stores, full("b", 1, "moved", 0));
    assert_eq!((files(&stores, "orders"), files(&stores, "moved")), (4, 2), "nothing is due");
    stores
}

#[test]
fn removal_survives_a_move_and_the_next_claim_does_it_at_the_earlier_uri() {
    let mut stores = moved();
    runs(&mut stores, full("b", 2, "moved", 0));
    assert_eq!(files(&stores, "orders"), 4, "a claim before it is due removes nothing");
    stores.now += 100;
    runs(&mut stores, full("b", 3, "moved", 0));
    assert_eq!((files(&stores, "orders"), files(&stores, "moved")), (2, 2));
    assert_eq!(removals(&stores), []);
    let kept = stores.pointer_at("orders").unwrap().run;
    assert!(stores.files.iter().any(|key| key.contains(&kept.to_string())), "the chain is whole");
}

#[test]
fn removal_survives_a_move_and_recovery_of_the_earlier_object_does_it() {
    let mut stores = moved();
    stores.drive(recover(full("a", 2, "orders", 100)), usize::MAX).unwrap();
    assert_eq!(files(&stores, "orders"), 4, "it is not due");
    stores.now += 100;
    let ending = stores.drive(recover(full("a", 2, "orders", 100)), usize::MAX).unwrap();
    assert_eq!((ending, files(&stores, "orders")), (Ending::Recovered, 2));
    assert_eq!(removals(&stores), []);
}

#[test]
fn removals_at_several_uris_are_done_by_one_process() {
    let mut stores = Stores::new();
    for (number, at) in (1..).zip(["one", "one", "two", "two", "three", "three"]) {
        runs(&mut stores, full("a", number, at, 100));
    }
    assert_eq!(removals(&stores).len(), 3);
    stores.now += 100;
    stores.drive(recover(full("a", 6, "three", 100)), usize::MAX).unwrap();
    assert_eq!((removals(&stores).len(), stores.files.len()), (0, 6));
}

#[test]
fn full_extract_that_returns_to_a_uri_takes_over_its_pending_removal() {
    let mut stores = moved();
    runs(&mut stores, full("a", 3, "orders", 0));
    assert_eq!(files(&stores, "orders"), 2, "only the last one is left");
    assert_eq!(removals(&stores), []);
}

#[test]
fn sweeper_at_the_earlier_uri_keeps_retained_files() {
    let mut stores = Stores::new();
    let long = u64::try_from(10 * GRACE_SECONDS).unwrap();
    runs(&mut stores, full("a", 1, "orders", long));
    runs(&mut stores, full("a", 2, "orders", long));
    runs(&mut stores, full("b", 1, "moved", 0));
    stores.now += GRACE_SECONDS + 1;
    stores.drive(recover(full("a", 2, "orders", long)), usize::MAX).unwrap();
    assert_eq!(files(&stores, "orders"), 4);
    stores.now += 10 * GRACE_SECONDS;
    stores.drive(recover(full("a", 2, "orders", long)), usize::MAX).unwrap();
    assert_eq!(files(&stores, "orders"), 2);
}

#[test]
fn source_is_extracted_while_its_earlier_bucket_is_unreadable() {
    let mut stores = moved();
    stores.now += 100;
    stores.unreachable = Some("orders".to_owned());
    runs(&mut stores, full("b", 2, "moved", 0));
    let next: Vec<i64> = removals(&stores).iter().map(Removal::at).collect();
    assert_eq!(next, [stores.now + RETRY_SECONDS], "it is tried again later");
    // the object that postponed it reports it
    stores.now += RETRY_SECONDS;
    let ending = stores.drive(recover(full("a", 2, "orders", 100)), usize::MAX).unwrap();
    assert!(matches!(ending, Ending::Failed(_)), "{ending:?}");
    stores.unreachable = None;
    runs(&mut stores, full("b", 3, "moved", 0));
    assert_eq!((removals(&stores).len(), files(&stores, "orders")), (0, 2));
}

#[test]
fn source_of_the_same_object_is_extracted_while_its_earlier_bucket_is_unreadable() {
    let mut stores = Stores::new();
    runs(&mut stores, full("a", 1, "orders", 100));
    runs(&mut stores, full("a", 2, "orders", 100));
    runs(&mut stores, full("a", 3, "moved", 0));
    stores.now += 100;
    stores.unreachable = Some("orders".to_owned());
    runs(&mut stores, full("a", 4, "moved", 0));
    assert_eq!((removals(&stores).len(), files(&stores, "orders")), (1, 4));
    stores.now += RETRY_SECONDS;
    stores.unreachable = None;
    runs(&mut stores, full("a", 5, "moved", 0));
    assert_eq!((removals(&stores).len(), files(&stores, "orders")), (0, 2));
}

#[test]
fn removal_of_a_locked_file_is_postponed_until_the_lock_ends_and_the_rest_is_removed() {
    let earlier = |stores: &Stores| stores.pointer_at("orders").unwrap().run.to_string();
    for (part, left) in [("part-0", 3), ("part-1", 3), ("part-", 4)] {
        let mut stores = Stores::new();
        runs(&mut stores, full("a", 1, "orders", 0));
        let until = stores.now + 10 * RETRY_SECONDS;
        stores.locked.insert(format!("{}/{part}", earlier(&stores)), until);
        runs(&mut stores, full("a", 2, "orders", 0));
        let next: Vec<i64> = removals(&stores).iter().map(Removal::at).collect();
        assert_eq!((next, files(&stores, "orders")), (vec![until], left), "{part}");
        assert!(!stores.run().unwrap().pending_cleanup.unwrap().pointer, "the pointer is done");
        // neither a claim nor recovery before then is stopped
        stores.drive(recover(full("a", 2, "orders", 0)), usize::MAX).unwrap();
        runs(&mut stores, full("b", 1, "moved", 0));
        stores.now = until;
        runs(&mut stores, full("b", 2, "moved", 0));
        assert_eq!((removals(&stores).len(), files(&stores, "orders")), (0, 2), "{part}");
    }
}

#[test]
fn removals_at_one_uri_in_two_stores_are_separate() {
    let at = |number: u32, endpoint: &str, to: &str| {
        let mut task = full("a", number, to, 100);
        task.spec.output.endpoint = Some(format!("http://{endpoint}"));
        task
    };
    let mut stores = Stores::new();
    for (number, endpoint) in (1..).zip(["one", "one", "two", "two"]) {
        runs(&mut stores, at(number, endpoint, "orders"));
    }
    let named: Vec<_> = removals(&stores).into_iter().map(|entry| entry.store.unwrap()).collect();
    let endpoints: Vec<_> = named.into_iter().map(|store| store.endpoint.unwrap()).collect();
    assert_eq!(endpoints, ["http://one", "http://two"]);
    stores.now += 100;
    stores.deleted.clear();
    runs(&mut stores, at(5, "two", "moved"));
    assert_eq!(removals(&stores), []);
    let asked = |endpoint: Option<&str>| {
        let store = |store: &Option<ObjectStore>| store.as_ref().and_then(|it| it.endpoint.clone());
        stores.deleted.iter().any(|to| store(to).as_deref() == endpoint)
    };
    assert!(asked(Some("http://one")) && asked(None) && !asked(Some("http://two")));
}

#[test]
fn removal_that_is_due_while_another_run_is_open_is_left_to_that_run() {
    let mut stores = moved();
    // the run of another object is open, and its process is gone
    assert!(stores.drive(coordinate(full("b", 2, "moved", 0)), 4).is_none());
    assert!(stores.run().unwrap().state.is_open());
    stores.now += 100;
    let ending = stores.drive(recover(full("a", 2, "orders", 100)), usize::MAX).unwrap();
    assert_eq!((ending, files(&stores, "orders")), (Ending::Recovered, 4), "it is not its turn");
    // every attempt that fails is recovered, and that recovery does it
    stores.drive(recover(full("b", 2, "moved", 0)), usize::MAX).unwrap();
    assert_eq!((removals(&stores).len(), files(&stores, "orders")), (0, 2));
}

#[test]
fn removal_at_an_earlier_uri_stopped_between_two_listings_is_resumed() {
    let mut stores = moved();
    stores.now += 100;
    (stores.unreachable, stores.midway) = (Some("orders".to_owned()), true);
    runs(&mut stores, full("b", 2, "moved", 0));
    assert_eq!((removals(&stores).len(), files(&stores, "orders")), (1, 3), "one of two is gone");
    stores.unreachable = None;
    stores.now += RETRY_SECONDS;
    runs(&mut stores, full("b", 3, "moved", 0));
    assert_eq!((removals(&stores).len(), files(&stores, "orders")), (0, 2));
}

#[test]
fn coordinator_killed_after_each_removed_file_is_retried_and_removes_the_rest() {
    for writes in 1..60 {
        let mut stores = moved();
        stores.now += 100;
        let died = stores.drive(coordinate(full("b", 2, "moved", 0)), writes).is_none();
        stores.drive(recover(full("b", 2, "moved", 0)), usize::MAX).unwrap();
        runs(&mut stores, full("b", 3, "moved", 0));
        let left = (removals(&stores).len(), files(&stores, "orders"), files(&stores, "moved"));
        assert_eq!(left, (0, 2, 2), "after {writes} writes");
        if !died {
            return;
        }
    }
    panic!("it never came to its end");
}

#[test]
fn outage_of_an_earlier_bucket_is_not_waited_out() {
    let stores = moved();
    let run = Box::new(stores.run().unwrap());
    let process = Process { now: stores.now + 100, ..coordinate(full("b", 2, "moved", 0)) };
    for phase in [
        Phase::ReadingCleanup(run.clone(), Then::Finish, 0),
        Phase::Removing(run.clone(), Then::Finish, None),
        Phase::Removing(run.clone(), Then::Claim, None),
    ] {
        assert!(!Process { phase: phase.clone(), ..process.clone() }.holds(), "{phase:?}");
    }
    let here =
        Process { now: stores.now, phase: Phase::ReadingCleanup(run, Then::Finish, 0), ..process };
    assert!(here.holds(), "nothing is due elsewhere");
}

#[test]
fn source_is_extracted_when_its_earlier_prefix_is_gone() {
    let mut stores = moved();
    stores.now += 100;
    stores.objects.retain(|key, _| !key.starts_with("orders/"));
    stores.files.retain(|key| !key.starts_with("orders/"));
    runs(&mut stores, full("b", 2, "moved", 0));
    assert_eq!(removals(&stores), [], "nothing can be removed any more");
}

#[test]
fn first_full_extract_has_nothing_to_remove() {
    let mut stores = Stores::new();
    runs(&mut stores, full("a", 1, "orders", 100));
    assert_eq!(stores.run().unwrap().pending_cleanup, None);
}

#[test]
fn removals_are_bounded_and_the_one_that_is_due_first_is_given_up() {
    let mut stores = Stores::new();
    let mut number = 0;
    for at in 0..=REMOVALS_MAX {
        for _ in 0..2 {
            number += 1;
            runs(&mut stores, full("a", number, &format!("at{at}"), 1000));
        }
        stores.now += 1;
    }
    let kept = removals(&stores);
    assert_eq!(kept.len(), REMOVALS_MAX);
    assert!(kept.iter().all(|removal| removal.uri != "s3://lake/at0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For full extracts at any URIs with any retention, and any process killed in between: after all
    /// retentions are over, one recovery leaves the chain of each pointer and nothing else.
    #[test]
    fn all_that_was_replaced_is_removed_in_the_end(
        steps in proptest::collection::vec((0_u8..3, 0_u64..3, 0_i64..3, 1_usize..40), 1..8),
    ) {
        let mut stores = Stores::new();
        let mut number = 0;
        for (at, retain, pause, dies_after) in steps {
            number += 1;
            let task = full("a", number, &format!("at{at}"), retain * 10);
            stores.drive(coordinate(task.clone()), dies_after);
            stores.drive(recover(task), usize::MAX).unwrap();
            stores.now += pause * 10;
        }
        stores.now += 1000;
        let last = full("a", number, "at0", 0);
        stores.drive(recover(last), usize::MAX).unwrap();
        prop_assert_eq!(removals(&stores), []);
        for at in ["at0", "at1", "at2"] {
            let pointed = stores.pointer_at(at).map(|pointer| pointer.run);
            let left = files(&stores, at);
            prop_assert_eq!(left, if pointed.is_some() { 2 } else { 0 }, "{}", at);
        }
    }
}
