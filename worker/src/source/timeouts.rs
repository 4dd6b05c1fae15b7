//! How long steps of a session may take.

use std::time::Duration;

/// How long connecting may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a proper goodbye may take.
pub(crate) const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// How soon a session answers for which nothing is being done.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_millis(300);
/// How long it may take to find the session's server and to cancel there.
pub(crate) const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a cancelled statement may take to end.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
