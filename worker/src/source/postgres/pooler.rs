//! In: the session that plans. Out: nothing, where it is one of the server's own from its first
//! statement to its last, and a second one is to be had. Bound: [`LOOKS`] questions to each of two
//! sessions. Fails: `PoolerUnsupported`, `DatabaseUnreachable`, and as
//! [`crate::source::errors::database_failure`].
//!
//! A pooler answers as the server would. One that pools sessions is as good as the server; one that
//! pools transactions or statements mixes the prepared statements of its clients. So two
//! sessions are asked in turn which of the server's they are. Between two statements such a pooler
//! has a session free again: it gives both clients the one that was used last (so PgBouncer, unless
//! told otherwise), or each another one every time. Sessions of our own are two, and stay what they are.

use std::time::Duration;

use crds::Reason;
use sqlx::{PgConnection, Row as _};
use worker_core::errors::failure::Failure;
use worker_core::sql::rows::statements;

use crate::source::errors::database_failure;
use crate::source::login::Login;
use crate::source::postgres::sessions::{ask, connect, no_turn};

/// How often both sessions are asked: by then a pooler that mixes sessions has done so, with any
/// other traffic.
const LOOKS: usize = 5;
/// How long a pooler may take to find a connection for a session.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether sessions are sessions.
pub(crate) async fn check(
    connection: &mut PgConnection,
    login: &Login,
    application_name: &str,
) -> Result<(), Failure> {
    let mine = turn(connection).await?;
    let mut other = connect(login, application_name).await?;
    let compared = compare(&mine, connection, &mut other).await;
    other.close().await;
    compared
}

async fn compare(
    mine: &str,
    connection: &mut PgConnection,
    other: &mut PgConnection,
) -> Result<(), Failure> {
    let its = turn(other).await?;
    for _ in 0..LOOKS {
        if mine == its || turn(connection).await? != mine || turn(other).await? != its {
            return Err(mixes());
        }
    }
    Ok(())
}

/// Which session of the server answers, by one message that needs nothing prepared.
async fn turn(connection: &mut PgConnection) -> Result<String, Failure> {
    let failed = |error| database_failure("read which server session is in use", &error);
    let asked = ask(connection, statements::SESSION);
    match tokio::time::timeout(TURN_TIMEOUT, asked).await {
        Ok(rows) => {
            let row = rows.and_then(|rows| rows.into_iter().next().ok_or(sqlx::Error::RowNotFound));
            row.and_then(|row| row.try_get(0)).map_err(failed)
        }
        Err(_) => Err(no_turn()),
    }
}

/// Statements of one client go to several sessions of the server.
pub(crate) fn mixes() -> Failure {
    Failure::permanent(
        Reason::PoolerUnsupported,
        "a connection pooler in front of the database does not give each client its own session (PgBouncer: \
         pool_mode transaction or statement)",
        "Set source.host and source.port to the server itself, or to a pool with pool_mode = session and at \
         least worker.parallelism + 2 connections.",
    )
}
