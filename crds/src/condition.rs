//! What is said about a run: condition types, reasons, and the report that a pod leaves behind.
//!
//! No string literal for any of these stands anywhere else.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word as it stands in conditions, events, items and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// The condition types of an `ExtractJob`. `Reconciling` and `Stalled` are kstatus' words.
    ConditionType {
        /// The coordinator has claimed the source and pinned the window.
        Planned,
        /// Rows are being read.
        Running,
        /// The run is published: the run item says `published`.
        Committed,
        /// Pointer and removal are done too.
        Complete,
        /// The object will not be tried again by itself.
        Failed,
        /// Nothing is started, by the request of the manifest.
        Suspended,
        /// Something is in flight.
        Reconciling,
        /// A person is needed.
        Stalled,
    }
}

words! {
    /// Why a condition has its status, where no [`Reason`] of a run says it.
    ConditionReason {
        /// The attempt claimed the source and planned its window.
        WindowPlanned,
        /// An attempt is in flight.
        AttemptInFlight,
        /// The next attempt has not started.
        AttemptPending,
        /// The request is complete.
        RequestComplete,
        /// `spec.suspend` is not true.
        NotSuspended,
        /// `spec.suspend` is true, and the current attempt is ending.
        Suspending,
        /// `spec.suspend` is true, and no attempt is in flight.
        NothingToSuspend,
        /// The operator continues without a manual change.
        OperatorContinues,
    }
}

words! {
    /// Why a condition has its status, as a run or the operator reports it.
    Reason {
        /// The run is published, or the request is complete.
        Succeeded,
        /// The coordinator starts, or plans the run.
        Planning,
        /// Rows are being read.
        Extracting,
        /// The run is being published.
        Committing,
        /// Another run has claimed the source.
        SourceBusy,
        /// The run is published, but no guard kept the end of its window below rows that commit late.
        Unguarded,
        /// An attempt failed, and the next one starts after a delay.
        RetryPending,
        /// `spec.suspend` is true, so no run starts.
        Suspended,
        /// The object is being deleted.
        Deleting,
        /// The manifest has a mistake that only the operator or the database can detect.
        InvalidSpec,
        /// The annotation `tidemark.dev/requested-at` is not a time, or lies more than a day ahead.
        InvalidRequest,
        /// A newer release of Tidemark wrote the task, the tracking items or the files.
        NewerRelease,
        /// No tracking table is named, or this one is not on the operator's allow-list.
        TrackingNotAllowed,
        /// The tracking table cannot be read or written.
        TrackingUnreachable,
        /// Earlier runs of the object used another tracking table.
        TrackingChanged,
        /// A tracking item that must exist is missing.
        TrackingLost,
        /// A tracking item does not have the required form.
        TrackingUnreadable,
        /// The stored watermark belongs to another column or type.
        WatermarkColumnChanged,
        /// The table's highest watermark is below the stored watermark.
        WatermarkRegressed,
        /// Another process changed the watermark during the run.
        WatermarkMoved,
        /// There are rows without a watermark, and `nullPolicy` is `fail`.
        NullWatermarkRows,
        /// A value that must be finite is NaN or infinity.
        NonFiniteValue,
        /// The prefix belongs to another source.
        PrefixTaken,
        /// The published extract is at another URI.
        UriChanged,
        /// An upload of a decided run is missing.
        CommitStuck,
        /// The manifest of a published or decided run is missing.
        ManifestMissing,
        /// The run to undo is not decided, or has not claimed the source.
        NotStuck,
        /// Standard output cannot be written.
        OutputFailed,
        /// The tracking table, the manifests and the files contradict each other.
        VerifyFailed,
        /// A person undid a decided run.
        Reverted,
        /// The tracking items changed since they were read.
        RevisionChanged,
        /// A partition ended without its partition record.
        RecordMissing,
        /// A partition record does not match the plan, the other records or its upload.
        RecordMismatch,
        /// No extract pod started in time.
        ExtractNotStarted,
        /// The request failed before, and nothing has changed since.
        RequestFailed,
        /// The run is published, but its cleanup failed.
        CleanupFailed,
        /// The run could not be recovered.
        RecoveryFailed,
        /// Another process has claimed the source.
        Fenced,
        /// `activeDeadlineSeconds` is over.
        DeadlineExceeded,
        /// A pod does not start.
        PodNotStarted,
        /// A pod ended without a termination message.
        PodLost,
        /// A signal ended the process.
        Stopped,
        /// The Secret lacks a key, or cannot be read.
        CredentialsMissing,
        /// AWS Secrets Manager does not answer.
        CredentialsUnreachable,
        /// The database refuses the user or the password.
        CredentialsRejected,
        /// The connection to the database failed or was closed.
        DatabaseUnreachable,
        /// The TLS handshake with the database failed.
        TlsFailed,
        /// A pooler in front of the database does not give each client its own session.
        PoolerUnsupported,
        /// The database does not exist.
        DatabaseNotFound,
        /// The table does not exist, or the database user cannot see it.
        TableNotFound,
        /// The table is not the table of the published extract.
        TableChanged,
        /// The column does not exist, or the table has no columns.
        ColumnNotFound,
        /// The database user lacks a privilege.
        DatabaseDenied,
        /// A setting may change the rows that are read, and the database user may not set it.
        SettingRefused,
        /// The column cannot serve as watermark, partition column or directory name.
        ColumnTypeUnsupported,
        /// A column would lose a part of its values, and `extract.fidelity` is `strict`.
        LossyColumn,
        /// The columns changed since the last run, and `extract.schemaPolicy` refuses the change.
        SchemaChanged,
        /// The database cannot execute the query, and another attempt cannot help.
        QueryFailed,
        /// The database failed during the run.
        DatabaseFailed,
        /// The snapshot that all partitions share is lost.
        SnapshotLost,
        /// Nothing proves that all partitions are read from one consistent snapshot.
        SnapshotUnavailable,
        /// A value could not be read, or readers would refuse it.
        DecodeFailed,
        /// The numbers of rows read, recorded and written differ.
        RowCountMismatch,
        /// S3 does not answer.
        StorageUnreachable,
        /// The bucket does not exist, or is in another region.
        BucketNotFound,
        /// S3 refuses access.
        StorageDenied,
        /// S3 did not encrypt an object with the requested key.
        NotEncrypted,
        /// S3 failed in another way.
        StorageFailed,
        /// The tracking table does not exist.
        TrackingTableNotFound,
        /// DynamoDB refuses access.
        TrackingDenied,
        /// The ServiceAccount is missing or lacks its label.
        ServiceAccountNotAllowed,
        /// A Job of another owner has the name that the operator needs.
        ForeignJob,
        /// A bug of Tidemark.
        Internal,
    }
}

/// What a process says about its end: the termination message of a pod, and the source of
/// conditions and events. Never holds a secret, a row value or a SQL literal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why.
    pub reason: Reason,
    /// What happened, one sentence.
    pub message: String,
    /// What to do about it, one sentence; empty when there is nothing to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Report {
    /// A report with a remedy.
    pub fn new(reason: Reason, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason, message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; remedy: {}", self.remedy)?;
        }
        Ok(())
    }
}

/// How a process ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// Done; from `extract` only if the partition record exists.
    Done,
    /// Permanent for the run: a person must fix the cause.
    Permanent,
    /// Permanent for this partition.
    PartitionPermanent,
    /// Another run has claimed the source.
    Fenced,
    /// Try again later.
    Transient,
    /// A signal ended it.
    Stopped,
}

impl Exit {
    /// The code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Permanent => 10,
            Self::PartitionPermanent => 11,
            Self::Fenced => 20,
            Self::Transient => 75,
            Self::Stopped => 143,
        }
    }

    /// The meaning of a code; an unknown one (137, a crash) may pass by itself.
    pub const fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Done,
            10 => Self::Permanent,
            11 => Self::PartitionPermanent,
            20 => Self::Fenced,
            143 => Self::Stopped,
            _ => Self::Transient,
        }
    }
}
