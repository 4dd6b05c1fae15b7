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
            plain(connection, &names).await.map_err(|error| database_failure(ACTION, &error))?
        }
        Database::Mysql(_) => mysql::plain_settings(login, &names).await?,
    };
    filtering::adopt(engine, &plain)
}

async fn plain(connection: &mut PgConnection, names: &[&str]) -> Result<Settings, sqlx::Error> {
    let asked = sqlx::raw_sql(made(statements::plain_settings(names)));
    let mut settings = Settings::new();
    for row in asked.fetch_all(&mut *connection).await? {
        let (name, value): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        // an extension's setting that was pinned before, and is not set, is empty until it is loaded
        let unset = |value: &String| name.contains('.') && value.is_empty();
        if let Some(value) = value.filter(|value| !unset(value)) {
            settings.insert(name, value);
        }
    }
    let style = postgres::sessions::ask(connection, statements::PLAIN_DATE_STYLE).await?;
    if let Some(row) = style.first() {
        settings.insert(statements::DATE_ORDERS.0.to_owned(), row.try_get(0)?);
    }
    Ok(settings)
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

/// Takes [`enter`] back, for statements without the condition. Of MySQL it is `sql_mode` that they depend on.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn leave(database: &mut Database, settings: &Settings) -> Result<(), Failure> {
    match database {
        Database::Postgres(connection) => leave_here(connection, settings).await,
        Database::Mysql(_) if settings.is_empty() => Ok(()),
        Database::Mysql(connection) => {
            let done = sqlx::raw_sql(PINNED_MODE).execute(&mut **connection).await;
            done.map(|_| ()).map_err(|error| database_failure(ACTION, &error))
        }
    }
}

/// The pin of `sql_mode`.
const PINNED_MODE: &str = "SET SESSION sql_mode = ''";

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
            sqlx::query(statement).execute(&mut **connection).await.map(|_| ())
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
            let lines = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>();
            // the conditions alone: which index is used may change meanwhile
            let conditions = |line: &String| line.contains("Filter: ") || line.contains("Cond: ");
            lines
                .map(|lines| Some(lines.into_iter().filter(conditions).collect()))
                .map_err(|error| database_failure("try extract.where", &error))
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
