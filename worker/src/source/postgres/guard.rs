//! In: a session, the watermark, what CLAIM ordered. Out: the bound of the window's end ([`GuardBound`]).
//! Bound: one wait of `watermark.waitSeconds`. Fails: `InvalidSpec` (unknown zone), and as
//! [`crate::source::errors::database_failure`].
//!
//! Everything here happens before the snapshot exists, each step in a transaction of its own:
//! inside the snapshot a transaction that commits between two reads would be in neither.

mod bound;
mod waits;

use crds::Reason;
use crds::tracking::Guard;
use sqlx::PgConnection;
use sqlx::postgres::types::Oid;
use worker_core::decoding::columns::oids;
use worker_core::errors::failure::Failure;
use worker_core::planning::tables::fraction_digits;
use worker_core::planning::watermark::Value;
use worker_core::planning::window::{GuardBound, GuardOrder, ServerFacts, Step, guard_order, hold};
use worker_core::sql::rows::{relation_statements, statements};

use self::bound::{Bound, Facts, lag_clock, read_clock};
use self::waits::{prepared, wait, wait_for_numbers};
use crate::base::pause::PausePoints;
use crate::source::errors::database_failure;
use crate::source::postgres::sessions::{begin, commit};
use crate::source::table::{Found, Guarded};

/// Seeks the best guard there is. `pg_prepared_xacts` is read last: the caller takes the snapshot
/// right after.
pub(crate) async fn seek(
    connection: &mut PgConnection,
    guarded: Guarded<'_>,
    pause: PausePoints<'_>,
) -> Result<Found, Failure> {
    let mut warnings = Vec::new();
    let facts = server_facts(connection, guarded).await?;
    let order = guard_order(guarded.watermark, facts.server);
    let zone = zone(connection, guarded, &mut warnings).await?;
    let is_time = guarded.watermark.value_type.is_time();
    let clock = if is_time {
        Some(lag_clock(connection, &zone, order.lag.unwrap_or(0), guarded).await?)
    } else {
        None
    };
    pause("before-bound").await;
    let step = match order.step {
        Step::Exact => Bound::of(exact(connection, &zone, guarded).await?),
        Step::Wait if is_time => wait(connection, &order, &zone, guarded, pause).await?,
        Step::Wait => wait_for_numbers(connection, &order, guarded, &facts, pause).await?,
        Step::Nothing => Bound::of(None),
    };
    pause("after-bound").await;
    // the start of a prepared transaction is nowhere to be had; numbers have waited for it
    let prepared =
        is_time && order.step != Step::Nothing && !prepared(connection, guarded).await?.is_empty();
    // what was found still lowers the lag's bound: others may be open for longer than that
    let proves = order.proves && !prepared && !step.behind;
    let order = GuardOrder { proves, ..order };
    let mut held = hold(&order, step.found, clock, fraction_digits(guarded.column));
    if step.held_back {
        warnings.push(
            "the run reads no rows because a prepared transaction that wrote to the table is open; commit \
             it or roll it back (pg_prepared_xacts lists it)"
                .to_owned(),
        );
    }
    let lag_field = guarded.watermark.value_type.lag_field();
    let doubt = Doubt { step: &step, prepared, why: facts.why.as_deref(), lag_field };
    warnings.extend(explain(&order, facts.server, &held, doubt));
    // the zone is then a guess by the server's log: a wrong one puts the bound above late rows
    if is_zoneless(guarded) && guarded.watermark.time_zone.is_none() {
        held.kind = Guard::Unguarded;
    }
    Ok(Found { held, warnings })
}

async fn server_facts(
    connection: &mut PgConnection,
    guarded: Guarded<'_>,
) -> Result<Facts, Failure> {
    let failed = |error| database_failure("read the facts for the guard of the window", &error);
    let (oid, column) = (Oid(guarded.source_table.relation.oid), &guarded.column.name);
    begin(connection).await?;
    let (replica, sees_starts) = sqlx::query_as(statements::GUARD_FACTS)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let plain: Option<bool> = sqlx::query_scalar(relation_statements::IS_PLAIN_COLUMN)
        .bind(oid)
        .bind(column)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let sequence: Option<Oid> = sqlx::query_scalar(relation_statements::OWN_SEQUENCE)
        .bind(oid)
        .bind(column)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    commit(connection).await?;
    let computed = || {
        let why = format!("the view does not show column {column:?} unchanged from one table");
        (plain != Some(true)).then_some(why)
    };
    let why = guarded.source_table.unproven.guard.clone().or_else(computed);
    let (own_sequence, own_rows) = (sequence.is_some(), why.is_none());
    let server = ServerFacts { replica, sees_starts, own_sequence, own_rows };
    Ok(Facts { server, sequence, why })
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
                    "the database does not know the time zone of extract.watermark.timeZone",
                    "Set extract.watermark.timeZone to a name in pg_timezone_names, such as Europe/Berlin.",
                ));
            }
            zone.clone()
        }
        None => {
            let zone: String = one(connection, statements::SERVER_ZONE, None).await?;
            warnings.push(format!(
                "watermark column {:?} has no time zone, and {zone} is only a guess of the server's time \
                 zone; late rows may be skipped until you set extract.watermark.timeZone",
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
    answer.map_err(|error| database_failure("determine the guard of the window", &error))
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

/// What keeps a guard from proving something.
#[derive(Clone, Copy)]
struct Doubt<'a> {
    step: &'a Bound,
    prepared: bool,
    why: Option<&'a str>,
    /// The field of the manifest that sets a lag.
    lag_field: &'static str,
}

/// Why the guard is weaker than it could be.
fn explain(
    order: &GuardOrder,
    facts: ServerFacts,
    held: &GuardBound,
    doubt: Doubt<'_>,
) -> Option<String> {
    let found = doubt.step.found.is_some();
    let why = if let Some(why) = doubt.why {
        why
    } else if facts.replica {
        "the server is a replica and does not show the primary's transactions"
    } else if doubt.prepared {
        "a prepared transaction that wrote to the table is open"
    } else if doubt.step.behind {
        "the column's sequence is below the column's maximum, so lower numbers will follow"
    } else if order.step == Step::Wait && !found {
        "transactions stayed open for longer than extract.watermark.waitSeconds"
    } else if order.step == Step::Exact && !found {
        "a session does not show when its transaction began (track_activities is off)"
    } else if !order.proves {
        "the watermark is stamped by the application (extract.watermark.stampedBy)"
    } else {
        "the column's numbers do not come in order from a sequence of its own"
    };
    match held.kind {
        Guard::Exact | Guard::Waited => None,
        Guard::Lag => Some(format!("the guard is a fixed lag because {why}")),
        Guard::Unguarded => Some(format!(
            "no guard: rows committed late inside this window will be skipped because {why}; set \
             extract.watermark.{}",
            doubt.lag_field
        )),
    }
}
