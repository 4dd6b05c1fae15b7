//! In: a DELETE that the object store refused. Out: whether an Object Lock protects the object, and until
//! when. Bound: four requests for each refused object. Fails: [`Failure`] with a storage reason.
//!
//! On a bucket with versions, a lock does not refuse a DELETE that names no version: the store hides the
//! object behind a delete marker. A refusal there is nearly always a missing permission. So the object itself
//! must be known to be locked; that its bucket may lock objects proves nothing.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::ObjectLockLegalHoldStatus;
use crds::Reason;
use worker_core::errors::failure::Failure;
use worker_core::protocol::Reply;

use super::objects::{Control, code};
use crate::stores::errors::storage_failure;

/// Error codes that a lock may cause.
const REFUSALS: [&str; 4] = ["AccessDenied", "InvalidRequest", "MethodNotAllowed", "Forbidden"];
/// Codes that name the lock.
const LOCKED: [&str; 4] = [
    "ObjectLocked",
    "ObjectLockedByBucketPolicy",
    "ObjectUnderActiveHold",
    "RetentionPolicyNotMet",
];
/// Error codes of a bucket or store without Object Lock. For an object without a lock, the store answers 404.
const NO_LOCK: [&str; 4] =
    ["InvalidRequest", "InvalidBucketState", "NotImplemented", "MethodNotAllowed"];
/// Seconds until a removal is retried if the end of the lock is not known.
const UNKNOWN_SECONDS: i64 = 86_400;
/// Seconds by which the clock of the object store may be behind ours.
const CLOCK_SECONDS: i64 = 300;

/// What is known of the lock of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// It is locked until then, in seconds since 1970, UTC.
    Until(i64),
    /// It is not locked.
    Open,
    /// It has versions: no lock refuses a DELETE that names none.
    Versioned,
    /// It is not there.
    Absent,
    /// The object store does not say.
    Unknown,
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Until when a retention protects an object, if it still does.
fn retained(until: Option<&DateTime>) -> Option<i64> {
    until.map(DateTime::secs).filter(|until| until.saturating_add(CLOCK_SECONDS) > now())
}

impl Control {
    /// Decides whether a lock explains a refused DELETE.
    ///
    /// # Errors
    /// `StorageDenied` where a right is missing, or may be; as [`storage_failure`] for all else.
    pub(super) async fn refused<E>(&self, key: &str, error: &SdkError<E>) -> Result<Reply, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let refusal = code(error);
        let named = LOCKED.contains(&refusal);
        if !named && !REFUSALS.contains(&refusal) {
            return Err(storage_failure("delete a file", error));
        }
        let missing = match self.lock(key).await? {
            Lock::Until(until) => return Ok(Reply::Locked(until)),
            Lock::Open | Lock::Versioned | Lock::Unknown if named => {
                return Ok(Reply::Locked(now().saturating_add(UNKNOWN_SECONDS)));
            }
            Lock::Absent => return Ok(Reply::Done),
            Lock::Open if matches!(refusal, "InvalidRequest" | "MethodNotAllowed") => {
                return Err(storage_failure("delete a file", error));
            }
            Lock::Open => {
                "Allow s3:DeleteObject on the prefix. The file has no Object Lock (neither a retention nor \
                 a legal hold)."
            }
            Lock::Versioned => {
                "Allow s3:DeleteObject on the prefix. The bucket has versions, so an Object Lock cannot be \
                 the reason."
            }
            Lock::Unknown => {
                "Allow s3:DeleteObject on the prefix. If it is already allowed, also allow \
                 s3:GetObjectRetention and s3:GetObjectLegalHold, so that Tidemark can check whether an \
                 Object Lock protects the file."
            }
        };
        Err(Failure::permanent(
            Reason::StorageDenied,
            format!("delete a file: the object store denies access ({refusal})"),
            missing,
        ))
    }

    /// Reads the lock of an object. HEAD returns the lock headers only to users who may read the lock, so missing
    /// headers prove nothing.
    async fn lock(&self, key: &str) -> Result<Lock, Failure> {
        let bucket = &self.prefix.bucket;
        match Box::pin(self.client.head_object().bucket(bucket).key(key).send()).await {
            Ok(head) => {
                if head.version_id().is_some_and(|version| version != "null") {
                    return Ok(Lock::Versioned);
                }
                if head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On) {
                    return Ok(Lock::Until(now().saturating_add(UNKNOWN_SECONDS)));
                }
                if let Some(until) = retained(head.object_lock_retain_until_date()) {
                    return Ok(Lock::Until(until));
                }
            }
            Err(SdkError::ServiceError(service)) if service.raw().status().as_u16() == 404 => {
                return Ok(Lock::Absent);
            }
            // those who may not read the object may still be allowed to read its lock
            Err(_) => {}
        }
        let asked = self.client.get_object_retention().bucket(bucket).key(key);
        let retention = match Box::pin(asked.send()).await {
            Ok(found) => {
                let until = found.retention().and_then(|found| found.retain_until_date());
                retained(until).map_or(Lock::Open, Lock::Until)
            }
            Err(error) => lock_error("read the retention of a file", &error)?,
        };
        if let Lock::Until(_) = retention {
            return Ok(retention);
        }
        let asked = self.client.get_object_legal_hold().bucket(bucket).key(key);
        let hold = match Box::pin(asked.send()).await {
            Ok(found) => {
                let status = found.legal_hold().and_then(|found| found.status());
                match status {
                    Some(ObjectLockLegalHoldStatus::On) => {
                        Lock::Until(now().saturating_add(UNKNOWN_SECONDS))
                    }
                    _ => Lock::Open,
                }
            }
            Err(error) => lock_error("read the legal hold of a file", &error)?,
        };
        Ok(if hold == Lock::Open { retention } else { hold })
    }
}

/// What an error shows about a lock: that there is none, or nothing.
fn lock_error<E>(action: &str, error: &SdkError<E>) -> Result<Lock, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    if status == Some(404) || NO_LOCK.contains(&code(error)) {
        return Ok(Lock::Open);
    }
    let failure = storage_failure(action, error);
    if failure.report.reason == Reason::StorageUnreachable {
        Err(failure)
    } else {
        Ok(Lock::Unknown)
    }
}
