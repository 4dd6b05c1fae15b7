//! Control objects: read, write, and the completion of uploads.

use std::io::Read;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CompletedMultipartUpload;
use crds::Reason;
use serde::de::DeserializeOwned;
use worker_core::errors::failure::Failure;
use worker_core::layout::body::version_of;
use worker_core::layout::manifests::{ManifestFile, ManifestHead, Pointer, TOKEN_METADATA};
use worker_core::layout::objects::Prefix;
use worker_core::planning::plan::CONTROL_VERSION;
use worker_core::protocol::Reply;

use crate::stores::checksums;
use crate::stores::errors::storage_failure;

/// How often a write that met another one in flight (409) is sent again.
const CONFLICTS_MAX: u32 = 20;

/// What S3 says of an upload that does not hold the parts to be completed.
const PARTS_WRONG: [&str; 3] = ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"];

/// The control objects of one prefix.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) client: Client,
    /// Bucket and prefix.
    pub prefix: Prefix,
}

/// When an object may be written.
#[derive(Debug, Clone)]
pub enum Only {
    /// There is none.
    IfAbsent,
    /// It is at this `ETag`.
    IfAt(String),
}

pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    match error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or("unknown"),
        _ => "none",
    }
}

impl Control {
    /// The control objects under `uri`.
    ///
    /// # Errors
    /// `InvalidSpec` for a uri that is not `s3://<bucket>/<prefix>`.
    pub fn new(client: Client, uri: &str) -> Result<Self, Failure> {
        let prefix = Prefix::parse(uri).map_err(|bad| {
            Failure::permanent(Reason::InvalidSpec, bad.to_string(), "Correct output.uri.")
        })?;
        Ok(Self { client, prefix })
    }

    /// Reads one object with its `ETag`; `None` where there is none.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn bytes(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, Failure> {
        let Some((body, etag)) = self.open(key).await? else { return Ok(None) };
        Ok(Some((body.rest().await?, etag)))
    }

    /// Reads one control object as JSON.
    ///
    /// # Errors
    /// As [`Self::bytes`]; `NewerRelease` and `StorageFailed` for what cannot be understood.
    pub async fn read<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<(T, String)>, Failure> {
        let Some((body, etag)) = self.bytes(key).await? else { return Ok(None) };
        parse(key, &body).map(|value| Some((value, etag)))
    }

    /// The manifest of the run that `current.json` names, but for its lists.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn current(&self) -> Result<Option<ManifestHead>, Failure> {
        let pointer: Option<(Pointer, String)> = self.read(&self.prefix.pointer()).await?;
        let Some((pointer, _)) = pointer else { return Ok(None) };
        self.head_of(pointer.run).await
    }

    /// Writes one object under a condition. A refusal may stem from our own lost write.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn put(&self, key: &str, body: &[u8], only: &Only) -> Result<Reply, Failure> {
        for attempt in 0..CONFLICTS_MAX {
            let request = self
                .client
                .put_object()
                .bucket(&self.prefix.bucket)
                .key(key)
                .content_type("application/json")
                .body(ByteStream::from(body.to_vec()));
            let request = match only {
                Only::IfAbsent => request.if_none_match("*"),
                Only::IfAt(etag) => request.if_match(etag),
            };
            match request.send().await {
                Ok(_) => return Ok(Reply::Done),
                Err(error) => match code(&error) {
                    "PreconditionFailed" => return Ok(Reply::Refused),
                    // a conflicting write was in flight: nothing is known, so ask again
                    "ConditionalRequestConflict" | "OperationAborted" => {
                        tokio::time::sleep(Duration::from_millis(20 << attempt.min(6))).await;
                    }
                    _ => return Err(storage_failure("write a control object", &error)),
                },
            }
        }
        Err(Failure::transient(
            Reason::StorageFailed,
            "too many concurrent writes to one control object",
            "",
        ))
    }

    /// Completes an upload, or finds that it was completed: same token, same size.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn complete(&self, file: &ManifestFile) -> Result<Reply, Failure> {
        let parts = (1..)
            .zip(&file.parts)
            .enumerate()
            .map(|(at, (number, etag))| checksums::completed(number, etag, file.checksums.get(at)));
        let upload = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let sent = self
            .client
            .complete_multipart_upload()
            .bucket(&self.prefix.bucket)
            .key(&file.key)
            .upload_id(&file.upload_id)
            .multipart_upload(upload)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Reply::Done),
            Err(error) if code(&error) == "NoSuchUpload" => self.completed_before(file).await,
            // it contains other parts than those that were checked before the decision, so no
            // process can complete it
            Err(error) if PARTS_WRONG.contains(&code(&error)) => Ok(Reply::Gone),
            Err(error) => Err(storage_failure("complete a file", &error)),
        }
    }

    async fn completed_before(&self, file: &ManifestFile) -> Result<Reply, Failure> {
        let head =
            self.client.head_object().bucket(&self.prefix.bucket).key(&file.key).send().await;
        match head {
            Ok(head) => {
                let token = head.metadata().and_then(|all| all.get(TOKEN_METADATA));
                let size = head.content_length().and_then(|size| u64::try_from(size).ok());
                let ours = token == Some(&file.token) && size == Some(file.bytes);
                Ok(if ours { Reply::Done } else { Reply::Gone })
            }
            Err(error) => {
                let missing = matches!(&error, SdkError::ServiceError(service)
                    if service.raw().status().as_u16() == 404);
                if missing {
                    Ok(Reply::Gone)
                } else {
                    Err(storage_failure("read the size of a file", &error))
                }
            }
        }
    }

    /// Aborts an upload; an unknown one is done.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn abort(&self, key: &str, upload_id: &str) -> Result<Reply, Failure> {
        let sent = self
            .client
            .abort_multipart_upload()
            .bucket(&self.prefix.bucket)
            .key(key)
            .upload_id(upload_id)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Reply::Done),
            Err(error) if code(&error) == "NoSuchUpload" => Ok(Reply::Done),
            Err(error) => Err(storage_failure("abort an upload", &error)),
        }
    }
}

pub(super) fn parse<T: DeserializeOwned>(key: &str, body: &[u8]) -> Result<T, Failure> {
    let name = key.rsplit('/').next().unwrap_or_default();
    if is_newer(&mut &body[..]) {
        return Err(newer_release(name));
    }
    serde_json::from_slice(body).map_err(|_| not_understood(name))
}

/// Whether a newer release wrote the object.
pub(super) fn is_newer(body: &mut dyn Read) -> bool {
    version_of(body).is_some_and(|version| version > u64::from(CONTROL_VERSION))
}

pub(super) fn newer_release(name: &str) -> Failure {
    Failure::permanent(
        Reason::NewerRelease,
        format!("a newer release wrote {name}"),
        "Upgrade Tidemark to that release.",
    )
}

pub(super) fn not_understood(name: &str) -> Failure {
    Failure::permanent(
        Reason::StorageFailed,
        format!("{name} under _tidemark cannot be parsed"),
        "Restore the object from a version of the bucket, and do not edit objects under _tidemark.",
    )
}

pub(super) fn broke_off() -> Failure {
    Failure::transient(Reason::StorageUnreachable, "the download of a control object failed", "")
}
