//! Data files: what is known of them, and their removal.

use aws_sdk_s3::error::SdkError;
use bytes::Bytes;
use crds::Reason;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::TOKEN_METADATA;
use worker_core::protocol::Reply;

use super::objects::Control;
use crate::stores::errors::storage_failure;

/// Size, process token and `ETag` of an object.
pub type Head = (u64, Option<String>, Option<String>);

impl Control {
    /// Deletes a file; one that is not there is done. `Kept` where a lock protects it: then readers that
    /// list the prefix still see it.
    ///
    /// # Errors
    /// `StorageDenied` where the right to delete is missing, or may be; as [`storage_failure`].
    pub async fn delete(&self, key: &str) -> Result<Reply, Failure> {
        match self.client.delete_object().bucket(&self.prefix.bucket).key(key).send().await {
            Ok(_) => Ok(Reply::Done),
            Err(error) => Box::pin(self.refused(key, &error)).await,
        }
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
            Err(error) => return Err(storage_failure("read the size of a file", &error)),
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
