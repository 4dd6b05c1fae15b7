//! Waiting until transactions have ended that may write below a bound.

use std::time::{Duration, Instant};

use crds::source::Engine;
use sqlx::PgConnection;
use sqlx::postgres::types::Oid;
use worker_core::errors::failure::Failure;
use worker_core::planning::tables::watermark_extreme;
use worker_core::planning::watermark::Value;
use worker_core::planning::window::GuardOrder;
use worker_core::sql::rows::{self, relation_statements, statements};

use super::bound::{Bound, Facts, START_S, lag_clock};
use crate::base::pause::PausePoints;
use crate::source::errors::{database_failure, made};
use crate::source::postgres::sessions::{begin, commit};
use crate::source::table::Guarded;

/// Delay between two checks of a wait.
const POLL: Duration = Duration::from_millis(100);

/// An open transaction: process, and virtual id.
type Open = (i32, String);

/// Reads the clock, then waits until every transaction that was open has ended.
pub(super) async fn wait(
    connection: &mut PgConnection,
    order: &GuardOrder,
    zone: &str,
    guarded: Guarded<'_>,
    pause: PausePoints<'_>,
) -> Result<Bound, Failure> {
    let bound = lag_clock(connection, zone, START_S, guarded).await?;
    let deadline = Instant::now() + Duration::from_secs(order.wait_s);
    let ended = all_ended(connection, true, deadline, pause).await?;
    Ok(Bound::of(ended.then_some(bound)))
}

/// Reads the greatest number, then waits until every transaction that was open or prepared has ended.
/// Where a prepared one stays, and no lag is set, nothing is taken: what numbers it has drawn nobody
/// sees.
pub(super) async fn wait_for_numbers(
    connection: &mut PgConnection,
    order: &GuardOrder,
    guarded: Guarded<'_>,
    facts: &Facts,
    pause: PausePoints<'_>,
) -> Result<Bound, Failure> {
    let bound = maximum(connection, guarded).await?;
    let behind = stands_below(connection, guarded, facts.sequence, &bound).await?;
    let deadline = Instant::now() + Duration::from_secs(order.wait_s);
    let ended = all_ended(connection, false, deadline, pause).await?;
    let found = ended.then_some(bound);
    if !ended || !order.proves || behind {
        return Ok(Bound { behind, ..Bound::of(found) });
    }
    // each that was open has ended by now or is in here; what is prepared later began after the bound
    let early = prepared(connection, guarded).await?;
    let mut left = early.clone();
    while !left.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
        left = prepared(connection, guarded).await?;
        left.retain(|transaction| early.contains(transaction));
    }
    if left.is_empty() {
        return Ok(Bound::of(found));
    }
    let value_type = guarded.watermark.value_type;
    let least = watermark_extreme(value_type, &guarded.column.name, value_type.minimum_text())?;
    Ok(match order.lag {
        Some(_) => Bound::of(None),
        None => Bound { held_back: true, ..Bound::of(Some(least)) },
    })
}

/// Whether all transactions that are open now have ended by `deadline`; of times (`sessions`) each of
/// their sessions must be seen without one.
async fn all_ended(
    connection: &mut PgConnection,
    sessions: bool,
    deadline: Instant,
    pause: PausePoints<'_>,
) -> Result<bool, Failure> {
    pause("before-wait").await;
    begin(connection).await?;
    let mut open: Vec<Open> = sqlx::query_as(statements::OPEN_TRANSACTIONS)
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("list open transactions", &error))?;
    commit(connection).await?;
    pause("in-wait").await;
    loop {
        open = still_open(connection, &open, sessions).await?;
        if open.is_empty() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether the sequence will give numbers below the column's greatest: it was set back, or somebody
/// wrote numbers of their own. Unknown where the user may not read the sequence.
async fn stands_below(
    connection: &mut PgConnection,
    guarded: Guarded<'_>,
    sequence: Option<Oid>,
    greatest: &Value,
) -> Result<bool, Failure> {
    let Some(sequence) = sequence else { return Ok(false) };
    begin(connection).await?;
    let last: Option<Option<String>> = sqlx::query_scalar(relation_statements::LAST_NUMBER)
        .bind(sequence)
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| database_failure("read the column's sequence", &error))?;
    commit(connection).await?;
    let Some(last) = last.flatten() else { return Ok(false) };
    let value_type = guarded.watermark.value_type;
    let last = watermark_extreme(value_type, &guarded.column.name, &last)?;
    Ok(last < *greatest)
}

/// The greatest number that is committed; the type's least where there is none, so that what
/// comes meanwhile is left to the next run.
async fn maximum(connection: &mut PgConnection, guarded: Guarded<'_>) -> Result<Value, Failure> {
    begin(connection).await?;
    let statement = rows::extremes_statement(
        Engine::Postgres,
        guarded.source_table.table(),
        guarded.column,
        None,
    );
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

/// The prepared transactions that wrote to what a statement on the table reads.
pub(super) async fn prepared(
    connection: &mut PgConnection,
    guarded: Guarded<'_>,
) -> Result<Vec<i64>, Failure> {
    begin(connection).await?;
    let found = sqlx::query_scalar(relation_statements::PREPARED)
        .bind(&guarded.source_table.reads)
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("list prepared transactions", &error))?;
    commit(connection).await?;
    Ok(found)
}
