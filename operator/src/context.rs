//! What every reconcile needs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use kube::runtime::events::Recorder;
use operator_core::Settings;

use crate::metrics::Metrics;
use crate::pause::Pause;
use crate::readiness::Readiness;
use crate::tracking::TrackingTables;

/// Objects whose failures are remembered; beyond that all are forgotten.
const FAILURES_MAX: usize = 10_000;

/// What every reconcile needs.
pub(crate) struct Context {
    /// The API server.
    pub(crate) client: Client,
    /// The settings of the operator.
    pub(crate) settings: Settings,
    /// The tracking tables.
    pub(crate) tables: TrackingTables,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// Which watches have listed.
    pub(crate) readiness: Arc<Readiness>,
    /// Where a test wants to stop this process.
    pub(crate) pause: Pause,
    /// Tells people.
    pub(crate) recorder: Recorder,
    /// How often in a row each key failed.
    pub(crate) failures: Mutex<HashMap<String, u32>>,
    /// Uids of the objects whose status repeats an old watermark item.
    pub(crate) changed: Mutex<HashSet<String>>,
}

impl Context {
    /// Notes that the watermark item of the object `uid` is another one than its status repeats.
    pub(crate) fn mark_changed(&self, uid: &str) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.insert(uid.to_owned());
    }

    /// Whether that was noted; it is forgotten, since the next resync finds it again.
    pub(crate) fn take_changed(&self, uid: &str) -> bool {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).remove(uid)
    }

    /// How often in a row `key` failed, this time included; a success forgets.
    pub(crate) fn count_failures(&self, key: &str, failed: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            failures.remove(key);
            return 0;
        }
        if failures.len() >= FAILURES_MAX {
            failures.clear();
        }
        let count = failures.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    }
}
