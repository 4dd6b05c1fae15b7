//! In: what CLAIM ordered, the greatest watermark inside the snapshot, the guard. Out: the
//! `Window`. Bound: one window. Fails: `WatermarkRegressed`, `TrackingUnreadable`, `InvalidSpec`.

use crds::Reason;
use crds::extract_job::{StampedBy, Watermark, WatermarkType};
use crds::tracking::{Guard, Mode, Window};

use crate::errors::failure::Failure;
use crate::planning::plan::PlanOrder;
use crate::planning::watermark::Value;

/// Default number of seconds that a time column stays behind the clock.
const LAG_S_TIME: i64 = 300;
/// Default number of seconds to wait for open transactions.
const WAIT_S: i64 = 60;

/// What keeps the end of a window below rows that are not committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardBound {
    /// How sure it is.
    pub kind: Guard,
    /// The greatest value that may be taken; absent: no such value.
    pub bound: Option<Value>,
    /// For numbers: how far to stay below the maximum inside the snapshot.
    pub below_max: Option<i64>,
}

impl GuardBound {
    /// Nothing holds.
    pub const NOTHING: Self = Self { kind: Guard::Unguarded, bound: None, below_max: None };

    fn end(&self, max: &Value) -> Value {
        let distant = self.below_max.map_or(*max, |distance| max.less(distance));
        self.bound.map_or(distant, |bound| bound.min(distant))
    }
}

/// What the server can prove, as far as a guard needs it.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerFacts {
    /// It replays another server's log, whose open transactions it does not show.
    pub replica: bool,
    /// We may see when other users' transactions began.
    pub sees_starts: bool,
    /// The column's default is its own sequence, handing out numbers one by one.
    pub own_sequence: bool,
    /// What is read is the server's own, and its rows are written by the transactions that the server
    /// shows.
    pub own_rows: bool,
}

/// The step that is taken before the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read the start of the oldest open transaction.
    Exact,
    /// Read a bound, then wait until the transactions that were open have ended.
    Wait,
    /// None can be had.
    Nothing,
}

/// How a guard is sought for one watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardOrder {
    /// The step.
    pub step: Step,
    /// Whether what the step finds stands by itself, or may only lower the lag's bound.
    pub proves: bool,
    /// Seconds behind the clock (times), distance below the maximum (numbers); absent: none.
    pub lag: Option<i64>,
    /// Longest wait in seconds.
    pub wait_s: u64,
}

/// Checks that the distances of a watermark have the unit of its type, for manifests that no API server checked.
///
/// # Errors
/// `InvalidSpec`, permanent.
pub fn check_units(watermark: &Watermark) -> Result<(), Failure> {
    if !watermark.has_other_unit() {
        return Ok(());
    }
    let (given, fitting) = if watermark.value_type.is_time() {
        ("lagUnits and lookbackUnits", "lagSeconds and lookbackSeconds")
    } else {
        ("lagSeconds and lookbackSeconds", "lagUnits and lookbackUnits")
    };
    Err(Failure::permanent(
        Reason::InvalidSpec,
        format!("extract.watermark: {given} do not apply to type {}", watermark.value_type.name()),
        format!("Set {fitting} instead."),
    ))
}

/// Decides how to guard: the best that the server, the column and its writer allow.
pub fn guard_order(watermark: &Watermark, facts: ServerFacts) -> GuardOrder {
    let time = watermark.value_type.is_time();
    let proves = watermark.stamped_by == Some(StampedBy::Database) && facts.own_rows;
    let step = match (facts.replica, time) {
        (false, true) if facts.sees_starts => Step::Exact,
        // for application clocks the wait's bound is the clock, which never lowers clock minus lag
        (false, true) if proves => Step::Wait,
        (false, false) if facts.own_sequence => Step::Wait,
        (true | false, _) => Step::Nothing,
    };
    let lag = watermark.lag().or(time.then_some(LAG_S_TIME)).filter(|lag| *lag > 0);
    let wait_s = u64::try_from(watermark.wait_seconds.unwrap_or(WAIT_S)).unwrap_or(0);
    GuardOrder { step, proves, lag, wait_s }
}

/// Puts together what the step found and what the lag gives. `found` is absent where the step was
/// not taken, timed out, or was voided by a prepared transaction; `clock` is the clock less the
/// lag, for times. Times are floored here, and taken one tick lower.
pub fn hold(
    order: &GuardOrder,
    found: Option<Value>,
    clock: Option<Value>,
    digits: u32,
) -> GuardBound {
    let proven = match order.step {
        Step::Exact => Guard::Exact,
        Step::Wait => Guard::Waited,
        Step::Nothing => Guard::Lag,
    };
    let tick = |value: Value| value.last_whole_tick(digits);
    if order.proves && found.is_some() {
        return GuardBound { kind: proven, bound: found.map(tick), below_max: None };
    }
    let bound = match (found, clock) {
        (Some(found), Some(clock)) => Some(found.min(clock)),
        (found, clock) => found.or(clock),
    };
    let below_max = order.lag.filter(|_| clock.is_none());
    let kind = if order.lag.is_some() { Guard::Lag } else { Guard::Unguarded };
    GuardBound { kind, bound: bound.map(tick), below_max }
}

/// What was observed inside the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Greatest watermark of the whole table; absent: no row has one.
    pub max: Option<Value>,
    /// Whether there are rows without watermark that the window takes.
    pub null_rows: bool,
}

/// Chooses the window of a PE or reingest run, or takes the pending one.
///
/// # Errors
/// `WatermarkRegressed` where the whole table lies below the stored watermark; what
/// [`given_bound`] fails with.
pub fn choose(
    order: &PlanOrder,
    value_type: WatermarkType,
    observed: Observed,
    held: &GuardBound,
) -> Result<Window, Failure> {
    let low = match order.mode {
        Mode::PE => low_bound(order, value_type)?,
        Mode::FE | Mode::Reingest => None,
    };
    if let (Mode::PE, Some(low), Some(max)) = (order.mode, low, observed.max)
        && max < low
    {
        return Err(regressed());
    }
    if let Some(pending_window) = &order.pending_window {
        return Ok(pending_window.clone());
    }
    let low = low.map(|low| order.lookback.map_or(low, |distance| low.back(distance)));
    let given = order.high.as_deref().map(|text| given_bound(value_type, text, "high"));
    let given = given.transpose()?;
    let high = observed.max.map(|max| {
        let end = held.end(&max);
        given.map_or(end, |given| given.min(end))
    });
    // the least value as end says that the guard saw an empty table
    let high = high.filter(|high| !is_minimum(high) && low.is_none_or(|low| *high > low));
    Ok(Window {
        low: low.map(|low| low.to_text()),
        low_text: order.low_text.clone(),
        high: high.map(|high| high.to_text()),
        empty: high.is_none() && !observed.null_rows,
        guard: Some(held.kind),
    })
}

/// The window of an FE run: the given bounds, both included, or none. `any_row` says whether a
/// row is in it.
///
/// # Errors
/// What [`given_bound`] fails with.
pub fn full(
    order: &PlanOrder,
    value_type: Option<WatermarkType>,
    any_row: bool,
) -> Result<Window, Failure> {
    let text = |bound: &Option<String>, side| match (bound, value_type) {
        (Some(text), Some(value_type)) => given_bound(value_type, text, side).map(Some),
        _ => Ok(None),
    };
    let low = text(&order.low, "low")?.filter(|low| !is_minimum(low));
    let high = text(&order.high, "high")?;
    Ok(Window {
        low: low.map(|low| low.to_text()),
        low_text: order.low_text.clone(),
        high: high.map(|high| high.to_text()),
        empty: !any_row,
        guard: None,
    })
}

fn low_bound(order: &PlanOrder, value_type: WatermarkType) -> Result<Option<Value>, Failure> {
    let Some(text) = order.low.as_deref() else {
        return Ok(None);
    };
    let low = Value::parse(value_type, text).map_err(|_| unreadable_low(order, value_type))?;
    Ok(Some(low).filter(|low| !is_minimum(low)))
}

/// The text that a first run starts from means: no lower bound.
fn is_minimum(value: &Value) -> bool {
    let value_type = value.value_type();
    Value::parse(value_type, value_type.minimum_text()) == Ok(*value)
}

/// Reads a bound that the user gave.
///
/// # Errors
/// `InvalidSpec`, permanent.
pub fn given_bound(value_type: WatermarkType, text: &str, side: &str) -> Result<Value, Failure> {
    Value::parse(value_type, text).map_err(|_| {
        Failure::permanent(
            Reason::InvalidSpec,
            format!("the {side} bound is not a value of type {}", value_type.name()),
            "Correct the bound or the type in the manifest.",
        )
    })
}

fn unreadable_low(order: &PlanOrder, value_type: WatermarkType) -> Failure {
    let (reason, place, remedy) = if order.low_text.is_some() {
        (
            Reason::TrackingUnreadable,
            "lwm_value of the watermark item",
            "Set the watermark with `tidemark watermark set`, or correct extract.watermark.type.",
        )
    } else {
        (
            Reason::InvalidSpec,
            "extract.watermark.low",
            "Correct extract.watermark.low or extract.watermark.type.",
        )
    };
    let name = value_type.name();
    Failure::permanent(reason, format!("{place} is not a value of type {name}"), remedy)
}

fn regressed() -> Failure {
    Failure::permanent(
        Reason::WatermarkRegressed,
        "the greatest watermark in the table is below the stored watermark: rows were removed, the table \
         was restored, or its clock moved back",
        "Check the table. Then move the watermark with `tidemark watermark set`, or set extract.reingest: \
         true.",
    )
}

#[cfg(test)]
mod tests;
