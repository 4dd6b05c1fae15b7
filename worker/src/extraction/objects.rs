//! In: Parquet files (bytes) in parts. Out: parts of multipart uploads that nobody can see yet.
//! Bound: parts in flight, each of one size. Fails: [`Failure`] with a storage reason.
//!
//! Nothing is completed here: that is the commit's right alone.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use crds::Reason;
use worker_core::error::Failure;
use worker_core::manifests::TOKEN_METADATA;
use worker_core::records::PendingFile;

use crate::stores::checksums;
use crate::stores::encryption;

mod uploads;

pub use uploads::Uploads;

/// Most parts of an upload, by S3's rules.
const PARTS_MAX: usize = 10_000;

/// One multipart upload under way.
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
    /// Begins an upload that carries the token of this process.
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
            let message = "an upload has gaps or too many parts";
            return Err(Failure::permanent(Reason::Internal, message, "report this as a defect"));
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
    let message = format!("{action}: the answer of the object store lacks a field");
    Failure::transient(Reason::StorageFailed, message, "check that the endpoint speaks S3")
}

/// What an error of S3 means to people and to the operator. `action` reads "send a part".
///
/// Says code and HTTP status, never the request: that may hold a signature.
pub fn storage_failure<E>(action: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if encryption::is_why(error) {
        return Failure::permanent(
            Reason::NotEncrypted,
            format!("{action}: the object store does not encrypt with the key that was asked for"),
            "correct output.kmsKeyId, or leave it out and let the bucket's own rule encrypt",
        );
    }
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code();
    let unreachable = match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            true
        }
        // an answer, or a request that was never sent
        _ => false,
    };
    let overloaded = status.is_some_and(|status| status >= 500 || status == 429)
        || matches!(code, Some("SlowDown" | "RequestTimeout" | "InternalError"));
    if overloaded {
        let message = format!("{action}: the object store failed{}", detail(code, status));
        let remedy = "it is tried again; if it lasts, look into the object store's own log";
        return Failure::transient(Reason::StorageUnreachable, message, remedy);
    }
    if unreachable {
        let message = format!("{action}: no answer from the object store");
        let remedy = "check output.endpoint and output.region, and that the pod may reach them";
        return Failure::transient(Reason::StorageUnreachable, message, remedy);
    }
    refused(action, code, status)
}

/// What an answer means that is no outage.
fn refused(action: &str, code: Option<&str>, status: Option<u16>) -> Failure {
    match (code, status) {
        // a store answers a request to the wrong region so, and no repetition mends it
        (
            Some(
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ),
            _,
        )
        | (_, Some(301)) => Failure::permanent(
            Reason::BucketNotFound,
            format!("{action}: the bucket is in another region{}", detail(code, status)),
            "set output.region to the region of the bucket",
        ),
        (Some(kms), _) if kms.starts_with("KMS.") => Failure::permanent(
            Reason::NotEncrypted,
            format!("{action}: the object store cannot use the key{}", detail(code, status)),
            "correct output.kmsKeyId; the key must be enabled, and of the bucket's region",
        ),
        (Some("NoSuchBucket"), _) => Failure::permanent(
            Reason::BucketNotFound,
            format!("{action}: there is no such bucket"),
            "create the bucket, or correct output.uri and output.region",
        ),
        (
            Some(
                "AccessDenied"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "Forbidden"
                | "ExpiredToken"
                | "InvalidToken",
            ),
            _,
        )
        | (_, Some(401 | 403)) => Failure::permanent(
            Reason::StorageDenied,
            format!("{action}: the object store refuses access{}", detail(code, status)),
            "allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and \
             s3:ListMultipartUploadParts on the prefix, s3:ListBucket and \
             s3:ListBucketMultipartUploads on the bucket (with output.kmsKeyId also \
             kms:GenerateDataKey and kms:Decrypt on the key), or correct output.secretRef",
        ),
        // the same request is refused for the same reason again
        (
            Some(
                "InvalidRequest"
                | "InvalidArgument"
                | "MalformedXML"
                | "MethodNotAllowed"
                | "InvalidBucketName"
                | "InvalidBucketState"
                | "InvalidStorageClass"
                | "InvalidEncryptionAlgorithmError"
                | "KeyTooLongError"
                | "InvalidURI",
            ),
            _,
        ) => Failure::permanent(
            Reason::StorageFailed,
            format!("{action}: the object store rejects the request{}", detail(code, status)),
            "Look up the code in the documentation of the object store. Where it is about a checksum, \
             set TIDEMARK_CHECKSUM (--checksum) to crc64nvme, sha256 or off.",
        ),
        _ => Failure::transient(
            Reason::StorageFailed,
            format!("{action}: the object store failed{}", detail(code, status)),
            "it is tried again; if it comes back, look into the object store's own log",
        ),
    }
}

fn detail(code: Option<&str>, status: Option<u16>) -> String {
    match (code, status) {
        (Some(code), Some(status)) => format!(" ({code}, HTTP {status})"),
        (Some(code), None) => format!(" ({code})"),
        (None, Some(status)) => format!(" (HTTP {status})"),
        (None, None) => String::new(),
    }
}
