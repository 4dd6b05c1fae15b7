//! In: a session, `extract.where`. Out: the settings that it is read under, and whether the database
//! understands it. Bound: a few statements that read no row. Fails: `InvalidSpec`, and what a session may
//! fail with.

use crds::Reason;
use sqlx::{PgConnection, Row as _};
use worker_core::error::Failure;
use worker_core::filtering::{self, Settings};
use worker_core::plan::TableName;
use worker_core::rows::{self, statements};
use worker_core::selection;

use crate::database::Database;
use crate::sessions::{Login, database_failure, made};
use crate::{mysql, postgres};

/// What is done when settings are read or set.
const ACTION: &str = "read the settings of the database user";

/// The settings of a plain session of the database user that say what a condition means.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn settings(database: &mut Database, login: &Login) -> Result<Settings, Failure> {
    let engine = database.engine();
    let names = filtering::names(engine);
    let plain = match database {
        Database::Postgres(connection) => {
            postgres::sessions::begin(connection).await?;
            let found: Result<Vec<(String, String)>, _> =
                sqlx::query_as(statements::PLAIN_SETTINGS)
                    .bind(&names)
                    .fetch_all(&mut *connection)
                    .await;
            let found = found.map_err(|error| database_failure(ACTION, &error))?;
            postgres::sessions::commit(connection).await?;
            found.into_iter().collect()
        }
        Database::Mysql(_) => mysql::plain_settings(login, &names).await?,
    };
    filtering::adopt(engine, &plain)
}

/// Puts a session under these settings, for a statement that holds the condition.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn enter(database: &mut Database, settings: &Settings) -> Result<(), Failure> {
    match database {
        Database::Postgres(connection) => enter_here(connection, settings).await,
        Database::Mysql(connection) => {
            let Some(statement) = filtering::mysql_statement(settings)? else { return Ok(()) };
            let done = sqlx::raw_sql(made(statement)).execute(&mut **connection).await;
            done.map(|_| ()).map_err(|error| database_failure(ACTION, &error))
        }
    }
}

/// Takes [`enter`] back, for statements that name objects of the server's own. No user of MySQL can make
/// any, and its statements read alike under all of these settings.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn leave(database: &mut Database, settings: &Settings) -> Result<(), Failure> {
    match database {
        Database::Postgres(connection) => leave_here(connection, settings).await,
        Database::Mysql(_) => Ok(()),
    }
}

/// As [`enter`], of a transaction of Postgres.
///
/// # Errors
/// See the head of this file.
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

/// As [`leave`], of a transaction of Postgres.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn leave_here(
    connection: &mut PgConnection,
    settings: &Settings,
) -> Result<(), Failure> {
    enter_here(connection, &filtering::pinned(settings)).await
}

/// Whether the database understands a condition, and whether it means one thing.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn check(
    database: &mut Database,
    table: &TableName,
    filter: &str,
) -> Result<(), Failure> {
    selection::check_filter(filter)?;
    let statement = made(rows::filter_statement(database.engine(), table, filter));
    let answer = match database {
        Database::Postgres(connection) => {
            sqlx::query(statement).execute(&mut *connection).await.map(|_| ())
        }
        Database::Mysql(connection) => {
            sqlx::query(statement).execute(&mut **connection).await.map(|_| ())
        }
    };
    answer.map_err(|error| refused(&error))?;
    match database {
        Database::Postgres(connection) => one_meaning(connection, table, filter).await,
        Database::Mysql(_) => Ok(()),
    }
}

fn refused(error: &sqlx::Error) -> Failure {
    let failure = database_failure("try extract.where", error);
    let of_the_text = matches!(
        failure.report.reason,
        Reason::QueryFailed | Reason::ColumnNotFound | Reason::TableNotFound
    );
    if error.as_database_error().is_none() || !of_the_text {
        return failure;
    }
    Failure::permanent(
        Reason::InvalidSpec,
        format!("extract.where is refused: {}", failure.report.message),
        "correct it: a condition over columns of this table, in the database's own SQL, which \
         is true or false of each row",
    )
}

/// Some settings of the user's sessions cannot be asked for or adopted: the driver sets `DateStyle` when a
/// session begins, and `lc_monetary` prints values. So a condition must mean the same under each value.
async fn one_meaning(
    connection: &mut PgConnection,
    table: &TableName,
    filter: &str,
) -> Result<(), Failure> {
    let ours = meaning(connection, table, filter).await?;
    let ours = ours.ok_or_else(|| filtering::ambiguous(statements::DATE_ORDERS.0))?;
    let (setting, orders) = statements::DATE_ORDERS;
    for order in orders {
        let order = Settings::from([(setting.to_owned(), order.to_owned())]);
        enter_here(connection, &order).await?;
        if meaning(connection, table, filter).await?.as_ref() != Some(&ours) {
            return Err(filtering::ambiguous(setting));
        }
    }
    let (setting, pinned) = statements::MONEY;
    let plain = sqlx::raw_sql(statements::MONEY_PLAIN).execute(&mut *connection).await;
    plain.map_err(|error| database_failure(ACTION, &error))?;
    if meaning(connection, table, filter).await?.as_ref() != Some(&ours) {
        return Err(filtering::ambiguous(setting));
    }
    let pinned = Settings::from([(setting.to_owned(), pinned.to_owned())]);
    enter_here(connection, &pinned).await
}

/// How the database has read a condition; `None` where it does not understand it, and then the
/// transaction has failed.
async fn meaning(
    connection: &mut PgConnection,
    table: &TableName,
    filter: &str,
) -> Result<Option<Vec<String>>, Failure> {
    let statement = rows::filter_meaning_statement(table, filter);
    // not prepared: a prepared statement keeps the constants that it was first read with
    match sqlx::raw_sql(made(statement)).fetch_all(&mut *connection).await {
        Ok(rows) => {
            let lines = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>();
            lines.map(Some).map_err(|error| database_failure("try extract.where", &error))
        }
        Err(sqlx::Error::Database(_)) => Ok(None),
        Err(error) => Err(database_failure("try extract.where", &error)),
    }
}

/// Rows of the table that a condition leaves, by the planner; -1 where it has no number.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn estimate(
    database: &mut Database,
    table: &TableName,
    filter: &str,
) -> Result<i64, Failure> {
    let statement = rows::filtered_statement(database.engine(), table, filter);
    match database {
        Database::Postgres(connection) => {
            postgres::catalog::explained_rows(connection, format!("EXPLAIN {statement}")).await
        }
        Database::Mysql(connection) => mysql::catalog::filtered_rows(connection, statement).await,
    }
}
