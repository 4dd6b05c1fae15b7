//! Wiring: client, watches, tracking tables, events, health; and the order in which they end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use crds::ExtractJob;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, controller, watcher};
use kube::{Api, Client, ResourceExt};
use operator_core::Settings;
use operator_core::labels::NAME;

use crate::health::{Health, serve};
use crate::metrics::Metrics;
use crate::reconcile::reconcile;
use crate::report;
use crate::settings::Flags;
use crate::tracking::TrackingTables;

/// The Jobs and pods that are ours.
const OURS: &str = "app.kubernetes.io/managed-by=tidemark-operator";
/// Between looks whether a store has listed.
const READY_LOOK: Duration = Duration::from_millis(100);
/// Objects whose failures are remembered; beyond that all are forgotten.
const FAILURES_MAX: usize = 10_000;

/// What every reconcile needs.
pub(crate) struct Context {
    /// The API server.
    pub(crate) client: Client,
    /// What the operator was told.
    pub(crate) settings: Settings,
    /// The tracking tables.
    pub(crate) tables: TrackingTables,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// Tells people.
    pub(crate) recorder: Recorder,
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    /// How often in a row `key` failed, this time included; a success forgets.
    pub(crate) fn count_failures(&self, key: &str, failed: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            failures.remove(key);
            return 0;
        }
        if failures.len() >= FAILURES_MAX {
            failures.clear();
        }
        let count = failures.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(flags: Flags) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("connect to the API server")?;
    let metrics = Arc::new(Metrics::new());
    let ready = Arc::new(AtomicBool::new(false));
    let health = Health { ready: Arc::clone(&ready), metrics: Arc::clone(&metrics) };
    let served = tokio::spawn(serve(flags.health_address, health));
    let reporter = Reporter { controller: "tidemark-operator".to_owned(), instance: None };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        settings: flags.settings(),
        tables: TrackingTables::new(flags.tracking_timeout).await,
        metrics,
        client,
        failures: Mutex::new(HashMap::new()),
    });
    let namespaces = flags.namespaces();
    tracing::info!(?namespaces, image = flags.worker_image, "operator starts");
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let controllers = scopes.iter().map(|scope| watch(&context, scope.as_deref(), &flags));
    let (controllers, stores): (Vec<_>, Vec<_>) = controllers.unzip();
    tokio::spawn(say_ready(stores, ready));
    let work = stream::select_all(controllers).for_each(|()| std::future::ready(()));
    tokio::select! {
        () = work => tracing::info!("operator ends"),
        ended = served => ended?.context("serve health and metrics")?,
    }
    Ok(())
}

type Work = stream::BoxStream<'static, ()>;
type Store = kube::runtime::reflector::Store<ExtractJob>;

/// One namespace, or all.
fn watch(context: &Arc<Context>, scope: Option<&str>, flags: &Flags) -> (Work, Store) {
    let client = &context.client;
    let objects: Api<ExtractJob> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let jobs: Api<Job> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let pods: Api<Pod> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let ours = watcher::Config::default().labels(OURS);
    let controller = Controller::new(objects, watcher::Config::default())
        .with_config(controller::Config::default().concurrency(flags.concurrency))
        .owns(jobs, ours.clone())
        .watches(pods, ours, |pod| object_of(&pod))
        .shutdown_on_signal();
    let store = controller.store();
    let reconciled = Arc::clone(context);
    let known = controller.store();
    let work =
        controller.run(reconcile, report::failure, Arc::clone(context)).map(
            move |done| match done {
                Ok((object, _)) => {
                    let object = known.get(&object);
                    let uid = object.and_then(|object| object.uid()).unwrap_or_default();
                    report::success(&reconciled, &uid);
                }
                Err(controller::Error::QueueError(error)) => {
                    report::watch_failure(&reconciled, &error);
                }
                Err(_) => {}
            },
        );
    (work.boxed(), store)
}

/// The object that a pod works for.
fn object_of(pod: &Pod) -> Option<ObjectRef<ExtractJob>> {
    let name = pod.labels().get(NAME)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// Says so once every store has listed. A store wakes only the waiter that asked last, and the
/// controller asks too: so this asks again and again.
async fn say_ready(stores: Vec<Store>, ready: Arc<AtomicBool>) {
    for store in stores {
        while tokio::time::timeout(READY_LOOK, store.wait_until_ready()).await.is_err() {}
    }
    ready.store(true, Ordering::Release);
    tracing::info!("every watch has listed");
}
