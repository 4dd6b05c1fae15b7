//! What asks a process to give up its run and end: SIGTERM, SIGINT, or its own deadline.

use std::time::Duration;

use crds::Reason;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use worker_core::errors::failure::Failure;

/// Whether the process was asked to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: watch::Receiver<bool>,
    overdue: watch::Receiver<bool>,
}

impl Stop {
    /// Listens from now on; after `deadline` the process is asked to stop by its own clock, since
    /// the cluster's controller may be the very thing that is down.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen(deadline: Duration) -> std::io::Result<Self> {
        let (sender, asked) = watch::channel(false);
        let (late, overdue) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = tokio::time::sleep(deadline) => {
                    let _ = late.send(true);
                }
            }
            tracing::warn!("the process was asked to stop");
            let _ = sender.send(true);
            // the sender must live on, or every wait would end
            sender.closed().await;
        });
        Ok(Self { asked, overdue })
    }

    /// Returns once the process was asked to stop.
    pub async fn stopped(&self) {
        let mut receiver = self.asked.clone();
        if receiver.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why it was asked to.
    pub fn failure(&self) -> Failure {
        if *self.overdue.borrow() {
            return Failure::transient(
                Reason::DeadlineExceeded,
                "the run took longer than activeDeadlineSeconds",
                "Raise activeDeadlineSeconds or extract.partition.count.",
            );
        }
        Failure::stopped()
    }

    /// The raw receiver, for the stages of the line.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.asked.clone()
    }
}
