//! What keeps a window's end below rows that are not committed yet: a distance from the server's
//! clock. Its catalog of open transactions may prove more; until a test shows it, nothing is said
//! to be proven here.

use crds::Reason;
use crds::tracking::Guard;
use sqlx::MySqlConnection;
use worker_core::bounds::watermark_extreme;
use worker_core::columns::Target;
use worker_core::error::Failure;
use worker_core::rows::mysql_statements as statements;
use worker_core::watermark::Value;
use worker_core::window::{ServerFacts, guard_order, hold};

use super::sessions::run;
use crate::bounds::Pause;
use crate::database::{Found, Guarded};
use crate::sessions::database_failure;

/// Digits after the second of a `datetime` that does not say.
const FRACTION_DIGITS: u32 = 0;
/// Error of a zone that the server does not know.
const UNKNOWN_ZONE: u16 = 1298;

/// Reads the clock less the lag.
pub(crate) async fn seek(
    connection: &mut MySqlConnection,
    guarded: Guarded<'_>,
    pause: Pause<'_>,
) -> Result<Found, Failure> {
    let nothing = ServerFacts { replica: true, sees_starts: false, own_sequence: false };
    let order = guard_order(guarded.watermark, nothing);
    let mut warnings = Vec::new();
    pause("before-bound").await;
    let clock = if guarded.watermark.value_type.is_time() {
        Some(clock(connection, guarded, order.lag.unwrap_or(0), &mut warnings).await?)
    } else {
        None
    };
    pause("after-bound").await;
    let digits = u32::try_from(guarded.column.type_modifier).unwrap_or(FRACTION_DIGITS);
    let held = hold(&order, None, clock, digits);
    warnings.push(
        match held.kind {
            Guard::Unguarded => {
                "no guard: rows that are committed late may be missed; set extract.watermark.lag"
            }
            Guard::Exact | Guard::Waited | Guard::Lag => {
                "guard is a fixed lag: MySQL's open transactions are not asked for"
            }
        }
        .to_owned(),
    );
    Ok(Found { held, warnings })
}

/// The clock in the zone that the column's values are read in: UTC for `timestamp`.
async fn clock(
    connection: &mut MySqlConnection,
    guarded: Guarded<'_>,
    lag_s: i64,
    warnings: &mut Vec<String>,
) -> Result<Value, Failure> {
    if guarded.column.target != Target::TimestampTz {
        match &guarded.watermark.time_zone {
            Some(zone) => set_zone(connection, zone).await?,
            None => {
                let zone: String = sqlx::query_scalar(statements::SERVER_ZONE)
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|error| database_failure("ask for the server's zone", &error))?;
                run(connection, "read the server's clock", statements::SET_SERVER_ZONE).await?;
                warnings.push(format!(
                    "watermark column {:?} has no zone; its clock is read in the server's own, \
                     {zone}: set extract.watermark.timeZone if its writers use another",
                    guarded.column.name
                ));
            }
        }
    }
    let text: String = sqlx::query_scalar(statements::LAG_CLOCK)
        .bind(lag_s)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("read the database's clock", &error))?;
    run(connection, "pin the session", statements::SET_UTC).await?;
    watermark_extreme(guarded.watermark.value_type, &guarded.column.name, &text)
}

async fn set_zone(connection: &mut MySqlConnection, zone: &str) -> Result<(), Failure> {
    let set = sqlx::query(statements::SET_ZONE).bind(zone).execute(&mut *connection).await;
    match set {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(answer)) if is_unknown_zone(answer.as_ref()) => {
            Err(Failure::permanent(
                Reason::InvalidSpec,
                "the database does not know the zone of extract.watermark.timeZone",
                "load the server's time zone tables (mysql_tzinfo_to_sql), or give an offset such \
                 as +01:00",
            ))
        }
        Err(error) => Err(database_failure("read the database's clock", &error)),
    }
}

fn is_unknown_zone(answer: &dyn sqlx::error::DatabaseError) -> bool {
    answer
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .is_some_and(|answer| answer.number() == UNKNOWN_ZONE)
}
