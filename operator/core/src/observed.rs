//! In: the API server, the tracking table and the clock, read elsewhere.
//! Out: [`Observed`], one snapshot of the cluster state of one `ExtractJob`.
//! Bound: the Jobs and pods of one uid. Fails: never; what could not be read says so itself.

use crds::tracking::{ITEM_VERSION, OutcomeItem, RunItem, WatermarkItem};
use crds::{ExtractJob, ExtractJobStatus, Report};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use crate::settings::Settings;

/// What one decision may use. Parts that cost a request are read when a decision asks for them.
#[derive(Debug, Clone)]
pub struct Observed<'a> {
    /// The object; a copy from a cache may be old.
    pub job: ExtractJob,
    /// Jobs labelled with its uid, as the API server has them now.
    pub jobs: Vec<Job>,
    /// Their pods.
    pub pods: Vec<Pod>,
    /// The items of the tracking table.
    pub tracking: Tracking,
    /// Whether the slow resync found another watermark item than status repeats.
    pub watermark_changed: bool,
    /// The ServiceAccount that pods would run under.
    pub service_account: ServiceAccountState,
    /// Warnings that the cluster gave about pods or Jobs that do not start.
    pub warnings: Option<Vec<ClusterWarning>>,
    /// Whether the namespace is being deleted.
    pub namespace_terminating: Option<bool>,
    /// How often in a row the tracking table could not be read.
    pub unreadable: u32,
    /// The time.
    pub now: Timestamp,
    /// The settings of the operator.
    pub settings: &'a Settings,
}

/// What is known of the tracking table.
#[derive(Debug, Clone)]
pub enum Tracking {
    /// Not asked for.
    NotRead,
    /// The items.
    Read(Box<TrackingRead>),
    /// It could not be read.
    Unreadable(Report),
}

/// The three items of one source and one object.
#[derive(Debug, Clone, Default)]
pub struct TrackingRead {
    /// The run.
    pub run: Option<RunItem>,
    /// The legacy job's item.
    pub watermark_item: Option<WatermarkItem>,
    /// The outcome for this object.
    pub outcome: Option<OutcomeItem>,
}

impl TrackingRead {
    /// Whether a newer release wrote one of the items.
    pub fn is_newer(&self) -> bool {
        self.run.as_ref().is_some_and(|item| item.schema > ITEM_VERSION)
            || self.outcome.as_ref().is_some_and(|item| item.schema > ITEM_VERSION)
    }

    /// The run, if it is one of `uid`.
    pub fn run_of(&self, uid: &str) -> Option<&RunItem> {
        self.run.as_ref().filter(|run| run.owner.uid == uid)
    }
}

/// What is known of the ServiceAccount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAccountState {
    /// Not asked for.
    NotRead,
    /// There is none of that name.
    Absent,
    /// It lacks the label that lets extracts use it.
    Unlabelled,
    /// It may be used.
    Allowed,
}

/// A warning event of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterWarning {
    /// Its reason, such as `FailedMount`.
    pub reason: String,
    /// Its text.
    pub message: String,
}

impl Observed<'_> {
    /// The object's uid; empty only for objects that no server has seen.
    pub fn uid(&self) -> &str {
        self.job.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.job.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.job.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its generation.
    pub fn generation(&self) -> i64 {
        self.job.metadata.generation.unwrap_or_default()
    }

    /// The last status, perhaps an old one.
    pub fn status(&self) -> ExtractJobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    /// Whether the manifest holds it back.
    pub fn is_suspended(&self) -> bool {
        self.job.spec.suspend == Some(true)
    }

    /// Whether our finalizer holds it.
    pub fn has_finalizer(&self) -> bool {
        self.job
            .metadata
            .finalizers
            .as_ref()
            .is_some_and(|names| names.iter().any(|name| name == crate::labels::FINALIZER))
    }
}
