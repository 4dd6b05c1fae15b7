//! In: an object. Out: its bytes as they come. Bound: a chunk; [`RESUMES_MAX`] requests that bring nothing.
//! Fails: [`Failure`] with a storage reason.
//!
//! A store may close the body of an object that is read slowly. Tidemark reads a manifest slowly while it checks
//! the files. It then requests the rest of the same version (`If-Match`).

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use worker_core::errors::failure::Failure;

use super::objects::{Control, broke_off, code};
use crate::stores::errors::storage_failure;

/// Maximum number of consecutive requests for the rest of a body that return no byte.
const RESUMES_MAX: u32 = 5;

/// The bytes of an object.
#[derive(Debug)]
pub(super) struct Body {
    control: Control,
    key: String,
    etag: String,
    size: Option<u64>,
    came: u64,
    resumes: u32,
    stream: ByteStream,
}

impl Control {
    /// Begins to read one object; `None` where there is none.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub(super) async fn open(&self, key: &str) -> Result<Option<(Body, String)>, Failure> {
        let request = self.client.get_object().bucket(&self.prefix.bucket).key(key);
        let reply = match Box::pin(request.send()).await {
            Ok(reply) => reply,
            Err(error) if code(&error) == "NoSuchKey" => return Ok(None),
            Err(error) => return Err(storage_failure("read a control object", &error)),
        };
        let etag = reply.e_tag().unwrap_or_default().to_owned();
        let body = Body {
            control: self.clone(),
            key: key.to_owned(),
            etag: etag.clone(),
            size: reply.content_length().and_then(|size| u64::try_from(size).ok()),
            came: 0,
            resumes: 0,
            stream: reply.body,
        };
        Ok(Some((body, etag)))
    }
}

impl Body {
    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// As [`storage_failure`]; `StorageUnreachable` where the body cannot be read to its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let whole = self.size.is_none_or(|size| self.came >= size);
            match self.stream.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    self.came = self.came.saturating_add(chunk.len() as u64);
                    self.resumes = 0;
                    return Ok(Some(chunk));
                }
                None if whole => return Ok(None),
                // all bytes came and do not fit their checksum
                Some(Err(_)) if whole && self.size.is_some() => return Err(broke_off()),
                None | Some(Err(_)) => self.resume().await?,
            }
        }
    }

    /// All that is left.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(super) async fn rest(mut self) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    async fn resume(&mut self) -> Result<(), Failure> {
        self.resumes += 1;
        if self.resumes > RESUMES_MAX || self.etag.is_empty() {
            return Err(broke_off());
        }
        tracing::debug!(key = self.key, came = self.came, "the download was interrupted; resuming");
        let (client, bucket) = (&self.control.client, &self.control.prefix.bucket);
        let request = client.get_object().bucket(bucket).key(&self.key);
        let request = request.range(format!("bytes={}-", self.came)).if_match(&self.etag);
        match Box::pin(request.send()).await {
            Ok(reply) => {
                let from = format!("bytes {}-", self.came);
                // the store ignores Range and would start from the first byte
                if !reply.content_range().is_some_and(|range| range.starts_with(&from)) {
                    return Err(broke_off());
                }
                self.stream = reply.body;
                Ok(())
            }
            // the object was replaced meanwhile
            Err(error) if matches!(code(&error), "PreconditionFailed" | "NoSuchKey") => {
                Err(broke_off())
            }
            Err(error) => Err(storage_failure("read a control object", &error)),
        }
    }
}
