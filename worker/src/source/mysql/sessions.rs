//! Sessions with MySQL through the driver: how they log in, what is pinned in them, and what the
//! server's errors mean.

use std::collections::BTreeMap;

use crds::source::{Engine, TlsMode};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode};
use sqlx::{ConnectOptions, MySqlConnection, Row as _};
use worker_core::errors::failure::Failure;
use worker_core::errors::mysql::CONNECT;
pub(super) use worker_core::errors::mysql::PIN;
use worker_core::migration::Tls;
use worker_core::settings::mysql as settings;
use worker_core::sql::rows::{self, mysql_statements as statements};

use super::relay;
use crate::source::errors::{database_failure, made, unreachable};
use crate::source::goodbye::{self, Opened};
use crate::source::login::Login;
use crate::source::table::SourceTable;
use crate::source::timeouts::CONNECT_TIMEOUT;
use crate::source::tls::check_authorities;

/// Connects and pins the session.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn connect(login: &Login) -> Result<Opened<MySqlConnection>, Failure> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, Box::pin(log_in(login))).await;
    connected.unwrap_or_else(|_| Err(unreachable("the database did not respond within 10 seconds")))
}

async fn log_in(login: &Login) -> Result<Opened<MySqlConnection>, Failure> {
    check_authorities(login)?;
    let password = login.password().await?;
    let mut options = options(login);
    // the digest of an empty password is not what an account without one expects
    if !password.reveal().is_empty() {
        options = options.password(password.reveal());
    }
    if !login.shows_password() {
        options = options.socket(relay::to(login).await?);
    }
    let connected = goodbye::open(async move { options.connect().await }).await;
    let mut connection = connected.map_err(|error| database_failure(CONNECT, &error))?;
    pin(&mut connection).await?;
    // the connection may have been led to another one (init_connect)
    let own = format!("USE {}", rows::quote(Engine::Mysql, &login.database));
    say(&mut connection, SELECT_DATABASE, own).await?;
    Ok(connection)
}

/// The server's version, in its own words.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn version(connection: &mut MySqlConnection) -> Result<String, Failure> {
    let asked = sqlx::query_scalar(statements::VERSION).fetch_one(connection).await;
    asked.map_err(|error| database_failure("read the server version", &error))
}

/// Limits how long each statement of a session that plans may take.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn limit(connection: &mut MySqlConnection, seconds: i64) -> Result<(), Failure> {
    let limit = made(statements::limit_planning(&version(connection).await?, seconds));
    let set = sqlx::raw_sql(limit).execute(connection).await;
    set.map(|_| ()).map_err(|error| database_failure(PIN, &error))
}

/// Pins what the session has inherited.
async fn pin(connection: &mut MySqlConnection) -> Result<(), Failure> {
    say(connection, PIN, settings::first()).await?;
    for statement in settings::BEGUN {
        say(connection, PIN, statement.to_owned()).await?;
    }
    let failed = |error| database_failure(PIN, &error);
    let shown = sqlx::raw_sql(made(settings::show())).fetch_all(&mut *connection).await;
    let mut known = BTreeMap::new();
    for row in shown.map_err(failed)? {
        let text = |index| row.try_get_unchecked::<String, _>(index).map_err(failed);
        known.insert(text(0)?.to_lowercase(), text(1)?);
    }
    say(connection, PIN, settings::then(&known)?).await?;
    match sqlx::raw_sql(settings::CLOCK).execute(connection).await {
        Err(error) if number(&error).is_some_and(clock_is_fixed) => Ok(()),
        done => done.map(|_| ()).map_err(failed),
    }
}

async fn say(
    connection: &mut MySqlConnection,
    action: &str,
    statement: String,
) -> Result<(), Failure> {
    let done = sqlx::raw_sql(made(statement)).execute(connection).await;
    done.map(|_| ()).map_err(|error| database_failure(action, &error))
}

/// What is done when a session goes to the database of `source.database`.
pub(super) const SELECT_DATABASE: &str = "select the database";

/// Whether an error says that nobody, or not this user, may set the session's clock.
pub(super) fn clock_is_fixed(number: u16) -> bool {
    const OPTION_FORBIDS: u16 = 1290;
    matches!(number, OPTION_FORBIDS | ACCESS_DENIED)
}

fn options(login: &Login) -> MySqlConnectOptions {
    let mode = match login.tls {
        Tls::Mode(TlsMode::VerifyFull) => MySqlSslMode::VerifyIdentity,
        Tls::Mode(TlsMode::VerifyCa) => MySqlSslMode::VerifyCa,
        Tls::Mode(TlsMode::InsecurePlaintext) => MySqlSslMode::Disabled,
        Tls::Prefer => MySqlSslMode::Preferred,
    };
    let options = MySqlConnectOptions::new()
        .host(&login.host)
        .port(login.port)
        .database(&login.database)
        .username(&login.username)
        .ssl_mode(mode)
        .enable_cleartext_plugin(login.shows_password())
        // all that is set is set by our own pins
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        // the log would have the bounds as literals
        .disable_statement_logging();
    match &login.ca {
        Some(file) => options.ssl_ca(file),
        None => options,
    }
}

pub(super) async fn run(
    connection: &mut MySqlConnection,
    action: &str,
    statement: &'static str,
) -> Result<(), Failure> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(|_| ()).map_err(|error| database_failure(action, &error))
}

/// Begins the transaction in which the window is planned, by a query on all columns.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn take_snapshot(
    connection: &mut MySqlConnection,
    source_table: &SourceTable,
) -> Result<(), Failure> {
    begin_snapshot(connection).await?;
    let hold = rows::hold_statement(
        Engine::Mysql,
        &source_table.columns,
        source_table.table(),
        source_table.named,
    );
    let opened = sqlx::query(made(hold)).fetch_optional(&mut *connection).await;
    opened.map(|_| ()).map_err(|error| database_failure("open the table", &error))
}

/// Begins a transaction whose reads see one snapshot.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn begin_snapshot(connection: &mut MySqlConnection) -> Result<(), Failure> {
    run(connection, "begin a transaction", statements::BEGIN_SNAPSHOT).await
}

/// Error of a statement that needs a privilege of the whole server.
pub(super) const ACCESS_DENIED: u16 = 1227;

/// The number of a server's error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    error
        .as_database_error()?
        .try_downcast_ref::<MySqlDatabaseError>()
        .map(MySqlDatabaseError::number)
}

/// Ends a transaction.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn commit(connection: &mut MySqlConnection) -> Result<(), Failure> {
    run(connection, "end a transaction", statements::COMMIT).await
}

#[cfg(test)]
mod tests {
    use crds::Reason;

    use super::*;
    use crate::source::login::tests::login;
    use crate::source::mysql::login::tests::{CLEAR, NATIVE, hostile};
    use crate::source::tokens::TokenSigner;

    #[test]
    fn every_tls_mode_is_one_that_the_driver_verifies_or_none() {
        let mode = |tls| options(&Login { tls, ..login() }).get_ssl_mode();
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyFull)), MySqlSslMode::VerifyIdentity));
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyCa)), MySqlSslMode::VerifyCa));
        assert!(matches!(mode(Tls::Mode(TlsMode::InsecurePlaintext)), MySqlSslMode::Disabled));
        assert!(matches!(mode(Tls::Prefer), MySqlSslMode::Preferred));
    }

    #[tokio::test]
    async fn the_driver_never_sends_a_password_in_clear_text() {
        for way in [NATIVE, CLEAR] {
            let (port, serving) = hostile(way);
            let tls = Tls::Mode(TlsMode::InsecurePlaintext);
            let login = Login { host: "127.0.0.1".to_owned(), port, tls, ..login() };
            let failure = connect(&login).await.expect_err("refused");
            assert_eq!(failure.report.reason, Reason::CredentialsRejected, "{failure}");
            assert!(failure.report.message.contains("mysql_clear_password"), "{failure}");
            let said = tokio::task::spawn_blocking(|| serving.join()).await;
            let said = said.expect("no panic").expect("served");
            let password = login.password.reveal().as_bytes();
            assert!(!said.windows(password.len()).any(|part| part == password), "{said:?}");
            assert_eq!(said.is_empty(), way == CLEAR, "{said:?}");
        }
    }

    #[test]
    fn the_driver_shows_a_token_alone() {
        // it keeps the setting to itself, and prints it
        let shows = |login: &Login| {
            format!("{:?}", options(login)).contains("enable_cleartext_plugin: true")
        };
        let token = Login { token_signer: Some(TokenSigner::of_tests()), ..login() };
        assert!(shows(&token) && !shows(&login()));
        assert!(!shows(&Login { tls: Tls::Mode(TlsMode::InsecurePlaintext), ..token }));
    }
}
