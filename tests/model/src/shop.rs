//! In: a configuration and, perhaps, a planted mistake. Out: [`Shop`]: everything that states only
//! hold numbers of, and the product's `step`, asked once for each question.
//! Bound: the different values of one exploration. Fails: never.

use crds::extract_job::ExtractType;
use crds::task::RecoverOrder;
use crds::tracking::{Mode, outcome_key, run_key};
use crds::{Reason, Report, RunId, Task};
use serde_json::{from_value, json};
use uuid::Uuid;
use worker_core::layout::manifests::SourceIdentity;
use worker_core::layout::objects::Prefix;
use worker_core::protocol::{Act, Event, Item, Process, Role};

use crate::alter::Alter;
use crate::asks::Ask;
use crate::bodies::{Body, Upload};
use crate::config::{Config, Part, REQUESTS, Slot};
use crate::inputs::Input;
use crate::pool::{Memo, Pool};

/// Key of the source.
pub(crate) const KEY: &str = "shop.orders";
/// Seconds that a claim lasts.
pub(crate) const LEASE: i64 = 600;
/// Seconds of one tick of the clock: more than a lease.
pub(crate) const TICK: i64 = 1000;
/// Runs that one exploration may distinguish.
pub(crate) const RUNS: u8 = 64;

/// The next state of a process after it received something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Next {
    pub(crate) process: u32,
    pub(crate) ask: u32,
}

/// Keys of one prefix.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) pointer: u32,
    pub(crate) identity: u32,
    pub(crate) plans: Vec<u32>,
    pub(crate) manifests: Vec<u32>,
}

/// What the states of one exploration share.
pub(crate) struct Shop {
    pub(crate) config: Config,
    pub(crate) alter: Alter,
    pub(crate) processes: Pool<Process>,
    pub(crate) asks: Pool<Ask>,
    pub(crate) items: Pool<Item>,
    pub(crate) keys: Pool<String>,
    pub(crate) bodies: Pool<Body>,
    pub(crate) uploads: Pool<Upload>,
    pub(crate) windows: Pool<(Option<String>, Option<String>)>,
    pub(crate) nexts: Memo<(u32, u32, Input), Next>,
    pub(crate) records: Memo<(u8, u8, u8, u32), (u32, u32)>,
    pub(crate) run_key: u32,
    pub(crate) watermark_key: u32,
    pub(crate) outcome_keys: Vec<u32>,
    pub(crate) prefixes: Vec<Keys>,
    pub(crate) tasks: Vec<Task>,
}

/// The id of run `number`.
pub(crate) fn run_id(number: u8) -> RunId {
    RunId(Uuid::from_u128(u128::from(number)))
}

/// The number of a run; 255 for ids that nobody gave out.
pub(crate) fn number(run: RunId) -> u8 {
    u8::try_from(run.0.as_u128()).unwrap_or(u8::MAX)
}

pub(crate) fn uri(prefix: u8) -> String {
    format!("s3://lake/orders{prefix}")
}

fn prefix_keys(keys: &Pool<String>, number: u8) -> Keys {
    let prefix = Prefix::parse(&uri(number)).expect("a good uri");
    Keys {
        pointer: keys.put(prefix.pointer()),
        identity: keys.put(prefix.source()),
        plans: (0..RUNS).map(|run| keys.put(prefix.plan(run_id(run)))).collect(),
        manifests: (0..RUNS).map(|run| keys.put(prefix.manifest(run_id(run)))).collect(),
    }
}

impl Shop {
    pub(crate) fn new(config: Config, alter: Alter) -> Self {
        let keys = Pool::new();
        let outcome_keys = config.slots.iter().map(|slot| keys.put(outcome_key(KEY, slot.uid)));
        let outcome_keys = outcome_keys.collect();
        let tasks = config.slots.iter().map(task).collect();
        Self {
            run_key: keys.put(run_key(KEY)),
            watermark_key: keys.put(KEY.to_owned()),
            outcome_keys,
            prefixes: (0..2).map(|number| prefix_keys(&keys, number)).collect(),
            tasks,
            config,
            alter,
            processes: Pool::new(),
            asks: Pool::new(),
            items: Pool::new(),
            keys,
            bodies: Pool::new(),
            uploads: Pool::new(),
            windows: Pool::new(),
            nexts: Memo::new(),
            records: Memo::new(),
        }
    }

    pub(crate) fn slot(&self, at: usize) -> &Slot {
        self.config.slots.get(at).expect("a slot of the configuration")
    }

    /// The process of a slot before it has done anything.
    pub(crate) fn process(&self, at: usize) -> Process {
        let task = Box::new(self.tasks.get(at).expect("a task for each slot").clone());
        let role = match self.slot(at).part {
            Part::Coordinate(last) => Role::Coordinate { task, last },
            Part::Recover(last) => Role::Recover { task, order: Box::new(order(last, false)) },
            Part::Abort => Role::Recover { task, order: Box::new(order(true, true)) },
            Part::Force(of) => {
                Role::Force { task, run: run_id(self.fresh(of, 0)), by: "ann".to_owned() }
            }
        };
        Process::new(role, LEASE)
    }

    /// The (perhaps altered) protocol.
    pub(crate) fn step(&self, process: Process, event: Event) -> (Process, Act) {
        (self.alter.step)(process, event)
    }

    /// The slot that claimed a run.
    pub(crate) fn slot_of(&self, run: u8) -> usize {
        usize::from(run.saturating_sub(1)) % self.config.slots.len()
    }

    /// The id number that a process of this slot gives to its next run.
    pub(crate) fn fresh(&self, slot: usize, claims: u8) -> u8 {
        let slots = u8::try_from(self.config.slots.len()).unwrap_or(u8::MAX);
        let slot = u8::try_from(slot).unwrap_or(u8::MAX);
        (1 + slot + slots * claims).min(RUNS - 1)
    }
}

/// What `source.json` must say.
pub(crate) fn identity() -> SourceIdentity {
    SourceIdentity {
        version: 1,
        tracking: "here".to_owned(),
        table: "tracking".to_owned(),
        source: KEY.to_owned(),
    }
}

fn order(last: bool, aborted: bool) -> RecoverOrder {
    RecoverOrder { last, aborted, report: Report::new(Reason::PodLost, "lost", "") }
}

fn task(slot: &Slot) -> Task {
    let kind = match slot.mode {
        Mode::FE => ExtractType::FE,
        Mode::PE | Mode::Reingest => ExtractType::PE,
    };
    let (low, high) = slot.bounds;
    let mut watermark = json!({ "column": "id", "type": "int" });
    for (name, bound) in [("low", low), ("high", high)] {
        if let Some(bound) = bound {
            watermark[name] = json!(bound.to_string());
        }
    }
    let request = usize::from(slot.request).checked_sub(1).map(|at| REQUESTS[at]);
    let value = json!({
        "version": 1, "attempt": slot.attempt, "retry": 0, "name": "orders",
        "tracking": { "table": "tracking", "key": KEY },
        "owner": {
            "uid": slot.uid, "request": kind.name(), "hashVersion": 1,
            "generation": slot.generation, "requestedAt": request,
        },
        "spec": {
            "source": { "engine": "postgres", "database": "shop", "credentials": {} },
            "extract": {
                "table": "orders", "type": kind.name(), "watermark": watermark,
                "reingest": (slot.mode == Mode::Reingest).then_some(true),
            },
            "output": {
                "uri": uri(slot.prefix),
                "retainReplacedSeconds": slot.retains.then_some(TICK / 2),
            },
        },
    });
    from_value(value).expect("a task")
}
