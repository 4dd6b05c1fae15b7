//! What a guard finds, and the clock that it reads.

use sqlx::PgConnection;
use sqlx::postgres::types::Oid;
use worker_core::errors::failure::Failure;
use worker_core::planning::tables::watermark_extreme;
use worker_core::planning::watermark::Value;
use worker_core::planning::window::ServerFacts;
use worker_core::sql::rows::statements;

use crate::source::errors::database_failure;
use crate::source::postgres::sessions::{begin, commit};
use crate::source::table::Guarded;

/// Seconds that a session may need from the moment that becomes its `now()` until its transaction
/// can be seen; [`statements::EXACT_CLOCK`] leaves the same.
pub(super) const START_S: i64 = 1;

/// What a step came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// The bound; `None`: the time was over, or a session shows no start.
    pub(super) found: Option<Value>,
    /// Whether it is the type's least, since a prepared transaction stayed open.
    pub(super) held_back: bool,
    /// Whether the column's sequence is below the column's maximum.
    pub(super) behind: bool,
}

impl Bound {
    /// A bound that was found, or not.
    pub(super) const fn of(found: Option<Value>) -> Self {
        Self { found, held_back: false, behind: false }
    }
}

/// What the server can prove of the table.
pub(super) struct Facts {
    pub(super) server: ServerFacts,
    /// The sequence that gives the column its numbers.
    pub(super) sequence: Option<Oid>,
    /// Why the rows are not written by transactions that the server shows.
    pub(super) why: Option<String>,
}

/// A `date` column gets the day that is running.
pub(super) fn read_clock(guarded: Guarded<'_>, text: &str) -> Result<Value, Failure> {
    watermark_extreme(guarded.watermark.value_type, &guarded.column.name, text)
}

/// The clock of the database, `lag_s` seconds ago.
pub(super) async fn lag_clock(
    connection: &mut PgConnection,
    zone: &str,
    lag_s: i64,
    guarded: Guarded<'_>,
) -> Result<Value, Failure> {
    begin(connection).await?;
    #[expect(clippy::cast_precision_loss, reason = "a lag is at most 30 days in seconds")]
    let text: String = sqlx::query_scalar(statements::LAG_CLOCK)
        .bind(zone)
        .bind(lag_s as f64)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("read the database's clock", &error))?;
    commit(connection).await?;
    read_clock(guarded, &text)
}
