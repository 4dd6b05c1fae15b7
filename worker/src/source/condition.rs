//! The settings under which a session reads `extract.where`.

use sqlx::PgConnection;
use worker_core::errors::failure::Failure;
use worker_core::planning::filtering::{self, Settings};
use worker_core::sql::rows::statements;

use crate::source::errors::database_failure;

/// What is done when the settings of a plain session are read, or are set for the condition.
pub(crate) const ACTION: &str = "use the database user's settings for extract.where";

/// Sets them for the rest of a transaction of Postgres.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn enter_here(
    connection: &mut PgConnection,
    settings: &Settings,
) -> Result<(), Failure> {
    if settings.is_empty() {
        return Ok(());
    }
    let (names, values): (Vec<_>, Vec<_>) = settings.iter().unzip();
    let set = sqlx::query(statements::SET_LOCAL).bind(names).bind(values);
    set.execute(connection).await.map(|_| ()).map_err(|error| database_failure(ACTION, &error))
}

/// Sets the pinned ones again.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn leave_here(
    connection: &mut PgConnection,
    settings: &Settings,
) -> Result<(), Failure> {
    enter_here(connection, &filtering::pinned(settings)).await
}
