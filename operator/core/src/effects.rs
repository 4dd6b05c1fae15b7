//! In: a decision. Out: [`Effect`]s in the only safe order: a crash after any of them is corrected by
//! deciding again. Bound: a few for each Job of one object. Fails: when applied, elsewhere.

use crds::Reason;
use k8s_openapi::api::batch::v1::Job;

use crate::ending::Ending;

/// One change to the cluster. Status and events follow the effects.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Put our finalizer on the object, if it is still as observed.
    AddFinalizer,
    /// Write the decision's status now, under the version of the object that was observed.
    PutStatus,
    /// Make a Job. One of the same name is a success if it belongs to the same object.
    CreateJob(Box<Job>),
    /// Write on the coordinator Job how its attempt ended, while its pods still say so.
    RecordEnding {
        /// The Job.
        job: String,
        /// How it ended.
        ending: Ending,
    },
    /// Write on the extract Job where the run stood when all partitions had ended.
    RecordRevision {
        /// The Job.
        job: String,
        /// `revision` of the run.
        revision: u64,
    },
    /// End the pods of a started Job and keep their logs.
    StopJob {
        /// The Job.
        job: String,
    },
    /// Delete a Job and, before it, its pods.
    DeleteJob {
        /// The Job.
        job: String,
        /// Its uid: another Job of that name is left alone.
        uid: String,
    },
    /// Let the cluster remove a finished Job later.
    SetTtl {
        /// The Job.
        job: String,
        /// Seconds after its end.
        seconds: i32,
    },
    /// Take our finalizer off the object.
    DropFinalizer,
}

/// A Kubernetes Event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Whether it is odd.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// What, with a remedy if there is one.
    pub message: String,
}
