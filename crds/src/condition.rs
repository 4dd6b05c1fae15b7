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
        /// The run is published: tracking says `Y`.
        Committed,
        /// Pointer and removal are done too.
        Complete,
        /// The object will not be tried again by itself.
        Failed,
        /// Nothing is started, by the wish of the manifest.
        Suspended,
        /// Something is under way.
        Reconciling,
        /// A human is needed.
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
        /// All is well.
        Succeeded,
        /// The coordinator is being started or is planning.
        Planning,
        /// Rows are being read.
        Extracting,
        /// The run is being published.
        Committing,
        /// Another run holds the source.
        SourceBusy,
        /// Published, but nothing kept the window's end below rows that commit late.
        Unguarded,
        /// The next attempt is due after a pause.
        RetryPending,
        /// `spec.suspend` holds the object back.
        Suspended,
        /// The object is being deleted.
        Deleting,
        /// Something about the manifest only shows outside the schema.
        InvalidSpec,
        /// A newer release wrote what is there.
        NewerRelease,
        /// The tracking table is not on the operator's allow-list, or none is named.
        TrackingNotAllowed,
        /// The tracking table cannot be read or written.
        TrackingUnreachable,
        /// The object was run against another tracking table.
        TrackingChanged,
        /// An item of the tracking table that must be there is gone.
        TrackingLost,
        /// The tracking item cannot be understood.
        TrackingUnreadable,
        /// The tracking item is of another watermark column or type.
        WatermarkColumnChanged,
        /// The table's maximum is below the stored watermark.
        WatermarkRegressed,
        /// Somebody else moved the watermark while the run was under way.
        WatermarkMoved,
        /// Rows without watermark, and the policy is to fail.
        NullWatermarkRows,
        /// NaN or infinity where a finite value is needed.
        NonFiniteValue,
        /// The prefix belongs to another source.
        PrefixTaken,
        /// The published extract lies under another uri.
        UriChanged,
        /// An upload of a decided run is gone.
        CommitStuck,
        /// The manifest of a run of the chain is gone.
        ManifestMissing,
        /// The run that was to be undone is not stuck.
        NotStuck,
        /// Standard output cannot be written.
        OutputFailed,
        /// What is published is not as it was recorded.
        VerifyFailed,
        /// A human undid a decided run.
        Reverted,
        /// The tracking items changed since they were looked at.
        RevisionChanged,
        /// A range ended without its record.
        RecordMissing,
        /// A record does not fit the plan or the others.
        RecordMismatch,
        /// No extract pod started in time.
        ExtractNotStarted,
        /// The request failed before, and nothing has changed since.
        RequestFailed,
        /// The run is published, and its cleanup failed.
        CleanupFailed,
        /// The run could not be recovered.
        SettleFailed,
        /// Another process took the run.
        Fenced,
        /// `activeDeadlineSeconds` is over.
        DeadlineExceeded,
        /// A pod does not start.
        PodNotStarted,
        /// A pod ended without saying why.
        PodLost,
        /// A signal ended the process.
        Stopped,
        /// The Secret lacks a key, or cannot be read.
        CredentialsMissing,
        /// AWS Secrets Manager does not answer.
        CredentialsUnreachable,
        /// The database refuses user or password.
        CredentialsRejected,
        /// No connection to the database.
        DatabaseUnreachable,
        /// The TLS handshake with the database failed.
        TlsFailed,
        /// A pooler in front of the database does not give each client a session of its own.
        PoolerUnsupported,
        /// There is no such database.
        DatabaseNotFound,
        /// There is no such table.
        TableNotFound,
        /// The table is another one than that of the published extract.
        TableChanged,
        /// There is no such column.
        ColumnNotFound,
        /// The database user may not read what is needed.
        DatabaseDenied,
        /// A setting of the server, database or role may change the rows read, and the user may not set it.
        SettingRefused,
        /// The column cannot serve as watermark or partition column.
        ColumnTypeUnsupported,
        /// Something of a column's values would be lost, and the policy is to be strict.
        LossyColumn,
        /// The columns are not those of the last run, and the manifest does not take the change.
        SchemaChanged,
        /// The database cannot execute the query, and another attempt cannot help.
        QueryFailed,
        /// The database failed in the middle.
        DatabaseFailed,
        /// The snapshot that all ranges share is gone.
        SnapshotLost,
        /// All ranges at one instant are asked for, and nothing proves that they are.
        SnapshotUnavailable,
        /// A value could not be read.
        DecodeFailed,
        /// Rows read, recorded and written differ.
        RowCountMismatch,
        /// No answer from S3.
        StorageUnreachable,
        /// There is no such bucket.
        BucketNotFound,
        /// S3 refuses access.
        StorageDenied,
        /// The object store does not encrypt as it was asked to.
        NotEncrypted,
        /// S3 failed in another way.
        StorageFailed,
        /// There is no such tracking table.
        TrackingTableNotFound,
        /// DynamoDB refuses access.
        TrackingDenied,
        /// The ServiceAccount is missing or lacks its label.
        ServiceAccountNotAllowed,
        /// A Job of another owner has our name.
        ForeignJob,
        /// A defect of Tidemark.
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
    /// Done; from `extract` only if the task record exists.
    Done,
    /// Permanent for the run: a human must mend something.
    Permanent,
    /// Permanent for this range.
    RangePermanent,
    /// Another run holds the source.
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
            Self::RangePermanent => 11,
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
            11 => Self::RangePermanent,
            20 => Self::Fenced,
            143 => Self::Stopped,
            _ => Self::Transient,
        }
    }
}
