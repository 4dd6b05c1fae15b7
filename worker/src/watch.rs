//! In: a session that waits for its server. Out: nothing while the server works on the statement.
//! Bound: one question each time the session was silent for so long. Fails: `DatabaseUnreachable`
//! once the server has nothing to do for the session, or nothing can be asked.
//!
//! A statement may take hours before its first row, so silence alone says nothing; and where a
//! firewall or pooler dropped the connection without a word, it would be waited on for ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crds::Reason;
use sqlx::PgConnection;
use worker_core::error::Failure;
use worker_core::rows::statements;

use crate::postgres::sessions::connect;
use crate::sessions::{Login, database_failure};

/// Answers without sense in a row, after which the session is given up.
const LOOKS: usize = 2;
/// How long the question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// What a session has asked its server for, and got.
#[derive(Debug, Default)]
pub struct Progress {
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
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// The server has said something.
    pub fn gets(&self) {
        self.got.fetch_add(1, Ordering::Relaxed);
    }

    /// How much was got, where the session waits for more; `None` where the server waits for it.
    fn waits(&self) -> Option<u64> {
        let got = self.got.load(Ordering::Relaxed);
        (self.asked.load(Ordering::Relaxed) > got).then_some(got)
    }
}

/// What the server says of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// It works for it.
    Works,
    /// It waits for the session's next statement, or for it to take rows: since when.
    Waits(String),
    /// It has no such session.
    Gone,
    /// Nothing, since it cannot be asked.
    Nothing,
}

/// The server's name for a session: its process.
///
/// # Errors
/// As [`database_failure`].
pub async fn backend(connection: &mut PgConnection) -> Result<i32, Failure> {
    let pid = sqlx::query_scalar(statements::BACKEND).fetch_one(connection).await;
    pid.map_err(|error| database_failure("ask for the session's process", &error))
}

/// Returns once the session is lost: the connection has to be closed then. Never for a session
/// without `backend`, which has time-outs of its own.
pub async fn lost(login: &Login, backend: Option<i32>, progress: &Progress) -> Failure {
    let Some(backend) = backend else { return std::future::pending().await };
    let mut bad: Vec<Said> = Vec::new();
    let mut before = progress.waits();
    loop {
        tokio::time::sleep(login.silence).await;
        let now = progress.waits();
        if now.is_none() || now != before {
            (before, bad) = (now, Vec::new());
            continue;
        }
        let said = ask(login, backend).await;
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
    if said == Said::Works || other_pause {
        bad.clear();
    }
    if said != Said::Works {
        bad.push(said);
    }
    bad
}

async fn ask(login: &Login, backend: i32) -> Said {
    let look = async {
        let mut connection = connect(login, "tidemark/watch").await.ok()?;
        let row: Option<(bool, String)> = sqlx::query_as(statements::WORKS)
            .bind(backend)
            .fetch_optional(&mut connection)
            .await
            .ok()?;
        Some(match row {
            None => Said::Gone,
            Some((true, _)) => Said::Works,
            Some((false, since)) => Said::Waits(since),
        })
    };
    let answer = tokio::time::timeout(ASK_TIMEOUT, look).await;
    answer.ok().flatten().unwrap_or(Said::Nothing)
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
