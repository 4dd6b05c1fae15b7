//! In: reconciles that are requested, started, postponed and dropped. Out: how many objects are queued.
//! Bound: one entry for each object. Fails: never.
//!
//! The runtime does not expose its own queue. This one gets the same events and follows the same
//! rule: each object is in it once, at the earliest requested time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::ExtractJob;
use kube::runtime::reflector::ObjectRef;

/// Namespace and name.
type Key = (String, String);

/// When each object is reconciled next.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: Mutex<HashMap<Key, Instant>>,
}

/// How many objects wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Their time has come, and their reconcile has not begun.
    pub(crate) due: usize,
    /// Their time is still to come.
    pub(crate) scheduled: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something of the object changed: it is due now.
    pub(crate) fn asked(&self, object: &ObjectRef<ExtractJob>) {
        self.put(key(object), Instant::now());
    }

    /// Its reconcile begins.
    pub(crate) fn begun(&self, object: &ObjectRef<ExtractJob>) {
        self.forgotten(object.namespace.as_deref(), &object.name);
    }

    /// Its reconcile ended: it is due again after `pause`, unless a change asks for it earlier.
    pub(crate) fn postponed(&self, object: &ObjectRef<ExtractJob>, pause: Duration) {
        let now = Instant::now();
        self.put(key(object), now.checked_add(pause).unwrap_or(now));
    }

    /// It is gone: nothing will begin.
    pub(crate) fn forgotten(&self, namespace: Option<&str>, name: &str) {
        self.lock().remove(&(namespace.unwrap_or_default().to_owned(), name.to_owned()));
    }

    /// Nothing is watched any more.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// How many wait now.
    pub(crate) fn waiting(&self) -> Waiting {
        let now = Instant::now();
        let all = self.lock();
        let due = all.values().filter(|at| **at <= now).count();
        Waiting { due, scheduled: all.len() - due }
    }

    fn put(&self, key: Key, at: Instant) {
        let mut all = self.lock();
        let known = all.entry(key).or_insert(at);
        *known = at.min(*known);
    }
}

fn key(object: &ObjectRef<ExtractJob>) -> Key {
    (object.namespace.clone().unwrap_or_default(), object.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectRef<ExtractJob> {
        ObjectRef::new(name).within("shop")
    }

    fn counts(queue: &Queue) -> (usize, usize) {
        let Waiting { due, scheduled } = queue.waiting();
        (due, scheduled)
    }

    #[test]
    fn an_object_waits_once_from_the_asking_to_the_beginning() {
        let queue = Queue::default();
        queue.asked(&object("a"));
        queue.asked(&object("a"));
        queue.asked(&object("b"));
        assert_eq!(counts(&queue), (2, 0));
        queue.begun(&object("a"));
        assert_eq!(counts(&queue), (1, 0));
        queue.forgotten(Some("shop"), "b");
        assert_eq!(counts(&queue), (0, 0));
    }

    #[test]
    fn postponed_objects_are_due_after_their_pause_or_a_change() {
        let queue = Queue::default();
        queue.postponed(&object("a"), Duration::from_hours(1));
        queue.postponed(&object("b"), Duration::ZERO);
        assert_eq!(counts(&queue), (1, 1));
        // a change while the reconcile was at work is not lost by its end
        queue.asked(&object("a"));
        queue.postponed(&object("a"), Duration::from_hours(1));
        assert_eq!(counts(&queue), (2, 0));
    }
}
