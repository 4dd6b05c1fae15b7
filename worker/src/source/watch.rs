//! In: a session that waits for its server. Out: nothing while the server works on the statement.
//! Bound: one question each time the session was silent for so long. Fails: `DatabaseUnreachable`
//! once the server has nothing to do for the session, or nothing can be asked.
//!
//! A statement may take hours before its first row, so silence alone says nothing; and where a
//! firewall or pooler dropped the connection without a word, it would be waited on for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crds::Reason;
use worker_core::errors::failure::Failure;

use crate::source::backend::{Backend, Progress};
use crate::source::login::Login;
use crate::source::second::{Reached, Second, reach};
use crate::source::{mysql, postgres};

/// Answers without sense in a row, after which the session is given up.
const LOOKS: usize = 2;
/// How long the question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

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
        tracing::warn!(?said, silence_s = login.silence.as_secs(), "the database sends no data");
        bad = judged(bad, said);
        if bad.len() >= LOOKS {
            return Failure::transient(
                Reason::DatabaseUnreachable,
                "the database stopped responding during a statement",
                "Wait for the next attempt, which connects again. If the error returns, check what drops \
                 connections between the pods and the database (a firewall, a proxy, a pooler).",
            );
        }
    }
}

/// Consecutive checks that make no sense for a session that waits: the server waits too.
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
        match backend {
            Backend::Postgres { .. } => {
                ask_by::<postgres::second::Second>(login, backend, &others).await
            }
            Backend::Mysql { .. } => ask_by::<mysql::second::Second>(login, backend, &others).await,
        }
    };
    let late = |_| if others.load(Ordering::Relaxed) { Said::Elsewhere } else { Said::Nothing };
    tokio::time::timeout(ASK_TIMEOUT, look).await.unwrap_or_else(late)
}

async fn ask_by<S: Second>(login: &Login, backend: &Backend, others: &AtomicBool) -> Said {
    let mut second = match reach::<S>(login, backend, others).await {
        Reached::Same(second) => second,
        Reached::Elsewhere => return Said::Elsewhere,
        Reached::Nothing => return Said::Nothing,
    };
    let works = second.works(backend).await;
    second.close().await;
    works.map_or(Said::Nothing, said)
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
    fn an_unreachable_server_counts_as_stopped() {
        assert_eq!(looks(&[Said::Nothing, Said::Gone]), 2);
    }

    #[test]
    fn a_session_that_sends_rows_slowly_does_not_count_as_waiting() {
        let progress = Progress::default();
        assert_eq!(progress.waits(), None);
        progress.asks();
        assert_eq!(progress.waits(), Some(0));
        progress.gets();
        assert_eq!(progress.waits(), None);
    }
}
