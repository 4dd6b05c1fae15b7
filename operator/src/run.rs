//! Wiring: client, watches, tracking tables, events, health; and the order in which they end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use futures::stream::{self, StreamExt};
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::{Receiver, channel};

use crate::context::Context;
use crate::health::{Health, serve};
use crate::help::{CONNECT, SERVE};
use crate::leader::Candidate;
use crate::metrics::Metrics;
use crate::pause::Pause;
use crate::postponed;
use crate::readiness::Readiness;
use crate::settings::Flags;
use crate::tracking::TrackingTables;
use crate::watches::{WATCHES, watch};

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(flags: Flags) -> anyhow::Result<()> {
    let stopped = stop_signal()?;
    let client = Client::try_default().await.context(CONNECT)?;
    let metrics = Arc::new(Metrics::new());
    let readiness = Arc::new(Readiness::new());
    let health = Health { readiness: Arc::clone(&readiness), metrics: Arc::clone(&metrics) };
    let served = tokio::spawn(serve(flags.health_address, health));
    let reporter = Reporter { controller: "tidemark-operator".to_owned(), instance: None };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        settings: flags.settings(),
        tables: TrackingTables::new(flags.tracking_timeout).await,
        metrics,
        readiness,
        pause: Pause::parse(flags.pause.as_deref()),
        client,
        failures: Mutex::new(HashMap::new()),
        changed: Mutex::new(HashSet::new()),
    });
    tracing::info!(namespaces = ?flags.namespaces(), image = flags.worker_image, "operator started");
    tokio::select! {
        () = lead(&context, &flags, stopped) => tracing::info!("operator stopped"),
        ended = served => ended?.context(SERVE)?,
    }
    Ok(())
}

/// Runs as long as this replica leads, until a stop is requested.
async fn lead(context: &Arc<Context>, flags: &Flags, stopped: Receiver<bool>) {
    let Some(name) = flags.lease() else {
        context.metrics.leads.set(1);
        return work(context, flags, stopped).await;
    };
    let (client, me) = (context.client.clone(), flags.lease_identity.clone());
    let mut candidate = Candidate::new(client, name, me, flags.lease_duration);
    loop {
        context.readiness.stand_by();
        tokio::select! {
            () = candidate.lead() => {}
            () = stop_requested(stopped.clone()) => return,
        }
        tracing::info!("this replica leads");
        context.metrics.leads.set(1);
        tokio::select! {
            () = work(context, flags, stopped.clone()) => return candidate.step_down().await,
            // what is at work is cut off, as a crash would: deciding again corrects that
            () = candidate.lost() => tracing::warn!("this replica no longer leads"),
        }
        context.metrics.leads.set(0);
        context.metrics.queue.clear();
    }
}

/// Watches and reconciles until a stop is requested. Reconciles in progress then finish.
async fn work(context: &Arc<Context>, flags: &Flags, stopped: Receiver<bool>) {
    let namespaces = flags.namespaces();
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    context.readiness.begin(scopes.len() * WATCHES);
    let controllers = scopes.iter().flat_map(|scope| {
        let stop = || stop_requested(stopped.clone());
        [
            watch(context, scope.as_deref(), flags.concurrency, stop()),
            postponed::watch(context, scope.as_deref(), stop()),
        ]
    });
    stream::select_all(controllers).for_each(|()| std::future::ready(())).await;
}

/// Whether SIGTERM or SIGINT came.
fn stop_signal() -> anyhow::Result<Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let (say, stopped) = channel(false);
    tokio::spawn(async move {
        tokio::select! {
            () = came(&mut terminate) => {}
            () = came(&mut interrupt) => {}
        }
        say.send_replace(true);
    });
    Ok(stopped)
}

async fn came(signal: &mut Signal) {
    let _ = signal.recv().await;
}

/// Completes when a stop is requested.
async fn stop_requested(mut stopped: Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
