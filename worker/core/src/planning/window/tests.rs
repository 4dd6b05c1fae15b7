use crds::RunId;
use proptest::prelude::*;

use super::*;

fn order(mode: Mode, low: Option<&str>, high: Option<&str>) -> PlanOrder {
    PlanOrder {
        lookback: None,
        run: run_id(),
        mode,
        source: "db.orders".to_owned(),
        low: low.map(str::to_owned),
        low_text: low.map(str::to_owned),
        high: high.map(str::to_owned),
        pending_window: None,
        head: None,
    }
}

fn run_id() -> RunId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a run id")
}

fn seen(max: i64) -> Observed {
    Observed { max: Some(Value::Int(max)), null_rows: false }
}

fn bound(value: i64) -> GuardBound {
    GuardBound { kind: Guard::Waited, bound: Some(Value::Int(value)), below_max: None }
}

fn pe(order: &PlanOrder, observed: Observed, held: &GuardBound) -> Window {
    choose(order, WatermarkType::Int, observed, held).expect("a window")
}

#[test]
fn the_end_is_the_least_of_given_maximum_and_guard() {
    for (high, max, guard, expected) in
        [(None, 30, 20, "20"), (None, 15, 20, "15"), (Some("12"), 30, 20, "12")]
    {
        let window = pe(&order(Mode::PE, Some("10"), high), seen(max), &bound(guard));
        assert_eq!(window.high.as_deref(), Some(expected));
        assert_eq!((window.low.as_deref(), window.empty), (Some("10"), false));
        assert_eq!(window.guard, Some(Guard::Waited));
    }
}

#[test]
fn an_end_that_is_not_above_the_start_is_an_empty_window() {
    for (max, guard) in [(10, 20), (30, 10), (30, 5)] {
        let window = pe(&order(Mode::PE, Some("10"), None), seen(max), &bound(guard));
        assert_eq!((window.high, window.empty), (None, true));
    }
    let nothing = Observed { max: None, null_rows: false };
    assert!(pe(&order(Mode::PE, Some("10"), None), nothing, &GuardBound::NOTHING).empty);
}

#[test]
fn a_guard_that_saw_an_empty_table_leaves_everything_to_the_next_run() {
    let window = pe(&order(Mode::PE, None, None), seen(5), &bound(i64::MIN));
    assert_eq!((window.high, window.empty), (None, true));
}

#[test]
fn rows_without_watermark_fill_a_window_that_is_empty_otherwise() {
    let observed = Observed { max: Some(Value::Int(10)), null_rows: true };
    let window = pe(&order(Mode::PE, Some("10"), None), observed, &GuardBound::NOTHING);
    assert_eq!((window.high, window.empty), (None, false));
}

#[test]
fn a_table_below_its_watermark_is_refused_by_pe_alone() {
    let low = order(Mode::PE, Some("10"), None);
    let failure =
        choose(&low, WatermarkType::Int, seen(9), &GuardBound::NOTHING).expect_err("below");
    assert_eq!(failure.report.reason, Reason::WatermarkRegressed);
    assert!(!failure.to_string().contains('9'));
    let reingest = order(Mode::Reingest, Some("10"), None);
    assert_eq!(pe(&reingest, seen(9), &GuardBound::NOTHING).high.as_deref(), Some("9"));
}

#[test]
fn the_least_text_means_from_the_beginning() {
    let low = WatermarkType::Int.minimum_text();
    let window = pe(&order(Mode::PE, Some(low), None), seen(9), &GuardBound::NOTHING);
    assert_eq!((window.low, window.low_text.as_deref()), (None, Some(low)));
}

#[test]
fn a_pending_window_is_taken_unchanged() {
    let pending_window = Window {
        low: Some("10".to_owned()),
        low_text: Some("10".to_owned()),
        high: Some("20".to_owned()),
        empty: false,
        guard: Some(Guard::Exact),
    };
    let order = PlanOrder {
        pending_window: Some(pending_window.clone()),
        ..order(Mode::PE, Some("10"), Some("12"))
    };
    assert_eq!(pe(&order, seen(50), &bound(15)), pending_window);
    assert!(choose(&order, WatermarkType::Int, seen(9), &GuardBound::NOTHING).is_err());
}

#[test]
fn a_full_extract_takes_the_given_bounds_and_no_guard() {
    let window = full(&order(Mode::FE, Some("10"), Some("20.0")), Some(WatermarkType::Int), true);
    let window = window.expect("good bounds");
    assert_eq!((window.low.as_deref(), window.high.as_deref()), (Some("10"), Some("20")));
    assert_eq!((window.guard, window.empty), (None, false));
    let none = full(&order(Mode::FE, None, None), None, true).expect("no bounds");
    assert_eq!((none.low, none.high), (None, None));
    let bad = full(&order(Mode::FE, Some("x"), None), Some(WatermarkType::Int), true);
    assert_eq!(bad.expect_err("no number").report.reason, Reason::InvalidSpec);
}

#[test]
fn a_stored_start_that_cannot_be_read_is_the_tracking_items_fault() {
    let bad = choose(
        &order(Mode::PE, Some("x"), None),
        WatermarkType::Int,
        seen(1),
        &GuardBound::NOTHING,
    );
    assert_eq!(bad.expect_err("no number").report.reason, Reason::TrackingUnreadable);
}

fn watermark(
    value_type: WatermarkType,
    stamped_by: Option<StampedBy>,
    lag: Option<i64>,
) -> Watermark {
    Watermark {
        column: "c".to_owned(),
        value_type,
        low: None,
        high: None,
        stamped_by,
        lag_seconds: lag.filter(|_| value_type.is_time()),
        lag_units: lag.filter(|_| !value_type.is_time()),
        wait_seconds: None,
        lookback_seconds: None,
        lookback_units: None,
        time_zone: None,
        null_policy: None,
    }
}

const ALL_FACTS: ServerFacts =
    ServerFacts { replica: false, sees_starts: true, own_sequence: true, own_rows: true };

#[test]
fn the_strongest_available_guard_step_is_used() {
    let database = Some(StampedBy::Database);
    let blind = ServerFacts { sees_starts: false, ..ALL_FACTS };
    let replica = ServerFacts { replica: true, ..ALL_FACTS };
    let plain = ServerFacts { own_sequence: false, ..ALL_FACTS };
    for (value_type, stamped_by, facts, step, lag) in [
        (WatermarkType::Timestamp, database, ALL_FACTS, Step::Exact, Some(300)),
        (WatermarkType::Timestamp, database, blind, Step::Wait, Some(300)),
        (WatermarkType::Timestamp, database, replica, Step::Nothing, Some(300)),
        (WatermarkType::Timestamp, None, ALL_FACTS, Step::Exact, Some(300)),
        (WatermarkType::Timestamp, None, blind, Step::Nothing, Some(300)),
        (WatermarkType::Int, database, ALL_FACTS, Step::Wait, None),
        (WatermarkType::Int, database, plain, Step::Nothing, None),
    ] {
        let order = guard_order(&watermark(value_type, stamped_by, None), facts);
        assert_eq!((order.step, order.lag), (step, lag), "{value_type:?} {facts:?}");
        assert_eq!(order.proves, stamped_by.is_some());
    }
}

#[test]
fn rows_of_another_server_are_guarded_by_a_lag_at_most() {
    let database = Some(StampedBy::Database);
    let other = ServerFacts { own_rows: false, ..ALL_FACTS };
    let (found, clock) = (Value::Timestamp(1_000_000), Value::Timestamp(9_000_000));
    let time = guard_order(&watermark(WatermarkType::Timestamp, database, None), other);
    let held = hold(&time, Some(found), Some(clock), 6);
    assert_eq!((held.kind, held.bound), (Guard::Lag, Some(Value::Timestamp(999_999))));
    let bare = guard_order(&watermark(WatermarkType::Timestamp, database, Some(0)), other);
    assert_eq!(hold(&bare, Some(found), Some(clock), 6).kind, Guard::Unguarded);
    let number = guard_order(&watermark(WatermarkType::Int, database, None), other);
    let held = hold(&number, Some(Value::Int(7)), None, 6);
    assert_eq!((held.kind, held.bound), (Guard::Unguarded, Some(Value::Int(7))));
}

#[test]
fn bound_for_application_timestamps_is_only_lowered() {
    let order = guard_order(&watermark(WatermarkType::Timestamp, None, None), ALL_FACTS);
    let (early, late) = (Value::Timestamp(1_000_000), Value::Timestamp(9_000_000));
    for (found, clock) in [(early, late), (late, early)] {
        let held = hold(&order, Some(found), Some(clock), 6);
        assert_eq!((held.kind, held.bound), (Guard::Lag, Some(Value::Timestamp(999_999))));
    }
}

#[test]
fn a_step_that_failed_leaves_the_lag() {
    let clock = Some(Value::Timestamp(9_000_000));
    let database = Some(StampedBy::Database);
    let time = guard_order(&watermark(WatermarkType::Timestamp, database, None), ALL_FACTS);
    assert_eq!(hold(&time, None, clock, 0).kind, Guard::Lag);
    assert_eq!(hold(&time, None, clock, 0).bound, Some(Value::Timestamp(8_000_000)));
    let number = guard_order(&watermark(WatermarkType::Int, database, None), ALL_FACTS);
    assert_eq!(hold(&number, None, None, 6), GuardBound::NOTHING);
    let lagging = guard_order(&watermark(WatermarkType::Int, database, Some(5)), ALL_FACTS);
    let held = hold(&lagging, None, None, 6);
    assert_eq!((held.kind, held.end(&Value::Int(30))), (Guard::Lag, Value::Int(25)));
}

#[test]
fn a_lag_of_nothing_is_unguarded_and_still_leaves_the_running_tick() {
    let order = guard_order(
        &watermark(WatermarkType::Timestamp, None, Some(0)),
        ServerFacts { sees_starts: false, ..ALL_FACTS },
    );
    let held = hold(&order, None, Some(Value::Timestamp(9_000_000)), 6);
    assert_eq!((held.kind, held.bound), (Guard::Unguarded, Some(Value::Timestamp(8_999_999))));
}

proptest! {
    #[test]
    fn no_window_ends_above_maximum_guard_or_given_end(
        low in -50_i64..50, max in -50_i64..50, guard in -50_i64..50, given in -50_i64..50,
    ) {
        let order = order(Mode::PE, Some(&low.to_string()), Some(&given.to_string()));
        match choose(&order, WatermarkType::Int, seen(max), &bound(guard)) {
            Err(_) => prop_assert!(max < low),
            Ok(window) => {
                let end = max.min(guard).min(given);
                prop_assert_eq!(window.empty, end <= low);
                prop_assert_eq!(window.high, (end > low).then(|| end.to_string()));
            }
        }
    }
}

#[test]
fn lookback_starts_lower_and_stores_its_start() {
    let order = PlanOrder { lookback: Some(5), ..order(Mode::PE, Some("20"), None) };
    let seen = |max| Observed { max: Some(Value::Int(max)), null_rows: false };
    let window =
        choose(&order, WatermarkType::Int, seen(20), &GuardBound::NOTHING).expect("window");
    assert_eq!((window.low.as_deref(), window.high.as_deref()), (Some("15"), Some("20")));
    assert_eq!(window.low_text, order.low_text);
    assert!(!window.empty, "late rows may lie below the stored watermark");
    let regressed = choose(&order, WatermarkType::Int, seen(19), &GuardBound::NOTHING);
    assert_eq!(regressed.expect_err("below").report.reason, Reason::WatermarkRegressed);
}

#[test]
fn distance_in_the_unit_of_another_type_is_refused() {
    let fields = ["lagSeconds", "lookbackSeconds", "lagUnits", "lookbackUnits"];
    for kind in ["timestamp", "date", "int", "decimal", "double"] {
        let is_time = matches!(kind, "timestamp" | "date");
        for field in fields {
            let text = format!(r#"{{"column": "c", "type": "{kind}", "{field}": 5}}"#);
            let given: Watermark = serde_json::from_str(&text).expect("a watermark");
            let fits = field.ends_with("Seconds") == is_time;
            let checked = check_units(&given);
            assert_eq!(checked.is_ok(), fits, "{kind} {field}");
            if let Err(failure) = checked {
                assert_eq!(failure.report.reason, Reason::InvalidSpec);
                let unit = if is_time { "lookbackSeconds" } else { "lookbackUnits" };
                assert!(failure.report.remedy.contains(unit), "{failure}");
            }
            let (lag, lookback) = (given.lag(), given.lookback());
            let expected = (fits && field.starts_with("lag")).then_some(5);
            assert_eq!(lag, expected, "{kind} {field}");
            let expected = (fits && field.starts_with("lookback")).then_some(5);
            assert_eq!(lookback, expected, "{kind} {field}");
        }
    }
    assert_eq!(check_units(&watermark(WatermarkType::Int, None, Some(1))), Ok(()));
}
