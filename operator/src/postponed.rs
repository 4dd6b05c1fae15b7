//! In: Jobs that deleted objects left behind, each suspended until its time. Out: those whose time has
//! come are started. Bound: one request for each. Fails: what the API server refuses; it is tried again.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use kube::{Api, ResourceExt};
use operator_core::labels::POSTPONED;
use operator_core::postponed::{Start, start};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, code};
use crate::watches::{Work, api};

/// Until a request that failed is made again.
const RETRY: Duration = Duration::from_secs(30);
/// Longest time between two checks of the clock.
const REQUEUE_MAX: Duration = Duration::from_hours(1);

/// Starts such Jobs of one namespace, or of all, until `stop` ends.
pub(crate) fn watch(
    context: &Arc<Context>,
    scope: Option<&str>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> Work {
    let left = watcher::Config::default().labels(&format!("{POSTPONED}=true"));
    Controller::new(api::<Job>(context, scope), left)
        .graceful_shutdown_on(stop)
        .run(reconcile, failure, Arc::clone(context))
        .map(|_| ())
        .boxed()
}

async fn reconcile(job: Arc<Job>, context: Arc<Context>) -> Result<Action, Error> {
    match start(&job, Timestamp::now()) {
        Start::Never => return Ok(Action::await_change()),
        Start::In(left) => return Ok(Action::requeue(left.min(REQUEUE_MAX))),
        Start::Now => {}
    }
    let (name, namespace) = (job.name_any(), job.namespace().unwrap_or_default());
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({ "spec": { "suspend": false } });
    match jobs.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => {
            tracing::info!(namespace, job = name, "started the Job that removes replaced files");
        }
        Err(error) if code(&error) == Some(404) => {}
        Err(error) => return Err(Error::cluster("start a Job")(error)),
    }
    Ok(Action::await_change())
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube-runtime's")]
fn failure(job: Arc<Job>, error: &Error, _: Arc<Context>) -> Action {
    tracing::warn!(job = job.name_any(), %error, "cannot start the Job that removes replaced files");
    Action::requeue(RETRY)
}
