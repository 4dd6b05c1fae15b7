//! In: manifests of any length, records. Out: their files one by one, and manifests part by part.
//! Bound: a few chunks of a body, one part of 8 MiB. Fails: [`Failure`] with a storage reason.

use std::io::{self, Read};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Buf, Bytes};
use crds::{Reason, RunId};
use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{
    ListedFile, ManifestFile, ManifestHead, each_earlier_file, each_file, read_head,
};
use worker_core::layout::records::PartitionRecord;
use worker_core::planning::plan::CONTROL_VERSION;
use worker_core::protocol::Reply;

use super::bodies::Body;
use super::objects::{Control, Only, broke_off, code, is_newer, newer_release, not_understood};
use crate::stores::checksums;
use crate::stores::errors::storage_failure;

/// Chunks of a body that have come and are not read yet.
const CHUNKS: usize = 4;
/// Files that were read and are not taken yet.
const FILES: usize = 64;
/// Records that are read at a time, however small they are.
const READS_AT_ONCE: usize = 64;
/// Bytes of the records that are read at a time.
const READ_BYTES: u64 = 8 << 20;
/// Bytes of a part of a manifest; a shorter manifest is one PUT.
const PART_BYTES: usize = 8 << 20;

/// Records to be read at a time, where the largest has so many bytes.
pub fn at_once(largest: u64) -> usize {
    let room = usize::try_from(READ_BYTES / largest.max(1)).unwrap_or(READS_AT_ONCE);
    room.clamp(1, READS_AT_ONCE)
}

/// A body that comes while a blocking reader reads it.
struct Chunks {
    coming: mpsc::Receiver<Option<Bytes>>,
    rest: Bytes,
}

impl Chunks {
    fn of(mut body: Body) -> Self {
        let (sender, coming) = mpsc::channel(CHUNKS);
        tokio::spawn(async move {
            while let Some(next) = body.next().await.transpose() {
                let broken = next.as_ref().err().map(ToString::to_string);
                if let Some(failure) = &broken {
                    tracing::warn!(failure, "cannot read a manifest to its end");
                }
                if sender.send(next.ok()).await.is_err() || broken.is_some() {
                    return;
                }
            }
        });
        Self { coming, rest: Bytes::new() }
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.coming.blocking_recv() {
                Some(Some(chunk)) => self.rest = chunk,
                Some(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => return Ok(0),
            }
        }
        let length = out.len().min(self.rest.len());
        out[..length].copy_from_slice(&self.rest[..length]);
        self.rest.advance(length);
        Ok(length)
    }
}

/// A file of a manifest's list.
pub trait Listed: Send + Sized + 'static {
    /// Calls `each` with each of them, until it returns false.
    ///
    /// # Errors
    /// If the text is not a manifest.
    fn each(
        reader: &mut dyn Read,
        each: &mut dyn FnMut(Self) -> bool,
    ) -> Result<(), serde_json::Error>;
}

impl Listed for ManifestFile {
    fn each(
        reader: &mut dyn Read,
        each: &mut dyn FnMut(Self) -> bool,
    ) -> Result<(), serde_json::Error> {
        each_file(reader, each)
    }
}

impl Listed for ListedFile {
    fn each(
        reader: &mut dyn Read,
        each: &mut dyn FnMut(Self) -> bool,
    ) -> Result<(), serde_json::Error> {
        each_earlier_file(reader, each)
    }
}

fn failure_of(error: &serde_json::Error) -> Failure {
    if error.is_io() { broke_off() } else { not_understood("manifest.json") }
}

impl Control {
    /// The manifest of a run but for its lists; `None` where there is none.
    ///
    /// # Errors
    /// As [`Control::read`].
    pub async fn head_of(&self, run: RunId) -> Result<Option<ManifestHead>, Failure> {
        let key = self.prefix.manifest(run);
        let Some((body, _)) = self.open(&key).await? else { return Ok(None) };
        let mut chunks = Chunks::of(body);
        let read = tokio::task::spawn_blocking(move || read_head(&mut chunks)).await;
        match read {
            Ok(Ok(head)) if head.version > CONTROL_VERSION => Err(newer_release("manifest.json")),
            Ok(Ok(head)) => Ok(Some(head)),
            Ok(Err(error)) if error.is_io() => Err(broke_off()),
            Ok(Err(_)) => Err(self.why_not_parsed(&key).await?),
            Err(_) => Err(broke_off()),
        }
    }

    /// The reason why a manifest cannot be parsed: a newer release may have written it in another format.
    async fn why_not_parsed(&self, key: &str) -> Result<Failure, Failure> {
        // the manifest was removed in the meantime
        let Some((body, _)) = self.open(key).await? else { return Ok(broke_off()) };
        let mut chunks = Chunks::of(body);
        let newer = tokio::task::spawn_blocking(move || is_newer(&mut chunks)).await;
        let newer = newer.map_err(|_| broke_off())?;
        Ok(if newer { newer_release("manifest.json") } else { not_understood("manifest.json") })
    }

    /// Files of a run by its manifest, one by one; `None` where there is none.
    ///
    /// # Errors
    /// As [`Control::read`]; so is every file.
    pub async fn files_of<T: Listed>(
        &self,
        run: RunId,
    ) -> Result<Option<impl Stream<Item = Result<T, Failure>> + use<T>>, Failure> {
        let Some((body, _)) = self.open(&self.prefix.manifest(run)).await? else {
            return Ok(None);
        };
        let mut chunks = Chunks::of(body);
        let (sender, files) = mpsc::channel(FILES);
        tokio::task::spawn_blocking(move || {
            let read = T::each(&mut chunks, &mut |file| sender.blocking_send(Ok(file)).is_ok());
            if let Err(error) = read {
                // nobody may be there any more to take it
                let _ = sender.blocking_send(Err(failure_of(&error)));
            }
        });
        let next =
            |mut files: mpsc::Receiver<_>| async { files.recv().await.map(|one| (one, files)) };
        Ok(Some(stream::unfold(files, next)))
    }

    /// The record of a partition.
    ///
    /// # Errors
    /// As [`Control::read`]; `RecordMissing` where there is none.
    pub async fn record(&self, run: RunId, index: u32) -> Result<PartitionRecord, Failure> {
        self.record_at(&self.prefix.record(run, index)).await
    }

    /// The records with these keys, of which the largest has so many bytes, in this order.
    pub fn records<'a>(
        &'a self,
        keys: &'a [String],
        largest: u64,
    ) -> impl Stream<Item = Result<PartitionRecord, Failure>> + 'a {
        stream::iter(keys).map(|key| self.record_at(key)).buffered(at_once(largest))
    }

    async fn record_at(&self, key: &str) -> Result<PartitionRecord, Failure> {
        let found = self.bytes(key).await?;
        let (body, _) = found.ok_or_else(|| {
            Failure::transient(Reason::RecordMissing, "a partition record no longer exists", "")
        })?;
        match PartitionRecord::read(&body) {
            Ok(record) if record.version <= CONTROL_VERSION => Ok(record),
            Ok(_) => Err(newer_release("a partition record")),
            Err(_) => super::objects::parse(key, &body),
        }
    }

    /// An object that is to be written as it is made.
    pub fn whole_object(&self, key: &str) -> WholeObject<'_> {
        WholeObject {
            control: self,
            key: key.to_owned(),
            buffer: Vec::new(),
            upload: None,
            parts: Vec::new(),
        }
    }
}

/// A control object that is written as it is made, and may be larger than what a process can hold.
#[derive(Debug)]
pub struct WholeObject<'a> {
    control: &'a Control,
    key: String,
    /// What comes next.
    pub buffer: Vec<u8>,
    upload: Option<String>,
    parts: Vec<CompletedPart>,
}

impl WholeObject<'_> {
    /// Sends what the buffer holds once it is enough for a part.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn flow(&mut self) -> Result<(), Failure> {
        if self.buffer.len() < PART_BYTES { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let (client, bucket) = (&self.control.client, &self.control.prefix.bucket);
        let upload = match self.upload.clone() {
            Some(upload) => upload,
            None => {
                let request = client.create_multipart_upload().bucket(bucket).key(&self.key);
                let begun = Box::pin(request.content_type("application/json").send()).await;
                let begun = begun.map_err(|error| storage_failure("begin a manifest", &error))?;
                let id = begun.upload_id.ok_or_else(broke_off)?;
                self.upload.insert(id).clone()
            }
        };
        let number = i32::try_from(self.parts.len()).unwrap_or(i32::MAX).saturating_add(1);
        let part = std::mem::take(&mut self.buffer);
        let request = client.upload_part().bucket(bucket).key(&self.key).upload_id(upload);
        let request = request.part_number(number).body(ByteStream::from(part));
        let sent = Box::pin(request.send()).await;
        let sent = sent.map_err(|error| storage_failure("send a part of a manifest", &error))?;
        let checksum = checksums::of_part(&sent);
        let etag = sent.e_tag.ok_or_else(broke_off)?;
        self.parts.push(checksums::completed(number, &etag, checksum.as_ref()));
        Ok(())
    }

    /// Ends it, where no object is there yet.
    ///
    /// # Errors
    /// As [`storage_failure`]; what was sent is removed then.
    pub async fn end(mut self) -> Result<Reply, Failure> {
        if self.upload.is_none() {
            return self.control.put(&self.key, &self.buffer, &Only::IfAbsent).await;
        }
        let ended = match self.send().await {
            Ok(()) => self.complete().await,
            Err(failure) => Err(failure),
        };
        if !matches!(ended, Ok(Reply::Done)) {
            self.abort().await;
        }
        ended
    }

    async fn complete(&mut self) -> Result<Reply, Failure> {
        let (client, bucket) = (&self.control.client, &self.control.prefix.bucket);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts.clone())).build();
        let request = client.complete_multipart_upload().bucket(bucket).key(&self.key);
        let request = request.set_upload_id(self.upload.clone()).if_none_match("*");
        match Box::pin(request.multipart_upload(parts).send()).await {
            Ok(_) => Ok(Reply::Done),
            Err(error) => match code(&error) {
                "PreconditionFailed" => Ok(Reply::Refused),
                // completed by a request whose reply was lost
                "NoSuchUpload" if self.control.open(&self.key).await?.is_some() => Ok(Reply::Done),
                "ConditionalRequestConflict" | "OperationAborted" => Err(Failure::transient(
                    Reason::StorageUnreachable,
                    "too many concurrent writes to one control object",
                    "",
                )),
                _ => Err(storage_failure("complete a manifest", &error)),
            },
        }
    }

    /// Removes what was sent. What cannot be removed is left to the cleanup of abandoned runs.
    pub async fn abort(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if let Err(failure) = self.control.abort(&self.key, &upload).await {
            tracing::warn!(%failure, "cannot abort the upload of a manifest; the cleanup of abandoned runs aborts it");
        }
    }
}
