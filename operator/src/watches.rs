//! In: what the API server tells of objects, their Jobs and pods. Out: reconciles, one at a time for
//! each object. Bound: reconciles at a time, in each scope. Fails: a watch that breaks begins anew.

use std::sync::Arc;

use crds::ExtractJob;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, ObjectRef, reflector};
use kube::runtime::{Controller, WatchStreamExt, controller, watcher};
use kube::{Api, Resource, ResourceExt};
use operator_core::labels::NAME;

use crate::context::Context;
use crate::readiness::telling;
use crate::reconcile::reconcile;
use crate::report;
use crate::watermarks::changed;

/// The Jobs and pods that are ours.
const OURS: &str = "app.kubernetes.io/managed-by=tidemark-operator";
/// Watches of one scope: objects, Jobs, pods.
pub(crate) const WATCHES: usize = 3;

/// Reconciles as long as it is polled.
pub(crate) type Work = stream::BoxStream<'static, ()>;

/// Watches one namespace, or all, until `stop` ends.
pub(crate) fn watch(
    context: &Arc<Context>,
    scope: Option<&str>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> Work {
    let ours = watcher::Config::default().labels(OURS);
    let (store, writer) = reflector::store();
    let all = watcher(api(context, scope), watcher::Config::default());
    let asking = Arc::clone(context);
    let objects = telling(reflector(writer, all), Arc::clone(&context.readiness))
        .applied_objects()
        .inspect_ok(move |object| asking.metrics.queue.asked(&ObjectRef::from_obj(object)));
    let jobs = watcher(api::<Job>(context, scope), ours.clone());
    let pods = watcher(api::<Pod>(context, scope), ours);
    let known = store.clone();
    let watermarks = changed(context, store.clone());
    let reported = Arc::clone(context);
    Controller::for_stream(objects, store)
        .with_config(controller::Config::default().concurrency(concurrency))
        .watches_stream(
            telling(jobs, Arc::clone(&context.readiness)).touched_objects(),
            asks(context, |job: &Job| owner_of(job)),
        )
        .watches_stream(
            telling(pods, Arc::clone(&context.readiness)).touched_objects(),
            asks(context, |pod: &Pod| object_of(pod)),
        )
        .reconcile_on(watermarks)
        .graceful_shutdown_on(stop)
        .run(reconcile, report::failure, Arc::clone(context))
        .map(move |done| match done {
            Ok((object, _)) => {
                let object = known.get(&object);
                let uid = object.and_then(|object| object.uid()).unwrap_or_default();
                report::success(&reported, &uid);
            }
            Err(controller::Error::ObjectNotFound(object)) => {
                reported.metrics.queue.forgotten(object.namespace.as_deref(), &object.name);
            }
            Err(controller::Error::QueueError(error)) => report::watch_failure(&reported, &error),
            Err(_) => {}
        })
        .boxed()
}

/// Objects of one namespace, or of all.
pub(crate) fn api<K>(context: &Context, scope: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match scope {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    }
}

/// The object that something belongs to, which is then due.
fn asks<K>(
    context: &Arc<Context>,
    object: impl Fn(&K) -> Option<ObjectRef<ExtractJob>> + Send + Sync + 'static,
) -> impl Fn(K) -> Option<ObjectRef<ExtractJob>> + Send + Sync + 'static {
    let context = Arc::clone(context);
    move |child| {
        let object = object(&child);
        if let Some(object) = &object {
            context.metrics.queue.asked(object);
        }
        object
    }
}

/// The object that controls a Job.
fn owner_of(job: &Job) -> Option<ObjectRef<ExtractJob>> {
    let namespace = job.namespace()?;
    let owner = job.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    ObjectRef::from_owner_ref(Some(&namespace), owner, ())
}

/// The object that a pod works for.
fn object_of(pod: &Pod) -> Option<ObjectRef<ExtractJob>> {
    let name = pod.labels().get(NAME)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}
