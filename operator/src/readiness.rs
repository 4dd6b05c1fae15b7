//! In: which watches have listed. Out: whether the operator is ready.
//! Bound: the watches. Fails: never.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{Event, Result};

/// How many watches have still to list.
#[derive(Debug)]
pub(crate) struct Readiness {
    missing: AtomicUsize,
}

impl Readiness {
    /// Not ready: the watches are not even begun.
    pub(crate) const fn new() -> Self {
        Self { missing: AtomicUsize::new(usize::MAX) }
    }

    /// So many watches begin.
    pub(crate) fn begin(&self, watches: usize) {
        self.missing.store(watches, Ordering::Release);
    }

    /// Another replica does the work; this one is ready to take over.
    pub(crate) fn stand_by(&self) {
        self.missing.store(0, Ordering::Release);
    }

    /// Whether every watch has listed.
    pub(crate) fn is_ready(&self) -> bool {
        self.missing.load(Ordering::Acquire) == 0
    }

    /// One watch has listed for the first time.
    fn listed(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            tracing::info!("all watches have listed their objects");
        }
    }
}

/// The same events; also reports the end of the first list.
pub(crate) fn telling<K>(
    events: impl Stream<Item = Result<Event<K>>> + Send + 'static,
    readiness: std::sync::Arc<Readiness>,
) -> impl Stream<Item = Result<Event<K>>> + Send + 'static
where
    K: Send + 'static,
{
    let listed = AtomicBool::new(false);
    events.inspect(move |event| {
        if matches!(event, Ok(Event::InitDone)) && !listed.swap(true, Ordering::AcqRel) {
            readiness.listed();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::stream;
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    async fn drain(readiness: &Arc<Readiness>, events: Vec<Event<Pod>>) {
        let events = stream::iter(events).map(Ok);
        telling(events, Arc::clone(readiness)).for_each(|_| std::future::ready(())).await;
    }

    #[tokio::test]
    async fn operator_is_ready_once_every_watch_has_listed() {
        let readiness = Arc::new(Readiness::new());
        assert!(!readiness.is_ready());
        readiness.begin(2);
        drain(&readiness, vec![Event::Init, Event::InitApply(Pod::default())]).await;
        assert!(!readiness.is_ready());
        // a watch that lists twice does not stand for another one
        drain(&readiness, vec![Event::Init, Event::InitDone, Event::Init, Event::InitDone]).await;
        assert!(!readiness.is_ready());
        drain(&readiness, vec![Event::InitDone]).await;
        assert!(readiness.is_ready());
    }
}
