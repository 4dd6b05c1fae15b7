//! In: the Lease of this release. Out: whether this replica leads.
//! Bound: one request every few seconds. Fails: never; a replica that cannot renew stops leading.
//!
//! The lease saves work: without it, two replicas would do everything twice. Correctness does not depend
//! on one leader, because conditional writes decide what is published. Two leaders at the same time, after
//! a long pause of one of them, do no harm.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use crate::error::code;

/// A replica that wants to lead.
#[derive(Debug)]
pub(crate) struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// How long a leader that says nothing more is waited for.
    patience: Duration,
    /// The Lease's version, and since when it is that one by our own clock: those of other machines
    /// may differ.
    observed: Option<(String, Instant)>,
}

impl Candidate {
    /// A candidate for the Lease `name` in the operator's own namespace.
    pub(crate) fn new(client: Client, name: String, identity: String, patience: Duration) -> Self {
        Self { leases: Api::default_namespaced(client), name, identity, patience, observed: None }
    }

    /// Returns once this replica leads.
    pub(crate) async fn lead(&mut self) {
        loop {
            match self.turn().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, lease = self.name, "cannot read the lease"),
            }
            tokio::time::sleep(self.patience / 6).await;
        }
    }

    /// Renews as long as that goes, and returns once it does not. That is before others take over.
    pub(crate) async fn lost(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < self.patience * 2 / 3 {
            tokio::time::sleep(self.patience / 6).await;
            let begun = Instant::now();
            match tokio::time::timeout(self.patience / 6, self.turn()).await {
                Ok(Ok(true)) => renewed = begun,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, lease = self.name, "cannot renew the lease");
                }
                Err(_) => tracing::warn!(lease = self.name, "lease renewal timed out"),
            }
        }
    }

    /// Lets the next one lead at once.
    pub(crate) async fn step_down(&mut self) {
        let held = self.leases.get_opt(&self.name).await.ok().flatten();
        let Some(mut lease) = held.filter(|lease| holder(lease) == Some(&self.identity)) else {
            return;
        };
        lease.spec.get_or_insert_default().holder_identity = None;
        if let Err(error) = self.leases.replace(&self.name, &PostParams::default(), &lease).await {
            tracing::warn!(%error, lease = self.name, "cannot release the lease");
        }
    }

    /// Takes or renews the Lease, if it is ours, free or given up.
    async fn turn(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.clone());
            lease.spec = Some(self.spec(None));
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let version = lease.resource_version().unwrap_or_default();
        let since = match &self.observed {
            Some((known, since)) if *known == version => *since,
            Some(_) | None => Instant::now(),
        };
        self.observed = Some((version, since));
        if !may_take(&lease, &self.identity, since.elapsed(), self.patience) {
            return Ok(false);
        }
        // the version that was read is a condition: of two that see it free, one gets it
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        won(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let same = old.and_then(|old| old.holder_identity.as_ref()) == Some(&self.identity);
        let turns = old.and_then(|old| old.lease_transitions).unwrap_or_default();
        LeaseSpec {
            acquire_time: old
                .and_then(|old| old.acquire_time.clone())
                .filter(|_| same)
                .or_else(|| now.clone()),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.patience.as_secs().max(1)).ok(),
            lease_transitions: Some(if same || old.is_none() { turns } else { turns + 1 }),
            renew_time: now,
            ..LeaseSpec::default()
        }
    }
}

fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(error) if code(&error) == Some(409) => Ok(false),
        Err(error) => Err(error),
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}

/// Whether `me` may write itself into a Lease that has not changed for so long.
fn may_take(lease: &Lease, me: &str, unchanged: Duration, patience: Duration) -> bool {
    match holder(lease) {
        None => true,
        Some(holder) if holder == me => true,
        Some(_) => unchanged > patience,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn held_by(holder: Option<&str>) -> Lease {
        let spec = LeaseSpec { holder_identity: holder.map(Into::into), ..LeaseSpec::default() };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn lease_is_acquired_if_free_own_or_expired() {
        let takes = |holder, seconds| {
            may_take(&held_by(holder), "me", Duration::from_secs(seconds), PATIENCE)
        };
        assert!(takes(None, 0) && takes(Some(""), 0) && takes(Some("me"), 0));
        assert!(!takes(Some("other"), 0) && !takes(Some("other"), 15));
        assert!(takes(Some("other"), 16));
    }
}
