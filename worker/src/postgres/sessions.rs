//! Sessions with Postgres: how they log in, what is pinned in them, and what its errors mean.

use std::time::Duration;

use crds::Reason;
use crds::source::{Engine, TlsMode};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSslMode};
use sqlx::{ConnectOptions, PgConnection};
use worker_core::columns::Column;
use worker_core::error::Failure;
use worker_core::moving::Tls;
use worker_core::plan::TableName;
use worker_core::rows::{self, statements};

use crate::postgres::pooler;
use crate::sessions::{CONNECT_TIMEOUT, Login, database_failure, made, no_room, unreachable};

/// How long the first statement of a session that reads may take: a pooler lets it wait until
/// another range has given its connection back.
const TURN_TIMEOUT: Duration = Duration::from_mins(2);

/// Logs in. `application_name` is `tidemark/<run>/<index>` or `tidemark/<run>/coordinator`: the
/// guard leaves sessions of such names out.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn connect(
    login: &Login,
    application_name: &str,
) -> Result<PgConnection, Failure> {
    let options = options(login, application_name).password(login.password().await?.reveal());
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(database_failure("connect", &error)),
        Err(_) => Err(unreachable("the database did not answer within 10 seconds")),
    }
}

fn options(login: &Login, application_name: &str) -> PgConnectOptions {
    let mode = match login.tls {
        Tls::Mode(TlsMode::VerifyFull) => PgSslMode::VerifyFull,
        Tls::Mode(TlsMode::VerifyCa) => PgSslMode::VerifyCa,
        Tls::Mode(TlsMode::InsecurePlaintext) => PgSslMode::Disable,
        Tls::Prefer => PgSslMode::Prefer,
    };
    let options = PgConnectOptions::new_without_pgpass()
        .host(&login.host)
        .port(login.port)
        .database(&login.database)
        .username(&login.username)
        .ssl_mode(mode)
        .application_name(application_name)
        // a pooler may refuse start-up settings that it does not know; ours are pinned later
        .extra_float_digits(None::<i8>)
        // the log would have the bounds as literals
        .disable_statement_logging();
    match &login.ca {
        Some(file) => options.ssl_root_cert(file),
        None => options,
    }
}

/// Rows come in their order on the disk from now on: those of a folder often lie together there.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn keep_order(connection: &mut PgConnection) -> Result<(), Failure> {
    run(connection, "pin the session", statements::KEEP_ORDER).await
}

/// Begins a pinned transaction in which each statement sees what is committed by then.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn begin(connection: &mut PgConnection) -> Result<(), Failure> {
    run(connection, "begin a transaction", statements::BEGIN).await?;
    run(connection, "pin the session", statements::PIN).await?;
    check_client(connection).await
}

/// Begins a pinned transaction that sees one snapshot, from its first query on.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn begin_snapshot(connection: &mut PgConnection) -> Result<(), Failure> {
    first(connection, statements::BEGIN_SNAPSHOT).await?;
    run(connection, "pin the session", statements::PIN).await?;
    check_client(connection).await
}

/// Begins a pinned transaction that sees the snapshot `id` of another session.
///
/// # Errors
/// `SnapshotLost`, and as [`database_failure`].
pub(crate) async fn import(connection: &mut PgConnection, id: &str) -> Result<(), Failure> {
    let statement = statements::import_snapshot(id).ok_or_else(|| {
        Failure::permanent(
            Reason::InvalidSpec,
            "the plan's snapshot id is malformed",
            "do not edit plan.json; start another run",
        )
    })?;
    first(connection, statements::BEGIN_SNAPSHOT).await?;
    sqlx::raw_sql(made(statement))
        .execute(&mut *connection)
        .await
        .map_err(|error| import_failure(&error))?;
    run(connection, "pin the session", statements::PIN).await?;
    check_client(connection).await
}

/// Lets the server end the transaction's statements soon after this process is gone, where it can.
async fn check_client(connection: &mut PgConnection) -> Result<(), Failure> {
    if connection.server_version_num().is_none_or(|it| it < statements::CHECKS_CLIENT_FROM) {
        return Ok(());
    }
    match sqlx::raw_sql(statements::CHECK_CLIENT).execute(&mut *connection).await {
        // the platform cannot tell, or the setting is not for this user
        Err(sqlx::Error::Database(_)) => {
            run(connection, "pin the session", statements::UNCHECKED_CLIENT).await
        }
        done => done.map(|_| ()).map_err(|error| database_failure("pin the session", &error)),
    }
}

/// Ends a transaction.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn commit(connection: &mut PgConnection) -> Result<(), Failure> {
    run(connection, "end a transaction", statements::COMMIT).await
}

/// The first statement of a session, which a pooler may let wait.
async fn first(connection: &mut PgConnection, statement: &'static str) -> Result<(), Failure> {
    let begun = run(connection, "begin a transaction", statement);
    tokio::time::timeout(TURN_TIMEOUT, begun).await.unwrap_or_else(|_| Err(pooler::no_turn()))
}

async fn run(
    connection: &mut PgConnection,
    action: &str,
    statement: &'static str,
) -> Result<(), Failure> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(|_| ()).map_err(|error| database_failure(action, &error))
}

/// `22023` and `0A000` of an import: the exporter is gone, or is on another node or database.
fn import_failure(error: &sqlx::Error) -> Failure {
    match code(error).as_deref() {
        Some("22023" | "0A000") => Failure::transient(
            Reason::SnapshotLost,
            "the snapshot that all ranges share is gone",
            "the next attempt takes a new one; if it happens again, make sure that source.host \
             always leads to the same server and that nothing ends idle sessions",
        ),
        _ => database_failure("import the snapshot", error),
    }
}

/// How often a snapshot is taken anew because the table was rewritten before it was locked.
const SNAPSHOTS_MAX: u32 = 3;

/// Begins the transaction that holds the snapshot, and locks the table by a query on it. The
/// snapshot is older than the lock, so it is taken anew if the table was rewritten in between.
pub(crate) async fn take_snapshot(
    connection: &mut PgConnection,
    table: &TableName,
    columns: &[Column],
) -> Result<(), Failure> {
    for _ in 0..SNAPSHOTS_MAX {
        begin_snapshot(connection).await?;
        let hold = rows::hold_statement(Engine::Postgres, columns, table, true);
        sqlx::query(made(hold))
            .fetch_optional(&mut *connection)
            .await
            .map_err(|error| database_failure("open the table", &error))?;
        let rewritten: bool = sqlx::query_scalar(statements::REWRITTEN)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| database_failure("check the table's lock", &error))?;
        if !rewritten {
            return Ok(());
        }
        commit(connection).await?;
    }
    Err(Failure::transient(
        Reason::DatabaseFailed,
        "the table was rewritten each time a snapshot was taken",
        "let TRUNCATE, VACUUM FULL or ALTER TABLE end first",
    ))
}

fn code(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
}

/// What an answer of the server means.
pub(crate) fn server_failure(action: &str, answer: &dyn sqlx::error::DatabaseError) -> Failure {
    let code = answer.code().unwrap_or_default().into_owned();
    let permanent = |reason, what: &str, remedy: &str| {
        Failure::permanent(reason, format!("{action}: {what}"), remedy)
    };
    match code.as_str() {
        "28P01" | "28000" => permanent(
            Reason::CredentialsRejected,
            "the database refuses the user, its password, or this kind of connection",
            "check the Secret of source.credentials.secretRef (of rdsIam: rds-db:connect, the grant of rds_iam, the region), \
             the server's pg_hba.conf and source.tls",
        ),
        "3D000" => permanent(
            Reason::DatabaseNotFound,
            "there is no such database",
            "correct source.database",
        ),
        "42P01" => {
            permanent(Reason::TableNotFound, "there is no such table", "correct extract.table")
        }
        "42703" => permanent(
            Reason::ColumnNotFound,
            "a column is gone",
            "check the table's columns, then start another run",
        ),
        "42501" if hides_rows(answer) => permanent(
            Reason::DatabaseDenied,
            "row level security would hide rows from the database user",
            "use a user with BYPASSRLS, or one that no policy of the table applies to",
        ),
        "42501" => permanent(
            Reason::DatabaseDenied,
            "the database user may not read the table or one of its columns",
            "GRANT USAGE on the schema and SELECT on the table to the database user",
        ),
        "55P03" => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: another session holds the table exclusively"),
            "wait until it has ended, or end it",
        ),
        "22021" | "22P05" => permanent(
            Reason::DecodeFailed,
            "a text of the table cannot be said in UTF-8, and the server does not say in which column",
            "correct the text, or convert the database from SQL_ASCII to UTF8",
        ),
        // what poolers say in words of their own; the server itself hardly ever says it
        "08P01" => match answer.message() {
            "query_wait_timeout" => pooler::no_turn(),
            text if text.starts_with("transaction blocks not allowed") => pooler::mixes(),
            _ => Failure::transient(
                Reason::DatabaseFailed,
                format!(
                    "{action}: the database, or a pooler before it, answered with SQLSTATE {code}"
                ),
                "look into the log of the pooler, and of the server",
            ),
        },
        "53100" | "53400" => no_room(action),
        "53300" | "57P03" => unreachable(&format!(
            "{action}: the server takes no further connection now (SQLSTATE {code})"
        )),
        _ => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: the database answered with SQLSTATE {code}"),
            "look into the server's log",
        ),
    }
}

/// Whether a denial is that of `row_security = off`; by the function that raised it, since the
/// message is translated.
fn hides_rows(answer: &dyn sqlx::error::DatabaseError) -> bool {
    answer
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|answer| answer.routine() == Some("check_enable_rls"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::tests::login;

    #[test]
    fn every_tls_mode_is_one_that_sqlx_verifies_or_none() {
        let mode = |tls| options(&Login { tls, ..login() }, "tidemark/x/0").get_ssl_mode();
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyFull)), PgSslMode::VerifyFull));
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyCa)), PgSslMode::VerifyCa));
        assert!(matches!(mode(Tls::Mode(TlsMode::InsecurePlaintext)), PgSslMode::Disable));
        // asked for by calls of the replaced job alone
        assert!(matches!(mode(Tls::Prefer), PgSslMode::Prefer));
    }
}
