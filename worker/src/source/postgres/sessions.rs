//! Sessions with Postgres: how they log in, what is pinned in them, and what its errors mean.

use std::time::Duration;

use crds::Reason;
use crds::source::{Engine, TlsMode};
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::{ConnectOptions, PgConnection, Row as _};
use worker_core::decoding::columns::Column;
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;
use worker_core::planning::plan::TableName;
use worker_core::settings::postgres as settings;
use worker_core::sql::rows::{self, statements};

use crate::source::errors::{database_failure, made, unreachable};
use crate::source::goodbye::{self, Opened};
use crate::source::login::Login;
use crate::source::postgres::relay::{self, Begins, ServerAccess};
use crate::source::postgres::scram;
use crate::source::secret::Secret;
use crate::source::timeouts::CONNECT_TIMEOUT;
use crate::source::tls::check_authorities;

/// What is done when settings are set.
const PIN: &str = "set the session's settings";
/// How long the first statement of a session that reads may take: a pooler lets it wait until
/// another partition has given its connection back.
const TURN_TIMEOUT: Duration = Duration::from_mins(2);

/// Connects. `application_name` is `tidemark/<run>/<index>` or `tidemark/<run>/coordinator`: the
/// guard leaves sessions of such names out.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn connect(
    login: &Login,
    application_name: &str,
) -> Result<Opened<PgConnection>, Failure> {
    check_authorities(login)?;
    within_time(log_in(login, application_name, Begins::Ours)).await
}

/// Connects as any other client does, so that the session has the settings of server, database and role.
/// Nothing is pinned in it.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn connect_plain(
    login: &Login,
    application_name: &str,
) -> Result<Opened<PgConnection>, Failure> {
    within_time(log_in(login, application_name, Begins::Plain)).await
}

async fn within_time<T>(connected: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let connected = Box::pin(connected);
    tokio::time::timeout(CONNECT_TIMEOUT, connected)
        .await
        .unwrap_or_else(|_| Err(unreachable("the database did not respond within 10 seconds")))
}

async fn log_in(
    login: &Login,
    application_name: &str,
    begins: Begins,
) -> Result<Opened<PgConnection>, Failure> {
    let password = login.password().await?;
    if begins == Begins::Plain || !scram::driver_takes(&login.username, password.reveal()) {
        return Ok(through_relay(login, &password, application_name, begins).await?.0);
    }
    open(options(login, application_name).password(password.reveal())).await
}

/// Connects through the relay. Returns the session, and access to its connection to the server.
///
/// # Errors
/// As [`database_failure`].
pub(super) async fn connect_with_access(
    login: &Login,
    application_name: &str,
) -> Result<(Opened<PgConnection>, ServerAccess), Failure> {
    check_authorities(login)?;
    within_time(async {
        let password = login.password().await?;
        through_relay(login, &password, application_name, Begins::Ours).await
    })
    .await
}

async fn through_relay(
    login: &Login,
    password: &Secret,
    application_name: &str,
    begins: Begins,
) -> Result<(Opened<PgConnection>, ServerAccess), Failure> {
    let (folder, access) = relay::to(login, password, begins).await?;
    let options = options(login, application_name).password(password.reveal());
    let opened = open(options.socket(folder).ssl_mode(PgSslMode::Disable)).await?;
    Ok((opened, access))
}

async fn open(options: PgConnectOptions) -> Result<Opened<PgConnection>, Failure> {
    let connected = goodbye::open(async move { options.connect().await }).await;
    connected.map_err(|error| database_failure("connect", &error))
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
    run(connection, PIN, statements::KEEP_ORDER).await
}

/// Begins a pinned transaction in which each statement sees what is committed by then.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn begin(connection: &mut PgConnection) -> Result<(), Failure> {
    pinned(connection, statements::BEGIN).await?;
    check_client(connection).await
}

/// Begins a pinned transaction that sees one snapshot, from its first query on.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn begin_snapshot(connection: &mut PgConnection) -> Result<(), Failure> {
    first(connection, statements::BEGIN_SNAPSHOT).await?;
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
            "Do not edit plan.json. Start another run.",
        )
    })?;
    first(connection, statements::BEGIN_SNAPSHOT).await?;
    let imported = sqlx::raw_sql(made(statement)).execute(&mut *connection).await;
    imported.map_err(|error| import_failure(&error))?;
    check_client(connection).await
}

/// Begins a transaction by one message that pins it too: between two of them the server may end the
/// session (`idle_in_transaction_session_timeout`).
///
/// # Errors
/// `SettingRefused`, and as [`database_failure`].
async fn pinned(connection: &mut PgConnection, begin: &str) -> Result<(), Failure> {
    let failed = |error| database_failure("begin a transaction", &error);
    let version = version(connection);
    let message = made(statements::pinned(version, begin));
    let rows = sqlx::raw_sql(message).fetch_all(&mut *connection).await.map_err(failed)?;
    for (name, row) in settings::shown(version).zip(&rows) {
        settings::check(name, row.try_get(0).map_err(failed)?)?;
    }
    Ok(())
}

/// The rows of one statement in a pinned transaction of its own: one message, with nothing prepared.
pub(crate) async fn ask(
    connection: &mut PgConnection,
    statement: &str,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let version = version(connection);
    let asked = sqlx::raw_sql(made(statements::alone(version, statement)));
    let mut rows = asked.fetch_all(&mut *connection).await?;
    rows.drain(..settings::shown(version).count().min(rows.len()));
    Ok(rows)
}

/// `server_version_num`; 0 where the server does not say.
fn version(connection: &PgConnection) -> u32 {
    connection.server_version_num().unwrap_or_default()
}

/// Lets the server end the transaction's statements soon after this process is gone, where it can.
async fn check_client(connection: &mut PgConnection) -> Result<(), Failure> {
    if connection.server_version_num().is_none_or(|it| it < statements::CHECKS_CLIENT_FROM) {
        return Ok(());
    }
    match sqlx::raw_sql(statements::CHECK_CLIENT).execute(&mut *connection).await {
        // the platform does not support it, or this user may not set it
        Err(sqlx::Error::Database(_)) => run(connection, PIN, statements::UNCHECKED_CLIENT).await,
        done => done.map(|_| ()).map_err(|error| database_failure(PIN, &error)),
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
async fn first(connection: &mut PgConnection, begin: &str) -> Result<(), Failure> {
    tokio::time::timeout(TURN_TIMEOUT, pinned(connection, begin))
        .await
        .unwrap_or_else(|_| Err(no_turn()))
}

/// No connection of a pool came free.
pub(crate) fn no_turn() -> Failure {
    Failure::transient(
        Reason::DatabaseUnreachable,
        "no session became available in time: the server is too busy, or all connections of a pooler in \
         front of it are in use",
        "Give the pool at least worker.parallelism + 2 connections for this database and user (PgBouncer: \
         pool_size), or set source.host and source.port to the server itself.",
    )
}

async fn run(
    connection: &mut PgConnection,
    action: &str,
    statement: &'static str,
) -> Result<(), Failure> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(|_| ()).map_err(|error| database_failure(action, &error))
}

/// `22023` (on Postgres 18 `42704`) and `0A000` of an import: the exporter is gone, or is on another node or database.
fn import_failure(error: &sqlx::Error) -> Failure {
    match code(error).as_deref() {
        Some("22023" | "42704" | "0A000") => Failure::transient(
            Reason::SnapshotLost,
            "the snapshot that all partitions share is lost",
            "Wait for the next attempt, which takes a new snapshot. If the error returns, make sure that \
             source.host always leads to the same server and that nothing ends idle sessions.",
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
        "Wait until TRUNCATE, VACUUM FULL or ALTER TABLE ends.",
    ))
}

fn code(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::login::tests::login;

    #[test]
    fn every_tls_mode_is_one_that_sqlx_verifies_or_none() {
        let mode = |tls| options(&Login { tls, ..login() }, "tidemark/x/0").get_ssl_mode();
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyFull)), PgSslMode::VerifyFull));
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyCa)), PgSslMode::VerifyCa));
        assert!(matches!(mode(Tls::Mode(TlsMode::InsecurePlaintext)), PgSslMode::Disable));
        // asked for by calls of the legacy job alone
        assert!(matches!(mode(Tls::Prefer), PgSslMode::Prefer));
    }
}
