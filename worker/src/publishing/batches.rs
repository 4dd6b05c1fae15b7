//! In: the effects of one act. Out: batches, one request each. Bound: [`KEYS_PER_REQUEST_MAX`] files in a batch. Fails:
//! never.

use crds::tracking::ObjectStore;
use worker_core::protocol::Effect;

use crate::stores::control::KEYS_PER_REQUEST_MAX;

/// Effects that are sent together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Batch<'a> {
    /// One effect.
    One(&'a Effect),
    /// Deletes of files of one store.
    Deletes {
        /// URI of the output.
        uri: &'a str,
        /// The store; `None`: the store of this process.
        store: Option<&'a ObjectStore>,
        /// Keys in the bucket.
        keys: Vec<&'a str>,
    },
}

/// Groups the effects, in their order. Consecutive deletes in the same store are joined.
pub(super) fn batches(effects: &[Effect]) -> Vec<Batch<'_>> {
    let mut batches: Vec<Batch<'_>> = Vec::new();
    for effect in effects {
        let Effect::Delete { uri, store, key } = effect else {
            batches.push(Batch::One(effect));
            continue;
        };
        match batches.last_mut() {
            Some(Batch::Deletes { uri: before, store: of, keys })
                if *before == uri.as_str()
                    && *of == store.as_ref()
                    && keys.len() < KEYS_PER_REQUEST_MAX =>
            {
                keys.push(key);
            }
            Some(_) | None => {
                batches.push(Batch::Deletes { uri, store: store.as_ref(), keys: vec![key] });
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(uri: &str, store: Option<&str>, key: u32) -> Effect {
        let store = store.map(|region| ObjectStore {
            region: Some(region.to_owned()),
            ..ObjectStore::default()
        });
        Effect::Delete { uri: uri.to_owned(), store, key: format!("{key:05}") }
    }

    fn sizes(effects: &[Effect]) -> Vec<usize> {
        let size = |batch: Batch<'_>| match batch {
            Batch::One(_) => 0,
            Batch::Deletes { keys, .. } => keys.len(),
        };
        batches(effects).into_iter().map(size).collect()
    }

    #[test]
    fn deletes_are_joined_up_to_the_limit_of_one_request_and_keep_their_order() {
        let effects: Vec<Effect> = (0..2_500).map(|key| delete("s3://b/t", None, key)).collect();
        assert_eq!(sizes(&effects), [1_000, 1_000, 500]);
        let keys = batches(&effects).into_iter().flat_map(|batch| match batch {
            Batch::One(_) => Vec::new(),
            Batch::Deletes { keys, .. } => keys,
        });
        assert!(keys.is_sorted());
    }

    #[test]
    fn deletes_in_different_stores_are_separate_batches_and_other_effects_are_sent_alone() {
        let abort = Effect::Abort {
            uri: "s3://b/t".to_owned(),
            key: "k".to_owned(),
            upload_id: "u".to_owned(),
        };
        let effects = [
            abort.clone(),
            delete("s3://b/t", None, 1),
            delete("s3://b/t", None, 2),
            delete("s3://b/other", None, 3),
            delete("s3://b/other", Some("eu-west-1"), 4),
            abort,
            delete("s3://b/other", Some("eu-west-1"), 5),
        ];
        assert_eq!(sizes(&effects), [0, 2, 1, 1, 0, 1]);
        assert!(batches(&[]).is_empty());
    }
}
