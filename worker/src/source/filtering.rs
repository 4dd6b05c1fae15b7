//! In: a session, `extract.where`. Out: the settings that it is read under, and whether the database
//! understands it. Bound: a few statements that read no row. Fails: `InvalidSpec`, and what a session may
//! fail with.

use crds::Reason;
use crds::source::Engine;
use sqlx::{PgConnection, Row as _};
use worker_core::errors::failure::Failure;
use worker_core::planning::filtering::{self, Settings};
use worker_core::planning::plan::TableName;
use worker_core::planning::selection;
use worker_core::sql::rows::{self, statements};

use crate::source::condition::{ACTION, enter_here, leave_here};
use crate::source::database::Database;
use crate::source::errors::{database_failure, made};
use crate::source::login::Login;
use crate::source::mysql;
use crate::source::postgres;

/// The settings of a plain session of the database user that say what a condition means.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn settings(login: &Login, session: &str) -> Result<Settings, Failure> {
    let names = filtering::names(login.engine);
    let plain = match login.engine {
        Engine::Postgres => plain(login, session, &names).await?,
        Engine::Mysql => mysql::plain_settings(login, &names).await?,
    };
    filtering::adopt(login.engine, &plain)
}

/// Those of a session that begins as any other client's does, and ends before anything is planned.
async fn plain(login: &Login, session: &str, names: &[&str]) -> Result<Settings, Failure> {
    let mut connection = postgres::sessions::connect_plain(login, session).await?;
    let asked = ask(&mut connection, names).await;
    connection.close().await;
    asked.map_err(|error| database_failure(ACTION, &error))
}

async fn ask(connection: &mut PgConnection, names: &[&str]) -> Result<Settings, sqlx::Error> {
    let asked = sqlx::raw_sql(made(statements::plain_settings(names)));
    let mut settings = Settings::new();
    for row in asked.fetch_all(&mut *connection).await? {
        let (name, value): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        // an extension's setting that a pooler's session had pinned is empty until it is loaded
        let unset = |value: &String| name.contains('.') && value.is_empty();
        if let Some(value) = value.filter(|value| !unset(value)) {
            settings.insert(name, value);
        }
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

/// Whether the database understands a condition, and whether it means one thing.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn check(
    database: &mut Database,
    table: &TableName,
    (filter, settings): (&str, &Settings),
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
        Database::Postgres(connection) => {
            one_meaning(connection, table, filter).await?;
            enter_here(connection, settings).await
        }
        Database::Mysql(_) => Ok(()),
    }
}

fn refused(error: &sqlx::Error) -> Failure {
    let failure = database_failure("check extract.where", error);
    let of_the_text = matches!(
        failure.report.reason,
        Reason::QueryFailed | Reason::ColumnNotFound | Reason::TableNotFound
    );
    if error.as_database_error().is_none() || !of_the_text {
        return failure;
    }
    Failure::permanent(
        Reason::InvalidSpec,
        format!("the database refuses extract.where: {}", failure.report.message),
        "Correct extract.where: it must be a condition over columns of this table, in the SQL of the \
         database, that is true or false for each row.",
    )
}

/// A literal is read once, and its meaning is no longer to be seen in the plan: so dates and amounts of money
/// must mean the same under each value of `DateStyle` and `lc_monetary`. Those settings are others then.
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
    let as_plain = meaning(connection, table, filter).await?;
    let pinned = Settings::from([(setting.to_owned(), pinned.to_owned())]);
    enter_here(connection, &pinned).await?;
    if as_plain.as_ref() != Some(&ours) || meaning(connection, table, filter).await? != as_plain {
        return Err(filtering::ambiguous(setting));
    }
    Ok(())
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
                .map_err(|error| database_failure("check extract.where", &error))
        }
        Err(sqlx::Error::Database(_)) => Ok(None),
        Err(error) => Err(database_failure("check extract.where", &error)),
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
