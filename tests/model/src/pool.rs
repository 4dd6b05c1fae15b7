//! In: values. Out: small numbers that stand for them, the same for the same value.
//! Bound: one entry for each different value. Fails: never.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

/// Stands for "there is none".
pub(crate) const NONE: u32 = 0;

struct Inner<T> {
    ids: HashMap<String, u32>,
    values: Vec<Arc<T>>,
}

/// Values by number, from 1. States hold numbers, so that they are small and quick to compare.
pub(crate) struct Pool<T> {
    inner: RwLock<Inner<T>>,
}

impl<T: Debug + PartialEq> Pool<T> {
    pub(crate) fn new() -> Self {
        Self { inner: RwLock::new(Inner { ids: HashMap::new(), values: Vec::new() }) }
    }

    /// The number of a value. Values are distinguished by their derived `Debug`, which shows every
    /// field.
    pub(crate) fn put(&self, value: T) -> u32 {
        let text = format!("{value:?}");
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(inner.values.len()).unwrap_or(u32::MAX) + 1;
        match inner.ids.entry(text) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(place) => {
                place.insert(next);
                inner.values.push(Arc::new(value));
                next
            }
        }
    }

    /// The value of a number that `put` gave out.
    pub(crate) fn get(&self, id: u32) -> Arc<T> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(id).unwrap_or(usize::MAX).wrapping_sub(1);
        Arc::clone(inner.values.get(at).expect("a number that the pool gave out"))
    }

    /// The value of a number, if it is one.
    pub(crate) fn find(&self, id: u32) -> Option<Arc<T>> {
        (id != NONE).then(|| self.get(id))
    }
}

/// Answers that were worked out before.
pub(crate) struct Memo<K, V> {
    inner: RwLock<HashMap<K, V>>,
}

impl<K: Hash + Eq, V: Clone> Memo<K, V> {
    pub(crate) fn new() -> Self {
        Self { inner: RwLock::new(HashMap::new()) }
    }

    /// The answer to `key`, worked out at most once or, in a race, twice alike.
    pub(crate) fn of(&self, key: K, work: impl FnOnce(&K) -> V) -> V {
        if let Some(known) = self.inner.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let value = work(&key);
        self.inner.write().unwrap_or_else(PoisonError::into_inner).insert(key, value.clone());
        value
    }
}
