//! In: keys of files. Out: a reply for each. Bound: [`KEYS_PER_REQUEST_MAX`] keys in a request; [`SINGLE_AT_ONCE`] requests
//! for one key in flight. Fails: as [`Control::delete`].
//!
//! The reply of `DeleteObjects` has status 200 even if the store deleted only some of the keys. A key that the reply
//! does not report as deleted gets its own request, whose error shows the reason (a lock, a missing permission). If the
//! store does not support `DeleteObjects`, or requires another checksum for its body, each key gets its own request.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use crds::Reason;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use worker_core::errors::failure::Failure;
use worker_core::protocol::Reply;

use super::objects::{Control, code};
use crate::stores::errors::storage_failure;

/// Maximum number of keys of one `DeleteObjects` request.
pub const KEYS_PER_REQUEST_MAX: usize = 1_000;
/// Requests for one key of a batch that are in flight at a time.
const SINGLE_AT_ONCE: usize = 4;

impl Control {
    /// Deletes up to [`KEYS_PER_REQUEST_MAX`] files. Returns a reply of [`Control::delete`] for each key, in the order of
    /// the keys.
    ///
    /// # Errors
    /// As [`Control::delete`].
    pub async fn delete_all(&self, keys: &[&str]) -> Result<Vec<Reply>, Failure> {
        let deleted = if keys.len() > 1 { self.batch(keys).await? } else { BTreeSet::new() };
        let deleted = &deleted;
        stream::iter(keys)
            .map(|key| async move {
                if deleted.contains(*key) { Ok(Reply::Done) } else { self.delete(key).await }
            })
            .buffered(SINGLE_AT_ONCE)
            .try_collect()
            .await
    }

    /// Deletes files with one request. Returns the keys that the store reports as deleted.
    async fn batch(&self, keys: &[&str]) -> Result<BTreeSet<String>, Failure> {
        // `build` fails only if a required field is missing, and all of them are set
        let named =
            keys.iter().filter_map(|key| ObjectIdentifier::builder().key(*key).build().ok());
        let Ok(named) = Delete::builder().set_objects(Some(named.collect())).build() else {
            return Ok(BTreeSet::new());
        };
        let request = self.client.delete_objects().bucket(&self.prefix.bucket).delete(named);
        let reply = match Box::pin(request.send()).await {
            Ok(reply) => reply,
            Err(error) => {
                let failure = storage_failure("delete files", &error);
                // a store answers an operation that it does not know with 501, or with an error as its result
                let status = error.raw_response().map(|reply| reply.status().as_u16());
                let unsupported =
                    code(&error) == "NotImplemented" || matches!(status, Some(200 | 501));
                if failure.report.reason == Reason::StorageUnreachable && !unsupported {
                    return Err(failure);
                }
                tracing::debug!(%failure, files = keys.len(), "deleting file by file");
                return Ok(BTreeSet::new());
            }
        };
        let mut deleted: BTreeSet<String> =
            reply.deleted().iter().filter_map(|one| one.key()).map(str::to_owned).collect();
        for error in reply.errors() {
            tracing::debug!(key = error.key(), code = error.code(), "a file was not deleted");
            if let Some(key) = error.key() {
                deleted.remove(key);
            }
        }
        Ok(deleted)
    }
}
