//! Data files: what is known of them, and their removal.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{ObjectLockEnabled, ObjectLockLegalHoldStatus};
use bytes::Bytes;
use crds::Reason;
use worker_core::commits::Reply;
use worker_core::error::Failure;
use worker_core::manifests::TOKEN_METADATA;

use super::{Control, code};
use crate::objects::storage_failure;

/// Size, process token and `ETag` of an object.
pub type Head = (u64, Option<String>, Option<String>);

impl Control {
    /// Deletes a file; one that is not there is done, and so is one that a lock keeps: nobody can
    /// delete it before its time, and the run that replaces it is published.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn delete(&self, key: &str) -> Result<Reply, Failure> {
        let sent = self.client.delete_object().bucket(&self.prefix.bucket).key(key).send().await;
        let Err(error) = sent else { return Ok(Reply::Done) };
        let refused = matches!(
            code(&error),
            "AccessDenied" | "InvalidRequest" | "ObjectLocked" | "MethodNotAllowed"
        );
        if refused && self.is_locked(key).await {
            tracing::warn!(
                key,
                "the object is not deleted, because the Object Lock of its bucket protects it"
            );
            return Ok(Reply::Done);
        }
        Err(storage_failure("delete a file", &error))
    }

    /// Whether Object Lock keeps an object, as far as the store says: by the object itself, which
    /// needs the right to read its retention, or else by its bucket.
    async fn is_locked(&self, key: &str) -> bool {
        let bucket = &self.prefix.bucket;
        let head = self.client.head_object().bucket(bucket).key(key).send().await;
        let locked = head.is_ok_and(|head| {
            let held = head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On);
            held || head.object_lock_mode().is_some()
        });
        if locked {
            return true;
        }
        let asked = self.client.get_object_lock_configuration().bucket(bucket).send().await;
        asked.is_ok_and(|found| {
            let found = found.object_lock_configuration();
            found.and_then(|found| found.object_lock_enabled()) == Some(&ObjectLockEnabled::Enabled)
        })
    }

    /// Size of an object, the process token in its metadata, and its `ETag` where that is made of
    /// the content: what is encrypted by KMS has another. `None` where there is none.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn head(&self, key: &str) -> Result<Option<Head>, Failure> {
        let request = self.client.head_object().bucket(&self.prefix.bucket).key(key);
        let reply = match Box::pin(request.send()).await {
            Ok(reply) => reply,
            Err(SdkError::ServiceError(service)) if service.raw().status().as_u16() == 404 => {
                return Ok(None);
            }
            Err(error) => return Err(storage_failure("look at a file", &error)),
        };
        let token = reply.metadata().and_then(|metadata| metadata.get(TOKEN_METADATA)).cloned();
        let plain = reply.server_side_encryption().is_none_or(|by| by.as_str() == "AES256");
        let etag = reply.e_tag().filter(|_| plain).map(bare);
        let bytes = u64::try_from(reply.content_length().unwrap_or(0)).unwrap_or(0);
        Ok(Some((bytes, token, etag)))
    }

    /// The bytes of an object from `from` to its end.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn tail(&self, key: &str, from: u64) -> Result<Bytes, Failure> {
        let request = self.client.get_object().bucket(&self.prefix.bucket).key(key);
        let reply = Box::pin(request.range(format!("bytes={from}-")).send())
            .await
            .map_err(|error| storage_failure("read a footer", &error))?;
        let body = reply.body.collect().await.map_err(|_| {
            Failure::transient(Reason::StorageUnreachable, "the download of a footer failed", "")
        })?;
        Ok(body.into_bytes())
    }
}

pub(super) fn bare(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}
