//! Errors of the API server and the tracking table, and their categories.

/// A reconcile that did not reach its end; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server did not do what it was asked.
    #[error("cannot {action}")]
    Cluster {
        /// What was asked.
        action: &'static str,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// The object has no namespace or uid.
    #[error("the object has no namespace or uid")]
    NoIdentity,
    /// Decisions kept asking for more.
    #[error("no decision after {reads} reads")]
    Undecided {
        /// How many reads there were.
        reads: usize,
    },
}

impl Error {
    /// For `map_err`.
    pub(crate) fn cluster(action: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self::Cluster { action, source: Box::new(source) }
    }

    /// Whether the object changed meanwhile. This is not an error: decide again.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Cluster { source, .. } if code(source) == Some(409))
    }

    /// A static name, for metrics.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Cluster { source, .. } => match code(source) {
                Some(409) => "conflict",
                Some(403) => "forbidden",
                Some(_) => "api",
                None => "connection",
            },
            Self::NoIdentity | Self::Undecided { .. } => "internal",
        }
    }
}

/// The HTTP code of an API server's refusal.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
