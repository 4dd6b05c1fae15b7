//! Keeps a window's end below rows that are not committed yet: a lag behind the server's clock, lowered to the
//! start of the oldest transaction that has written, if the user may read that. It proves nothing: a statement
//! stamps its rows when it begins, and the server does not show how long it waited before its transaction began.

use crds::Reason;
use crds::tracking::Guard;
use sqlx::MySqlConnection;
use worker_core::decoding::columns::Target;
use worker_core::errors::failure::Failure;
use worker_core::planning::tables::watermark_extreme;
use worker_core::planning::watermark::Value;
use worker_core::planning::window::{ServerFacts, guard_order, hold};
use worker_core::sql::rows::mysql_statements as statements;

use super::sessions::{ACCESS_DENIED, PIN, number, run};
use crate::base::pause::PausePoints;
use crate::source::errors::database_failure;
use crate::source::table::{Found, Guarded};

/// Digits after the second of a `datetime` that does not say.
const FRACTION_DIGITS: u32 = 0;
/// Error of a zone that the server does not know.
const UNKNOWN_ZONE: u16 = 1298;

/// What the server shows of transactions that have written and are not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// The user may not see it.
    Hidden,
    /// There are none.
    None,
    /// Seconds since 1970 before which none of them wrote.
    Since(i64),
}

/// Reads the clock less the lag, and what may lower it.
pub(crate) async fn seek(
    connection: &mut MySqlConnection,
    guarded: Guarded<'_>,
    pause: PausePoints<'_>,
) -> Result<Found, Failure> {
    let nothing = ServerFacts {
        replica: true,
        sees_starts: false,
        own_sequence: false,
        own_rows: guarded.source_table.unproven.guard.is_none(),
    };
    let order = guard_order(guarded.watermark, nothing);
    let mut warnings = Vec::new();
    pause("before-bound").await;
    let (mut bound, mut open) = (None, Open::None);
    if guarded.watermark.value_type.is_time() {
        // before the list is read: what begins after it stamps later
        let now: i64 = sqlx::query_scalar(statements::NOW)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| database_failure("read the database's clock", &error))?;
        pause("after-clock").await;
        let lagged = now - order.lag.unwrap_or(0);
        open = open_transactions(connection).await?;
        let at = match open {
            Open::Since(since) if since < lagged => {
                warnings.push(
                    "the window ends earlier because a transaction or statement is older than the lag"
                        .to_owned(),
                );
                since
            }
            Open::Since(_) | Open::None | Open::Hidden => lagged,
        };
        bound = Some(clock(connection, guarded, at, &mut warnings).await?);
    }
    pause("after-bound").await;
    let digits = u32::try_from(guarded.column.type_modifier).unwrap_or(FRACTION_DIGITS);
    let held = hold(&order, None, bound, digits);
    warnings.push(match held.kind {
        Guard::Unguarded => format!(
            "no guard: rows committed late inside this window will be skipped; set extract.watermark.{}",
            guarded.watermark.value_type.lag_field()
        ),
        Guard::Exact | Guard::Waited | Guard::Lag if open == Open::Hidden => {
            "the guard is a fixed lag; GRANT PROCESS to the database user so that the run also detects \
             older transactions"
                .to_owned()
        }
        Guard::Exact | Guard::Waited | Guard::Lag => {
            "the guard is a lag, because MySQL does not show how long an open transaction has waited \
             for locks"
                .to_owned()
        }
    });
    warnings.extend(guarded.source_table.unproven.guard.as_ref().map(|why| {
        format!(
            "the guard uses this server's clock, which may differ from the clock that wrote these rows: \
             {why}"
        )
    }));
    Ok(Found { held, warnings })
}

async fn open_transactions(connection: &mut MySqlConnection) -> Result<Open, Failure> {
    run(connection, "read the server's clock", statements::SET_MACHINE_ZONE).await?;
    let found: Result<Option<i64>, _> =
        sqlx::query_scalar(statements::OPEN_SINCE).fetch_one(&mut *connection).await;
    run(connection, PIN, statements::SET_UTC).await?;
    match found {
        Ok(since) => Ok(since.map_or(Open::None, Open::Since)),
        Err(error) if number(&error) == Some(ACCESS_DENIED) => Ok(Open::Hidden),
        Err(error) => Err(database_failure("read open transactions", &error)),
    }
}

/// A moment in the zone that the column's values are read in: UTC for `timestamp`.
async fn clock(
    connection: &mut MySqlConnection,
    guarded: Guarded<'_>,
    at: i64,
    warnings: &mut Vec<String>,
) -> Result<Value, Failure> {
    if guarded.column.target != Target::TimestampTz {
        match &guarded.watermark.time_zone {
            Some(zone) => set_zone(connection, zone).await?,
            None => {
                let zone: String = sqlx::query_scalar(statements::SERVER_ZONE)
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|error| database_failure("read the server's time zone", &error))?;
                run(connection, "read the server's clock", statements::SET_SERVER_ZONE).await?;
                warnings.push(format!(
                    "watermark column {:?} has no time zone, so its values are read in the server's time \
                     zone {zone}; set extract.watermark.timeZone if its writers use another one",
                    guarded.column.name
                ));
            }
        }
    }
    let text: String = sqlx::query_scalar(statements::CLOCK_AT)
        .bind(at)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("read the database's clock", &error))?;
    run(connection, PIN, statements::SET_UTC).await?;
    watermark_extreme(guarded.watermark.value_type, &guarded.column.name, &text)
}

async fn set_zone(connection: &mut MySqlConnection, zone: &str) -> Result<(), Failure> {
    let set = sqlx::query(statements::SET_ZONE).bind(zone).execute(&mut *connection).await;
    match set {
        Ok(_) => Ok(()),
        Err(error) if number(&error) == Some(UNKNOWN_ZONE) => Err(Failure::permanent(
            Reason::InvalidSpec,
            "the database does not know the time zone of extract.watermark.timeZone",
            "Load the server's time zone tables (mysql_tzinfo_to_sql), or set an offset such as +01:00.",
        )),
        Err(error) => Err(database_failure("read the database's clock", &error)),
    }
}
