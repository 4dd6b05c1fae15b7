//! Newtypes for ids that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of one run: a `UUIDv7`, so that ids sort by the time a run was claimed.
///
/// Created outside the core packages, which have no clock and no random numbers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(#[schemars(with = "String")] pub Uuid);

impl RunId {
    /// When the run was claimed, seconds since 1970, UTC; `None` where the id is no `UUIDv7`.
    pub fn began(self) -> Option<i64> {
        let (seconds, _) = self.0.get_timestamp()?.to_unix();
        (self.0.get_version_num() == 7).then(|| i64::try_from(seconds).ok())?
    }

    /// When the run was claimed: milliseconds since 1970, the first 48 bits of the id. The same in
    /// every pod of the run.
    pub fn claimed_millis(self) -> i64 {
        i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}
