//! In: a session that waits for its server. Out: nothing while the server works on the statement.
//! Bound: one question each time the session was silent for so long. Fails: `DatabaseUnreachable`
//! once the server has nothing to do for the session, or nothing can be asked.
//!
//! A statement may take hours before its first row, so silence alone says nothing; and where a
//! firewall or pooler dropped the connection without a word, it would be waited on for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crds::Reason;
use sqlx::{MySqlConnection, PgConnection, Row as _};
use worker_core::error::Failure;
use worker_core::rows::{mysql_statements, statements};

use crate::source::second::{Reached, reach};
use crate::source::sessions::{CONNECT_TIMEOUT, Login, database_failure, unreachable};

/// Answers without sense in a row, after which the session is given up.
const LOOKS: usize = 2;
/// How long the question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// The server's name for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A process of one server of Postgres: behind one name there may be replicas.
    Postgres {
        /// Its number there, and its start.
        session: String,
        /// Address and port of the server, and its start.
        server: String,
    },
    /// A connection of one server of MySQL or MariaDB: behind one name there may be several.
    Mysql {
        /// Its number there.
        number: u64,
        /// Host and port as the server itself calls them.
        server: String,
    },
}

impl Backend {
    /// The server that the session is one of.
    pub(crate) fn server(&self) -> &str {
        match self {
            Self::Postgres { server, .. } | Self::Mysql { server, .. } => server,
        }
    }
}

/// What a session has asked its server for, and got. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    got: AtomicU64,
}

impl Progress {
    /// Of a session that asks one thing after another, all of which are short of words.
    pub fn waiting() -> Self {
        let progress = Self::default();
        progress.asks();
        progress
    }

    /// The session waits for the server from now on.
    pub fn asks(&self) {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// The server has said something.
    pub fn gets(&self) {
        self.0.got.fetch_add(1, Ordering::Relaxed);
    }

    /// How much was got, where the session waits for more; `None` where the server waits for it.
    fn waits(&self) -> Option<u64> {
        let got = self.0.got.load(Ordering::Relaxed);
        (self.0.asked.load(Ordering::Relaxed) > got).then_some(got)
    }
}

/// What the server says of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// It works for it.
    Works,
    /// Only other servers were reached, which cannot know: taken as if it worked.
    Elsewhere,
    /// It waits for the session's next statement, or for it to take rows: since when.
    Waits(String),
    /// It has no such session.
    Gone,
    /// Nothing, since it cannot be asked.
    Nothing,
}

/// The server's name for a session of Postgres that is in a pinned transaction.
///
/// # Errors
/// As [`database_failure`].
pub async fn postgres_backend(connection: &mut PgConnection) -> Result<Backend, Failure> {
    let named = sqlx::query_as(statements::BACKEND).fetch_one(connection);
    in_time(named).await.map(|(session, server)| Backend::Postgres { session, server })
}

/// The same of one that is in no transaction.
///
/// # Errors
/// As [`database_failure`].
pub async fn postgres_backend_alone(connection: &mut PgConnection) -> Result<Backend, Failure> {
    let asked = async {
        let rows = crate::source::postgres::sessions::ask(connection, statements::BACKEND).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    };
    in_time(asked).await.map(|(session, server)| Backend::Postgres { session, server })
}

/// The server's name for a session of MySQL or MariaDB.
///
/// # Errors
/// As [`database_failure`].
pub async fn mysql_backend(connection: &mut MySqlConnection) -> Result<Backend, Failure> {
    let named = sqlx::query_as(mysql_statements::BACKEND).fetch_one(connection);
    in_time(named).await.map(|(number, server)| Backend::Mysql { number, server })
}

async fn in_time<T>(asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(CONNECT_TIMEOUT, asking).await {
        Ok(answer) => {
            answer.map_err(|error| database_failure("ask for the session's name", &error))
        }
        Err(_) => Err(unreachable("the database did not answer within 10 seconds")),
    }
}

/// Returns once the session is lost: the connection has to be closed then.
pub async fn lost(login: &Login, backend: Backend, progress: &Progress) -> Failure {
    let mut bad: Vec<Said> = Vec::new();
    let mut before = progress.waits();
    loop {
        tokio::time::sleep(login.silence).await;
        let now = progress.waits();
        if now.is_none() || now != before {
            (before, bad) = (now, Vec::new());
            continue;
        }
        let said = ask(login, &backend).await;
        tracing::warn!(?said, silence_s = login.silence.as_secs(), "the database is silent");
        bad = judged(bad, said);
        if bad.len() >= LOOKS {
            return Failure::transient(
                Reason::DatabaseUnreachable,
                "the database has stopped answering in the middle of a statement",
                "the next attempt connects anew; if it happens again, look for what drops \
                 connections between pods and database (a firewall, a proxy, a pooler)",
            );
        }
    }
}

/// Looks in a row that make no sense for a session that waits: the server waits too, all the time.
fn judged(mut bad: Vec<Said>, said: Said) -> Vec<Said> {
    let other_pause = matches!((bad.last(), &said), (Some(Said::Waits(earlier)), Said::Waits(now)) if earlier != now);
    let works = matches!(said, Said::Works | Said::Elsewhere);
    if works || other_pause {
        bad.clear();
    }
    if !works {
        bad.push(said);
    }
    bad
}

async fn ask(login: &Login, backend: &Backend) -> Said {
    let others = AtomicBool::new(false);
    let look = async {
        let mut second = match reach(login, backend, &others).await {
            Reached::Same(second) => second,
            Reached::Elsewhere => return Said::Elsewhere,
            Reached::Nothing => return Said::Nothing,
        };
        let works = second.works(backend).await;
        second.close().await;
        works.map_or(Said::Nothing, said)
    };
    let late = |_| if others.load(Ordering::Relaxed) { Said::Elsewhere } else { Said::Nothing };
    tokio::time::timeout(ASK_TIMEOUT, look).await.unwrap_or_else(late)
}

fn said(row: Option<(bool, String)>) -> Said {
    match row {
        None => Said::Gone,
        Some((true, _)) => Said::Works,
        Some((false, since)) => Said::Waits(since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(said: &[Said]) -> usize {
        said.iter().cloned().fold(Vec::new(), judged).len()
    }

    fn waits(since: &str) -> Said {
        Said::Waits(since.to_owned())
    }

    #[test]
    fn a_server_that_works_is_waited_for() {
        assert_eq!(looks(&[waits("1"), Said::Works, Said::Works]), 0);
        assert_eq!(looks(&[Said::Nothing, Said::Works, waits("1")]), 1);
        assert_eq!(looks(&[Said::Gone, Said::Elsewhere, Said::Elsewhere]), 0);
    }

    #[test]
    fn a_server_between_two_statements_is_not_one_that_has_stopped() {
        assert_eq!(looks(&[waits("1"), waits("2"), waits("3")]), 1);
        assert_eq!(looks(&[waits("1"), waits("1")]), 2);
    }

    #[test]
    fn a_server_that_is_gone_or_cannot_be_asked_has_stopped() {
        assert_eq!(looks(&[Said::Nothing, Said::Gone]), 2);
    }

    #[test]
    fn a_session_that_takes_its_time_with_the_rows_does_not_wait() {
        let progress = Progress::default();
        assert_eq!(progress.waits(), None);
        progress.asks();
        assert_eq!(progress.waits(), Some(0));
        progress.gets();
        assert_eq!(progress.waits(), None);
    }
}
