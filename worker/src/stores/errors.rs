//! What an error of the object store means, and what to do about it.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use crds::Reason;
use worker_core::errors::failure::Failure;

use crate::stores::encryption;

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
            format!("{action}: the object store does not encrypt with the requested key"),
            "Correct output.kmsKeyId, or remove it to use the default encryption of the bucket.",
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
        let remedy =
            "Wait for the next attempt. If the error returns, check the log of the object store.";
        return Failure::transient(Reason::StorageUnreachable, message, remedy);
    }
    if unreachable {
        let message = format!("{action}: no response from the object store");
        let remedy = "Check output.endpoint and output.region, and that the network allows the pods to \
             connect to them.";
        return Failure::transient(Reason::StorageUnreachable, message, remedy);
    }
    refused(action, code, status)
}

/// The permissions that a run needs on the bucket.
const RIGHTS: &str = "Allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and \
    s3:ListMultipartUploadParts on the prefix, s3:ListBucket and s3:ListBucketMultipartUploads on \
    the bucket (with output.kmsKeyId also kms:GenerateDataKey and kms:Decrypt on the key), or \
    correct output.secretRef.";

/// The failure of a response that is not an outage.
fn refused(action: &str, code: Option<&str>, status: Option<u16>) -> Failure {
    match (code, status) {
        // another attempt sends the request to the same region
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
            "Set output.region to the region of the bucket.",
        ),
        (Some(kms), _) if kms.starts_with("KMS.") => Failure::permanent(
            Reason::NotEncrypted,
            format!(
                "{action}: the object store cannot use the encryption key{}",
                detail(code, status)
            ),
            "Correct output.kmsKeyId. The key must be enabled and in the region of the bucket.",
        ),
        (Some("NoSuchBucket"), _) => Failure::permanent(
            Reason::BucketNotFound,
            format!("{action}: the bucket does not exist"),
            "Create the bucket, or correct output.uri and output.region.",
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
            format!("{action}: the object store denies access{}", detail(code, status)),
            RIGHTS,
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
            "Look up the error code in the documentation of the object store. If it concerns a checksum, \
             set TIDEMARK_CHECKSUM (--checksum) to crc64nvme, sha256 or off.",
        ),
        _ => Failure::transient(
            Reason::StorageFailed,
            format!("{action}: the object store failed{}", detail(code, status)),
            "Wait for the next attempt. If the error returns, check the log of the object store.",
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
