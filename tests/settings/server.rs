//! A MariaDB of a test's own, and sessions of its superuser.

use anyhow::{Context, Result};
use harness::MariaDb;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection};

/// A session of the superuser.
pub(crate) async fn admin(server: &MariaDb, database: &str) -> Result<MySqlConnection> {
    let options = MySqlConnectOptions::new()
        .socket(&server.socket)
        .username("root")
        .database(database)
        .ssl_mode(MySqlSslMode::Disabled)
        .disable_statement_logging();
    options.connect().await.context("connect to a MariaDB of its own")
}

/// Statements of one message.
pub(crate) async fn say(admin: &mut MySqlConnection, sql: &str) -> Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(admin).await;
    done.map(|_| ()).with_context(|| sql.to_owned())
}
