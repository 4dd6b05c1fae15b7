//! In: a session, the watermark, what CLAIM ordered. Out: what holds the window's end ([`Held`]).
//! Bound: one wait of `watermark.wait` seconds. Fails: `InvalidSpec` (unknown zone), and as
//! [`crate::sessions::database_failure`].
//!
//! Everything here happens before the snapshot exists, each step in a transaction of its own:
//! inside the snapshot a transaction that commits between two reads would be in neither.

use std::time::{Duration, Instant};

use crds::Reason;
use crds::source::Engine;
use crds::tracking::Guard;
use sqlx::PgConnection;
use worker_core::bounds::{fraction_digits, watermark_extreme};
use worker_core::columns::oids;
use worker_core::error::Failure;
use worker_core::rows::{self, statements};
use worker_core::watermark::Value;
use worker_core::window::{GuardOrder, Held, ServerFacts, Step, guard_order, hold};

use crate::bounds::Pause;
use crate::database::{Found, Guarded};
use crate::postgres::sessions::{begin, commit};
use crate::sessions::{database_failure, made};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(100);
/// Seconds that a session may need from the moment that becomes its `now()` until its transaction
/// can be seen; [`statements::EXACT_CLOCK`] leaves the same.
const START_S: i64 = 1;

/// An open transaction: process, and virtual id.
type Open = (i32, String);

/// Seeks the best guard there is. `pg_prepared_xacts` is read last: the caller takes the snapshot
/// right after.
pub(crate) async fn seek(
    connection: &mut PgConnection,
    guarded: Guarded<'_>,
    pause: Pause<'_>,
) -> Result<Found, Failure> {
    let mut warnings = Vec::new();
    let facts = server_facts(connection, guarded).await?;
    let order = guard_order(guarded.watermark, facts);
    let zone = zone(connection, guarded, &mut warnings).await?;
    let clock = if guarded.watermark.value_type.is_time() {
        Some(lag_clock(connection, &zone, order.lag.unwrap_or(0), guarded).await?)
    } else {
        None
    };
    pause("before-bound").await;
    let found = match order.step {
        Step::Exact => exact(connection, &zone, guarded).await?,
        Step::Wait => wait(connection, &order, &zone, guarded, pause).await?,
        Step::Nothing => None,
    };
    pause("after-bound").await;
    let prepared = order.step != Step::Nothing && prepared(connection).await?;
    // what was found still lowers the lag's bound: others may be open for longer than that
    let order = GuardOrder { proves: order.proves && !prepared, ..order };
    let mut held = hold(&order, found, clock, fraction_digits(guarded.column));
    warnings.extend(explain(&order, facts, &held, found.is_some(), prepared));
    // the zone is then a guess by the server's log: a wrong one puts the bound above late rows
    if is_zoneless(guarded) && guarded.watermark.time_zone.is_none() {
        held.kind = Guard::Unguarded;
    }
    Ok(Found { held, warnings })
}

async fn server_facts(
    connection: &mut PgConnection,
    guarded: Guarded<'_>,
) -> Result<ServerFacts, Failure> {
    begin(connection).await?;
    let (replica, sees_starts, own_sequence) = sqlx::query_as(statements::GUARD_FACTS)
        .bind(sqlx::postgres::types::Oid(guarded.oid))
        .bind(&guarded.column.name)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("ask what guards the window", &error))?;
    commit(connection).await?;
    Ok(ServerFacts { replica, sees_starts, own_sequence })
}

fn is_zoneless(guarded: Guarded<'_>) -> bool {
    matches!(guarded.column.type_oid, oids::TIMESTAMP | oids::DATE)
}

/// The zone that the column's clock is read in. A column with zone, and a number, have UTC.
async fn zone(
    connection: &mut PgConnection,
    guarded: Guarded<'_>,
    warnings: &mut Vec<String>,
) -> Result<String, Failure> {
    if !is_zoneless(guarded) {
        return Ok("UTC".to_owned());
    }
    begin(connection).await?;
    let zone = match &guarded.watermark.time_zone {
        Some(zone) => {
            let known: bool = one(connection, statements::ZONE_KNOWN, Some(zone)).await?;
            if !known {
                return Err(Failure::permanent(
                    Reason::InvalidSpec,
                    "the database does not know the zone of extract.watermark.timeZone",
                    "name it as in pg_timezone_names, such as Europe/Berlin",
                ));
            }
            zone.clone()
        }
        None => {
            let zone: String = one(connection, statements::SERVER_ZONE, None).await?;
            warnings.push(format!(
                "watermark column {:?} has no zone, and the server's own is only guessed to be \
                 {zone}: set extract.watermark.timeZone, until then late rows may be missed",
                guarded.column.name
            ));
            zone
        }
    };
    commit(connection).await?;
    Ok(zone)
}

async fn one<T>(
    connection: &mut PgConnection,
    statement: &'static str,
    parameter: Option<&str>,
) -> Result<T, Failure>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let query = sqlx::query_scalar(statement);
    let query = match parameter {
        Some(parameter) => query.bind(parameter.to_owned()),
        None => query,
    };
    let answer = query.fetch_one(&mut *connection).await;
    answer.map_err(|error| database_failure("seek a guard for the window", &error))
}

/// A `date` column gets the day that is running.
fn read_clock(guarded: Guarded<'_>, text: &str) -> Result<Value, Failure> {
    watermark_extreme(guarded.watermark.value_type, &guarded.column.name, text)
}

async fn lag_clock(
    connection: &mut PgConnection,
    zone: &str,
    lag_s: i64,
    guarded: Guarded<'_>,
) -> Result<Value, Failure> {
    begin(connection).await?;
    #[expect(clippy::cast_precision_loss, reason = "a lag is at most 30 days of seconds")]
    let text: String = sqlx::query_scalar(statements::LAG_CLOCK)
        .bind(zone)
        .bind(lag_s as f64)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("read the database's clock", &error))?;
    commit(connection).await?;
    read_clock(guarded, &text)
}

async fn exact(
    connection: &mut PgConnection,
    zone: &str,
    guarded: Guarded<'_>,
) -> Result<Option<Value>, Failure> {
    begin(connection).await?;
    let text: Option<String> = one(connection, statements::EXACT_CLOCK, Some(zone)).await?;
    commit(connection).await?;
    text.map(|text| read_clock(guarded, &text)).transpose()
}

/// Reads a bound, then waits until every transaction that was open has ended. `None`: the time
/// was over.
async fn wait(
    connection: &mut PgConnection,
    order: &GuardOrder,
    zone: &str,
    guarded: Guarded<'_>,
    pause: Pause<'_>,
) -> Result<Option<Value>, Failure> {
    let time = guarded.watermark.value_type.is_time();
    let bound = if time {
        lag_clock(connection, zone, START_S, guarded).await?
    } else {
        maximum(connection, guarded).await?
    };
    pause("before-wait").await;
    begin(connection).await?;
    let mut open: Vec<Open> = sqlx::query_as(statements::OPEN_TRANSACTIONS)
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("list open transactions", &error))?;
    commit(connection).await?;
    pause("in-wait").await;
    let deadline = Instant::now() + Duration::from_secs(order.wait_s);
    loop {
        open = still_open(connection, &open, time).await?;
        if open.is_empty() {
            return Ok(Some(bound));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The greatest number that is committed; the type's least where there is none, so that what
/// comes meanwhile is left to the next run.
async fn maximum(connection: &mut PgConnection, guarded: Guarded<'_>) -> Result<Value, Failure> {
    begin(connection).await?;
    let statement = rows::extremes_statement(Engine::Postgres, guarded.table, guarded.column, None);
    let (max, _): (Option<String>, Option<String>) = sqlx::query_as(made(statement))
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("read the greatest watermark", &error))?;
    commit(connection).await?;
    let value_type = guarded.watermark.value_type;
    let text = max.as_deref().unwrap_or(value_type.minimum_text());
    watermark_extreme(value_type, &guarded.column.name, text)
}

/// The transactions that are still waited for. All transactions of one message have the same
/// `now()`, so that for times the sessions are waited for: each must be seen without a transaction
/// once. (A number is drawn anew by each.)
async fn still_open(
    connection: &mut PgConnection,
    open: &[Open],
    sessions: bool,
) -> Result<Vec<Open>, Failure> {
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let (pids, ids): (Vec<i32>, Vec<String>) = open.iter().cloned().unzip();
    begin(connection).await?;
    let left = sqlx::query_as(statements::STILL_OPEN)
        .bind(ids)
        .bind(if sessions { pids } else { Vec::new() })
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("wait for open transactions", &error))?;
    commit(connection).await?;
    Ok(left)
}

async fn prepared(connection: &mut PgConnection) -> Result<bool, Failure> {
    begin(connection).await?;
    let any = one(connection, statements::PREPARED, None).await?;
    commit(connection).await?;
    Ok(any)
}

/// Why the guard is weaker than it could be.
fn explain(
    order: &GuardOrder,
    facts: ServerFacts,
    held: &Held,
    found: bool,
    prepared: bool,
) -> Option<String> {
    let why = if facts.replica {
        "the server is a replica and does not show the primary's transactions"
    } else if prepared {
        "a prepared transaction is open in this database"
    } else if order.step == Step::Wait && !found {
        "transactions stayed open for longer than extract.watermark.wait"
    } else if order.step == Step::Exact && !found {
        "a session does not show when its transaction began (track_activities is off)"
    } else if !order.proves {
        "the watermark is stamped by the application (extract.watermark.stampedBy)"
    } else {
        "the column's numbers do not come one by one from a sequence of its own"
    };
    match held.kind {
        Guard::Exact | Guard::Waited => None,
        Guard::Lag => Some(format!("guard is a fixed lag, since {why}")),
        Guard::Unguarded => Some(format!(
            "no guard: rows that are committed late may be missed, since {why}; set extract.watermark.lag"
        )),
    }
}
