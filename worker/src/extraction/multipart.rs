//! In: Parquet files (bytes) in parts. Out: parts of multipart uploads that nobody can see yet.
//! Bound: parts in flight, each of one size. Fails: [`Failure`] with a storage reason.
//!
//! Nothing is completed here: that is the commit's right alone.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use crds::Reason;
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::layout::manifests::TOKEN_METADATA;
use worker_core::layout::records::PendingFile;

use crate::stores::checksums;
use crate::stores::errors::storage_failure;

/// Most parts of an upload, by S3's rules.
const PARTS_MAX: usize = 10_000;

/// One multipart upload in flight.
#[derive(Debug, Clone)]
pub struct Multipart {
    bucket: String,
    key: String,
    upload_id: String,
}

/// A part that lies on S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Its number, from 1.
    pub number: i32,
    /// What S3 calls its content.
    pub etag: String,
    /// Its checksum, where the store answers with one.
    pub checksum: Option<String>,
}

impl Multipart {
    /// Begins an upload with the token of this process.
    ///
    /// # Errors
    /// A storage reason.
    pub async fn create(
        s3: &Client,
        bucket: &str,
        key: String,
        token: &str,
    ) -> Result<Self, Failure> {
        let request = s3
            .create_multipart_upload()
            .bucket(bucket)
            .key(&key)
            .metadata(TOKEN_METADATA, token)
            .content_type("application/vnd.apache.parquet");
        let created = Box::pin(request.send()).await;
        let created = created.map_err(|error| storage_failure("begin an upload", &error))?;
        let upload_id = created.upload_id.ok_or_else(|| no_answer("begin an upload"))?;
        Ok(Self { bucket: bucket.to_owned(), key, upload_id })
    }

    /// Sends one part. `number` counts from 1.
    ///
    /// # Errors
    /// A storage reason.
    pub async fn send(
        &self,
        s3: &Client,
        number: i32,
        bytes: Bytes,
    ) -> Result<StoredPart, Failure> {
        let request = s3
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.upload_id)
            .part_number(number)
            .body(ByteStream::from(bytes));
        let sent = Box::pin(request.send()).await;
        let sent = sent.map_err(|error| storage_failure("send a part", &error))?;
        let checksum = checksums::of_part(&sent);
        let etag = sent.e_tag.ok_or_else(|| no_answer("send a part"))?;
        Ok(StoredPart { number, etag, checksum })
    }

    /// What the record says of a file whose parts are all there.
    ///
    /// # Errors
    /// `Internal` where the parts are not 1, 2, ... or too many.
    pub fn record(
        &self,
        mut parts: Vec<StoredPart>,
        bytes: u64,
        rows: u64,
    ) -> Result<PendingFile, Failure> {
        parts.sort_by_key(|part| part.number);
        let gapless = (1..).zip(&parts).all(|(number, part)| part.number == number);
        if parts.is_empty() || parts.len() > PARTS_MAX || !gapless {
            let message = "the upload has missing parts or too many parts";
            return Err(Failure::permanent(Reason::Internal, message, REPORT));
        }
        let checksums: Option<Vec<String>> =
            parts.iter().map(|part| part.checksum.clone()).collect();
        Ok(PendingFile {
            key: self.key.clone(),
            upload_id: self.upload_id.clone(),
            parts: parts.into_iter().map(|part| part.etag).collect(),
            checksums: checksums.unwrap_or_default(),
            bytes,
            rows,
        })
    }

    /// Removes the upload and its parts.
    ///
    /// # Errors
    /// A storage reason; an upload that is gone is none.
    pub async fn abort(&self, s3: &Client) -> Result<(), Failure> {
        abort(s3, &self.bucket, &self.key, &self.upload_id).await
    }
}

async fn abort(s3: &Client, bucket: &str, key: &str, upload_id: &str) -> Result<(), Failure> {
    let request = s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload_id);
    match Box::pin(request.send()).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
        Err(error) => Err(storage_failure("abort an upload", &error)),
    }
}

fn no_answer(action: &str) -> Failure {
    let message = format!("{action}: the response of the object store lacks a field");
    Failure::transient(
        Reason::StorageFailed,
        message,
        "Check that output.endpoint is an S3 endpoint.",
    )
}
