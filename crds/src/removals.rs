//! What the run item keeps of what is still to do after PUBLISH: the pointer, and postponed removals.

use serde::{Deserialize, Serialize};

use crate::output::Output;
use crate::units::RunId;

/// What is still to do after PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingCleanup {
    /// Whether `current.json` has yet to be moved up to the head.
    pub pointer: bool,
    /// Replaced files that are still to be removed: one entry for each URI that holds some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<Removal>,
}

impl PendingCleanup {
    /// The removal at `uri` of that object store.
    pub fn removal_at(&self, uri: &str, store: &ObjectStore) -> Option<&Removal> {
        self.removals.iter().find(|removal| removal.is_at(uri, store))
    }

    /// The removal whose files `uri` still holds: the one of that object store, or else one that has another
    /// endpoint or region, which may be another name of the same store.
    pub fn retained_at(&self, uri: &str, store: &ObjectStore) -> Option<&Removal> {
        let anywhere = || self.removals.iter().find(|removal| removal.uri == uri);
        self.removal_at(uri, store).or_else(anywhere)
    }

    /// The first due removal among those that the object `uid` postponed.
    pub fn removal_by(&self, uid: &str) -> Option<&Removal> {
        self.removals.iter().filter(|removal| removal.uid == uid).min_by_key(|removal| removal.at())
    }
}

/// Replaced files that are to be removed once their retention has passed, wherever later runs of the
/// source go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    /// Where they are.
    pub uri: String,
    /// The object store of that URI; absent: the one of the process that reads the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<ObjectStore>,
    /// The run whose manifest names the runs that it replaced.
    pub run: RunId,
    /// Seconds since 1970, UTC, from which they are to be removed.
    pub due: i64,
    /// Seconds since 1970, UTC, from which it is tried again, since it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// Uid of the owner of that run.
    pub uid: String,
}

/// Endpoint, region and addressing of an object store, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStore {
    /// Endpoint; absent: the SDK's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region; absent: the SDK's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether the bucket is in the path; absent: true if an endpoint is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
}

impl ObjectStore {
    /// The store of an output.
    pub fn of(output: &Output) -> Self {
        Self {
            endpoint: output.endpoint.clone(),
            region: output.region.clone(),
            path_style: output.path_style,
        }
    }

    /// Whether both are the same store: equal endpoints, and regions that do not differ. A region that is
    /// not set matches every region.
    pub fn is(&self, other: &Self) -> bool {
        let regions = self.region.as_ref().zip(other.region.as_ref());
        self.endpoint == other.endpoint && regions.is_none_or(|(one, two)| one == two)
    }
}

impl Removal {
    /// Whether it is at `uri` of that store.
    pub fn is_at(&self, uri: &str, store: &ObjectStore) -> bool {
        self.uri == uri && self.is_in(store)
    }

    /// Whether it is in that store.
    pub fn is_in(&self, store: &ObjectStore) -> bool {
        self.store.as_ref().is_none_or(|own| own.is(store))
    }

    /// From when on the next process does it.
    pub fn at(&self) -> i64 {
        self.due.max(self.retry.unwrap_or(i64::MIN))
    }

    /// Whether that time has come by `now`.
    pub fn is_due(&self, now: i64) -> bool {
        self.at() <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_removal_are_found_under_another_endpoint_of_the_store() {
        let removal = |uri: &str, endpoint: &str, run: u128| Removal {
            uri: uri.to_owned(),
            store: Some(store(Some(endpoint), None)),
            run: RunId(uuid::Uuid::from_u128(run)),
            due: 0,
            retry: None,
            uid: String::new(),
        };
        let removals =
            vec![removal("s3://b/t", "http://one", 1), removal("s3://b/t", "http://two", 2)];
        let pending_cleanup = PendingCleanup { removals, ..PendingCleanup::default() };
        let run = |uri: &str, endpoint: &str| {
            let found = pending_cleanup.retained_at(uri, &store(Some(endpoint), None));
            found.map(|removal| removal.run.0.as_u128())
        };
        assert_eq!(run("s3://b/t", "http://two"), Some(2));
        assert_eq!(run("s3://b/t", "http://three"), Some(1));
        assert_eq!(run("s3://b/u", "http://one"), None);
    }

    fn store(endpoint: Option<&str>, region: Option<&str>) -> ObjectStore {
        let text = |value: Option<&str>| value.map(ToOwned::to_owned);
        ObjectStore { endpoint: text(endpoint), region: text(region), path_style: None }
    }

    #[test]
    fn stores_are_one_by_endpoint_and_by_a_region_that_both_name() {
        let (none, one) = (store(None, None), store(Some("http://one"), None));
        let (west, east) = (store(None, Some("us-west-1")), store(None, Some("us-east-1")));
        assert!(none.is(&none) && one.is(&one) && none.is(&west) && west.is(&none));
        assert!(!none.is(&one) && !one.is(&none) && !west.is(&east));
    }
}
