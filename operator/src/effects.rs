//! In: a decision. Out: the cluster changed, one effect at a time, then the status, then events.
//! Bound: the decision. Fails: at the first effect that fails; deciding again corrects that.

use std::time::Duration;

use crds::{ExtractJob, ExtractJobStatus};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use operator_core::attempt::is_made_for;
use operator_core::decide::{foreign_job, refused_job};
use operator_core::labels::{ENDING, FINALIZER, REVISION};
use operator_core::{Decision, Effect, Observed};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, code};
use crate::pause::Side;
use crate::report;

/// The one field manager of everything that is applied.
const MANAGER: &str = "tidemark-operator";

/// What became of an effect.
enum Applied {
    /// Done, or done before.
    Done,
    /// The object has this version now.
    Version(Option<String>),
    /// The decision cannot be applied: this one replaces it.
    Instead(Box<Decision>),
}

/// Applies a decision, and returns when to decide again.
///
/// # Errors
/// The API server's.
pub(crate) async fn apply(
    context: &Context,
    observed: &Observed<'_>,
    decision: &Decision,
) -> Result<Duration, Error> {
    let mut version = observed.job.metadata.resource_version.clone();
    let mut released = false;
    let mut decision = decision;
    // before a word of it is written: an object that waits for a person is not to be rewritten each time
    let foreign = foreign(context, observed, decision).await?;
    if let Some(foreign) = &foreign {
        decision = foreign;
    }
    let (mut put, mut written) = (false, false);
    let instead;
    for effect in &decision.effects {
        report::effect(context, observed, effect);
        if *effect == Effect::PutStatus {
            version = put_status(context, observed, &decision.status, version.as_deref()).await?;
            (put, written) = (true, true);
            continue;
        }
        match one(context, observed, effect, version.as_deref()).await? {
            Applied::Done => {}
            Applied::Version(now) => version = now,
            Applied::Instead(other) => {
                instead = other;
                decision = &instead;
                put = false;
                break;
            }
        }
        released |= *effect == Effect::DropFinalizer;
    }
    let deleted = observed.job.metadata.deletion_timestamp.is_some();
    let changed = observed.job.status.as_ref() != Some(&decision.status);
    // what stands instead may be what stood there before, and is not any more
    if !put && (changed || written) && !(released && deleted) {
        put_status(context, observed, &decision.status, version.as_deref()).await?;
    }
    report::events(context, observed, &decision.events).await;
    Ok(decision.requeue.max(Duration::from_millis(50)))
}

async fn one(
    context: &Context,
    observed: &Observed<'_>,
    effect: &Effect,
    version: Option<&str>,
) -> Result<Applied, Error> {
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), observed.namespace());
    match effect {
        Effect::AddFinalizer => finalizer(context, observed, version, true).await,
        Effect::DropFinalizer => finalizer(context, observed, version, false).await,
        Effect::PutStatus => Ok(Applied::Done),
        Effect::CreateJob(job) => {
            context.pause.at(Side::Before, job).await;
            let made = create(&jobs, observed, job).await;
            context.pause.at(Side::After, job).await;
            made
        }
        Effect::RecordEnding { job, ending } => {
            let text = serde_json::to_string(ending).unwrap_or_default();
            let patch = json!({ "metadata": { "annotations": { ENDING: text } } });
            change(&jobs, job, &patch, "record the end of the attempt").await
        }
        Effect::RecordRevision { job, revision } => {
            let patch =
                json!({ "metadata": { "annotations": { REVISION: revision.to_string() } } });
            change(&jobs, job, &patch, "record the revision").await
        }
        Effect::StopJob { job } => {
            let patch = json!({ "spec": { "activeDeadlineSeconds": 1 } });
            change(&jobs, job, &patch, "stop a Job").await
        }
        Effect::SetTtl { job, seconds } => {
            let patch = json!({ "spec": { "ttlSecondsAfterFinished": seconds } });
            change(&jobs, job, &patch, "set the time to live of a Job").await
        }
        Effect::DeleteJob { job, uid } => {
            let only = Preconditions { uid: Some(uid.clone()), resource_version: None };
            let how = DeleteParams::foreground().preconditions(only);
            match jobs.delete(job, &how).await {
                Ok(_) => Ok(Applied::Done),
                Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(Applied::Done),
                Err(error) => Err(Error::cluster("delete a Job")(error)),
            }
        }
    }
}

async fn change(
    jobs: &Api<Job>,
    name: &str,
    patch: &Value,
    action: &'static str,
) -> Result<Applied, Error> {
    match jobs.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(Applied::Done),
        Err(error) if code(&error) == Some(404) => Ok(Applied::Done),
        Err(error) => Err(Error::cluster(action)(error)),
    }
}

/// What stands instead where somebody else's Job has the name of one that is to be made.
async fn foreign(
    context: &Context,
    observed: &Observed<'_>,
    decision: &Decision,
) -> Result<Option<Decision>, Error> {
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), observed.namespace());
    for effect in &decision.effects {
        let Effect::CreateJob(job) = effect else { continue };
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let found = jobs.get_opt(name).await.map_err(Error::cluster("get a Job"))?;
        if found.is_some_and(|found| !is_made_for(&found, observed.uid())) {
            return Ok(Some(foreign_job(observed, name)));
        }
    }
    Ok(None)
}

async fn create(jobs: &Api<Job>, observed: &Observed<'_>, job: &Job) -> Result<Applied, Error> {
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let Err(error) = jobs.create(&params, job).await else {
        return Ok(Applied::Done);
    };
    let name = job.metadata.name.as_deref().unwrap_or_default();
    match &error {
        kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists" => {
            let found = jobs.get_opt(name).await.map_err(Error::cluster("get a Job"))?;
            match found {
                Some(found) if !is_made_for(&found, observed.uid()) => {
                    Ok(Applied::Instead(Box::new(foreign_job(observed, name))))
                }
                Some(_) | None => Ok(Applied::Done),
            }
        }
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
            Ok(Applied::Instead(Box::new(refused_job(observed, name, &status.message))))
        }
        _ => Err(Error::cluster("create a Job")(error)),
    }
}

/// The version that was read is a condition: an object that changed meanwhile is decided on again.
async fn finalizer(
    context: &Context,
    observed: &Observed<'_>,
    version: Option<&str>,
    add: bool,
) -> Result<Applied, Error> {
    let mut names = observed.job.metadata.finalizers.clone().unwrap_or_default();
    names.retain(|name| name != FINALIZER);
    if add {
        names.push(FINALIZER.to_owned());
    }
    let patch = json!({ "metadata": { "resourceVersion": version, "finalizers": names } });
    let objects: Api<ExtractJob> = Api::namespaced(context.client.clone(), observed.namespace());
    match objects.patch(observed.name(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(object) => Ok(Applied::Version(object.metadata.resource_version)),
        Err(error) if code(&error) == Some(404) && !add => Ok(Applied::Done),
        Err(error) => Err(Error::cluster("change the finalizer")(error)),
    }
}

/// Under the version that was decided on, so that an old copy takes nothing back.
async fn put_status(
    context: &Context,
    observed: &Observed<'_>,
    status: &ExtractJobStatus,
    version: Option<&str>,
) -> Result<Option<String>, Error> {
    let patch = json!({
        "apiVersion": "tidemark.dev/v1alpha1",
        "kind": "ExtractJob",
        "metadata": { "name": observed.name(), "resourceVersion": version },
        "status": status,
    });
    let objects: Api<ExtractJob> = Api::namespaced(context.client.clone(), observed.namespace());
    let params = PatchParams::apply(MANAGER).force();
    let object = objects
        .patch_status(observed.name(), &params, &Patch::Apply(&patch))
        .await
        .map_err(Error::cluster("apply the status"))?;
    Ok(object.metadata.resource_version)
}
