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
