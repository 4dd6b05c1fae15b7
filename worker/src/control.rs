//! The control objects under `<uri>/_tidemark/`, and the uploads and files they speak of.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, ObjectLockEnabled, ObjectLockLegalHoldStatus};
use bytes::Bytes;
use crds::output::RunFolder;
use crds::{Reason, RunId};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use worker_core::commits::Reply;
use worker_core::error::Failure;
use worker_core::manifests::{ManifestFile, ManifestHead, Pointer, TOKEN_METADATA};
use worker_core::objects::Prefix;
use worker_core::plan::CONTROL_VERSION;
use worker_core::records::TaskRecord;

use crate::checksums;
use crate::objects::storage_failure;

mod streams;
mod uploads;

pub use streams::{Listed, WholeObject};
pub(crate) use uploads::not_as_recorded;

/// Records read at a time.
const READS_AT_ONCE: usize = 16;
/// How often a write that met another one in flight (409) is sent again.
const CONFLICTS_MAX: u32 = 20;

/// What S3 says of an upload that does not hold the parts to be completed.
const PARTS_WRONG: [&str; 3] = ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"];

/// The control objects of one prefix.
#[derive(Debug, Clone)]
pub struct Control {
    client: Client,
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

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
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
            Failure::permanent(Reason::InvalidSpec, bad.to_string(), "mend output.uri")
        })?;
        Ok(Self { client, prefix })
    }

    /// Reads one object with its `ETag`; `None` where there is none.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn bytes(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, Failure> {
        let Some((body, etag)) = self.open(key).await? else { return Ok(None) };
        let body = body.collect().await.map_err(|_| broke_off())?;
        Ok(Some((body.to_vec(), etag)))
    }

    /// Begins to read one object.
    async fn open(&self, key: &str) -> Result<Option<(ByteStream, String)>, Failure> {
        let request = self.client.get_object().bucket(&self.prefix.bucket).key(key);
        let reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) if code(&error) == "NoSuchKey" => return Ok(None),
            Err(error) => return Err(storage_failure("read a control object", &error)),
        };
        let etag = reply.e_tag().unwrap_or_default().to_owned();
        Ok(Some((reply.body, etag)))
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
        Err(Failure::transient(Reason::StorageFailed, "a control object is contended", ""))
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
            // it holds other parts than those that were looked at before the decision: no try of
            // anybody can complete it
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
                    Err(storage_failure("look at a file", &error))
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
            tracing::warn!(key, "the object stays: the Object Lock of its bucket keeps it");
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

    /// Which ranges of a run have a record.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn recorded(&self, run: RunId) -> Result<Vec<String>, Failure> {
        self.keys(&self.prefix.records(run)).await
    }

    /// How many ranges of a run have a record, and how large the largest of them is.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn recorded_so_far(&self, run: RunId) -> Result<(u32, u64), Failure> {
        let folder = self.prefix.records(run);
        let request = self.client.list_objects_v2().bucket(&self.prefix.bucket).prefix(&folder);
        let mut pages = request.into_paginator().send();
        let (mut count, mut largest) = (0_u32, 0);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| storage_failure("list objects", &error))?;
            for found in page.contents() {
                let size = found.size().and_then(|size| u64::try_from(size).ok());
                (count, largest) = (count.saturating_add(1), largest.max(size.unwrap_or(0)));
            }
        }
        Ok((count, largest))
    }

    /// At least `room` of the data files of a run, if there are so many, in the order of their keys and
    /// after one of them; and whether there may be more.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn data_files(
        &self,
        run: RunId,
        after: Option<&str>,
        room: usize,
    ) -> Result<(Vec<String>, bool), Failure> {
        let mut keys = Vec::new();
        for folder in [RunFolder::Run, RunFolder::Time] {
            let request = self.client.list_objects_v2().bucket(&self.prefix.bucket);
            let request = request.prefix(self.prefix.data_folder(run, folder));
            let request = request.set_start_after(after.map(Into::into));
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| storage_failure("list objects", &error))?;
                let found = page.contents().iter().filter_map(|found| found.key());
                let own = found.filter(|key| self.prefix.run_of(key) == Some(run));
                keys.extend(own.map(str::to_owned));
                if keys.len() >= room {
                    return Ok((keys, true));
                }
            }
        }
        Ok((keys, false))
    }

    /// All keys below a folder.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn keys(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let request = self.client.list_objects_v2().bucket(&self.prefix.bucket).prefix(folder);
        let mut pages = request.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| storage_failure("list objects", &error))?;
            keys.extend(page.contents().iter().filter_map(|found| found.key().map(Into::into)));
        }
        Ok(keys)
    }

    /// Size of an object, the process token in its metadata, and its `ETag` where that is made of
    /// the content: what is encrypted by KMS has another.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn head(&self, key: &str) -> Result<(u64, Option<String>, Option<String>), Failure> {
        let request = self.client.head_object().bucket(&self.prefix.bucket).key(key);
        let reply = Box::pin(request.send())
            .await
            .map_err(|error| storage_failure("look at a file", &error))?;
        let token = reply.metadata().and_then(|metadata| metadata.get(TOKEN_METADATA)).cloned();
        let plain = reply.server_side_encryption().is_none_or(|by| by.as_str() == "AES256");
        let etag = reply.e_tag().filter(|_| plain).map(bare);
        Ok((u64::try_from(reply.content_length().unwrap_or(0)).unwrap_or(0), token, etag))
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
            Failure::transient(Reason::StorageUnreachable, "a footer broke off", "")
        })?;
        Ok(body.into_bytes())
    }

    /// Runs that have control objects and began before that time (seconds since 1970, UTC): a run
    /// id holds its time.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn runs_before(&self, time: i64) -> Result<Vec<RunId>, Failure> {
        let root = self.prefix.control_root();
        let request = self.client.list_objects_v2().bucket(&self.prefix.bucket).prefix(&root);
        let mut pages = request.delimiter("/").into_paginator().send();
        let mut runs = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| storage_failure("list runs", &error))?;
            let names = page.common_prefixes().iter().filter_map(|found| found.prefix());
            let ids = names.filter_map(|name| name.strip_prefix(&root)?.strip_suffix('/'));
            let found = ids.filter_map(|id| id.parse::<RunId>().ok());
            runs.extend(found.filter(|run| run.began().is_some_and(|began| began < time)));
        }
        Ok(runs)
    }

    /// Reads the records with these keys.
    ///
    /// # Errors
    /// As [`Self::read`]; `RecordMissing` where a listed one is gone.
    pub async fn records(&self, keys: &[String]) -> Result<Vec<TaskRecord>, Failure> {
        stream::iter(keys)
            .map(|key| async move {
                let found = self.read(key).await?.ok_or_else(|| {
                    Failure::transient(Reason::RecordMissing, "a record vanished", "")
                })?;
                Ok(found.0)
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await
    }
}

fn bare(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

fn parse<T: DeserializeOwned>(key: &str, body: &[u8]) -> Result<T, Failure> {
    let name = key.rsplit('/').next().unwrap_or_default();
    // all else is passed over: an object may be many times larger in memory than it is on S3
    let version = serde_json::from_slice(body).ok().and_then(|read: Versioned| read.version);
    if version.is_some_and(|version| version > u64::from(CONTROL_VERSION)) {
        return Err(newer_release(name));
    }
    serde_json::from_slice(body).map_err(|_| not_understood(name))
}

#[derive(serde::Deserialize)]
struct Versioned {
    version: Option<u64>,
}

fn newer_release(name: &str) -> Failure {
    Failure::permanent(
        Reason::NewerRelease,
        format!("{name} was written by a newer release"),
        "upgrade Tidemark to that release",
    )
}

fn not_understood(name: &str) -> Failure {
    Failure::permanent(
        Reason::StorageFailed,
        format!("{name} under _tidemark cannot be understood"),
        "do not edit the objects under _tidemark; restore it from a version of the bucket",
    )
}

fn broke_off() -> Failure {
    Failure::transient(Reason::StorageUnreachable, "a control object broke off", "")
}
