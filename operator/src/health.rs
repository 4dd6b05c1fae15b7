//! `/live`: the process runs. `/ready`: every watch has listed. `/metrics`: counters.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// What the three paths show.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    /// Which watches have listed.
    pub(crate) readiness: Arc<Readiness>,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
}

/// Serves until the process ends.
///
/// # Errors
/// The address cannot be bound.
pub(crate) async fn serve(address: SocketAddr, health: Health) -> std::io::Result<()> {
    let paths = Router::new()
        .route("/live", get(|| std::future::ready("live")))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, paths).await
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.readiness.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not all watches have listed their objects")
    }
}

async fn metrics(State(health): State<Health>) -> ([(&'static str, &'static str); 1], String) {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([("content-type", kind)], health.metrics.text())
}
