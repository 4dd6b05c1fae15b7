//! What is done to which request.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::sync::watch;

use crate::wait_until;

/// Which of the calls that fit a rule, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// That one.
    Nth(u32),
    /// That one and all before.
    UpTo(u32),
    /// That one and all after.
    From(u32),
    /// All.
    Every,
    /// So many of a hundred, by the seed: the same ones each time.
    Percent(u64, u64),
}

impl Calls {
    fn fits(self, count: u32) -> bool {
        match self {
            Self::Nth(nth) => count == nth,
            Self::UpTo(last) => count <= last,
            Self::From(first) => count >= first,
            Self::Every => true,
            Self::Percent(percent, seed) => chance(seed.wrapping_add(count.into())) % 100 < percent,
        }
    }
}

/// splitmix64.
fn chance(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The server does not see it; status and code are answered. S3 with status 200: an error in the body.
    Answer(u16, &'static str),
    /// The server acts; something else is answered.
    Swap(u16, &'static str),
    /// The connection is closed before the server sees it.
    Refuse,
    /// The server acts; the connection is closed instead of its reply.
    LoseReply,
    /// It waits for so long, then passes.
    Delay(Duration),
    /// It waits at the gate before the server sees it, then passes.
    Hold(Gate),
    /// The server acts; its reply waits at the gate.
    HoldReply(Gate),
    /// Half of the request's body reaches the server, then both connections are closed.
    CutRequest,
    /// Half of the reply's body comes back, if it is long enough to be sent at all.
    CutReply,
    /// The head of the reply comes back, and half of its body.
    CutBody,
    /// The server does not see it; this body is answered.
    Say(Bytes),
    /// DynamoDB has forgotten the client's token by now: it gets another.
    NewToken,
}

/// Where requests wait until a test lets them go.
#[derive(Debug, Clone)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
    here: Arc<watch::Sender<u32>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::shut()
    }
}

impl Gate {
    /// A closed one.
    pub fn shut() -> Self {
        Self { open: Arc::new(watch::Sender::new(false)), here: Arc::new(watch::Sender::new(0)) }
    }

    /// Lets all go, those that come later too.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns once so many have come.
    ///
    /// # Errors
    /// If they do not come within `deadline`.
    pub async fn came(&self, count: u32, deadline: Duration) -> Result<()> {
        let here = self.here.subscribe();
        wait_until("requests at the gate", deadline, async || {
            let came = *here.borrow();
            ensure!(came >= count, "{came} of {count}");
            Ok(())
        })
        .await
    }

    pub(super) async fn pass(&self) {
        self.here.send_modify(|here| *here += 1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

#[derive(Debug)]
pub(super) struct Rule {
    operation: String,
    holds: String,
    call: Calls,
    fault: Fault,
    count: u32,
}

impl Rule {
    pub(super) fn new(operation: &str, holds: &str, call: Calls, fault: Fault) -> Self {
        Self { operation: operation.to_owned(), holds: holds.to_owned(), call, fault, count: 0 }
    }

    /// Counts a request that fits, and says what is to be done to it.
    pub(super) fn meets(&mut self, operation: &str, text: &str) -> Option<Fault> {
        let fits = self.operation == "*" || self.operation == operation;
        if !fits || !text.contains(&self.holds) {
            return None;
        }
        self.count += 1;
        self.call.fits(self.count).then(|| self.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_selects_the_given_share_and_the_same_calls_each_time() {
        let fits = |seed| (1..=1000).filter(|count| Calls::Percent(10, seed).fits(*count)).count();
        assert!((60..140).contains(&fits(7)), "{}", fits(7));
        assert_eq!(fits(7), fits(7));
    }
}
