//! In: a login, the server's name for a session. Out: a second session of the same user on the same
//! server, which asks what becomes of the first, or ends its statement. Bound: [`TRIES`] connections
//! for one question. Fails: nothing; a server that cannot be reached is an answer too.
//!
//! Behind one name there may be several servers. What another one says about the session is worth
//! nothing, so it is left, and the name is tried again.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::source::backend::Backend;
use crate::source::login::Login;
use crate::source::timeouts::CANCEL_TIMEOUT;

/// Connections that are tried until one leads to the right server.
const TRIES: usize = 8;

/// Where a second connection led.
#[derive(Debug)]
pub(crate) enum Reached<S> {
    /// To the server of the session.
    Same(S),
    /// Only to other servers.
    Elsewhere,
    /// Nowhere.
    Nothing,
}

/// A second session, of either engine. None of its methods fails: what cannot be asked or done is left.
pub(crate) trait Second: Sized + Send {
    /// Connects; with the server's name for the new session.
    fn connect(login: &Login) -> impl Future<Output = Option<(Self, Backend)>> + Send;

    /// Whether the server works for the session, and since when; `None` inside: it has no such session.
    fn works(
        &mut self,
        backend: &Backend,
    ) -> impl Future<Output = Option<Option<(bool, String)>>> + Send;

    /// Ends the statement that the server works on for the session.
    fn cancel(&mut self, backend: &Backend) -> impl Future<Output = ()> + Send;

    /// Ends the session itself, where it waits for its client and hears nothing else.
    fn terminate(&mut self, backend: &Backend) -> impl Future<Output = ()> + Send;

    /// Closes it properly.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Connects until the connection leads to the server of `backend`. `others` becomes true once one has led
/// to another server, for who gives up waiting.
pub(crate) async fn reach<S: Second>(
    login: &Login,
    backend: &Backend,
    others: &AtomicBool,
) -> Reached<S> {
    for _ in 0..TRIES {
        let Some((second, found)) = S::connect(login).await else { break };
        if found.server() == backend.server() {
            return Reached::Same(second);
        }
        others.store(true, Ordering::Relaxed);
        second.close().await;
    }
    if others.load(Ordering::Relaxed) { Reached::Elsewhere } else { Reached::Nothing }
}

/// Cancels the session's statement; the session that did so.
pub(crate) async fn cancel<S: Second>(login: &Login, backend: &Backend) -> Option<S> {
    let cancelling = async {
        match reach::<S>(login, backend, &AtomicBool::new(false)).await {
            Reached::Same(mut second) => {
                second.cancel(backend).await;
                Some(second)
            }
            Reached::Elsewhere | Reached::Nothing => None,
        }
    };
    let second = tokio::time::timeout(CANCEL_TIMEOUT, cancelling).await.ok().flatten();
    if second.is_none() {
        tracing::warn!(
            "cannot cancel a statement; the server ends it when it detects the closed connection"
        );
    }
    second
}
