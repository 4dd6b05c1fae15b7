//! In: a state and a run. Out: the state after a pod of it has taken a step. Bound: one write.
//! Fails: never; a pod that dies simply does nothing more.

use crds::tracking::RunState;
use worker_core::protocol::Item;

use crate::bodies::Parsed;
use crate::pool::NONE;
use crate::protocol::{Action, Protocol};
use crate::shop::{RUNS, run_id, uri};
use crate::state::{Pod, Stage, State, bit};

impl Protocol {
    pub(crate) fn is_running(&self, state: &State, run: u8) -> bool {
        self.shop.items.find(state.item(self.shop.run_key)).is_some_and(|item| match &*item {
            Item::Run(held) => {
                crate::shop::number(held.run) == run && held.state == RunState::Running
            }
            Item::Watermark(_) | Item::Outcome(_) => false,
        })
    }

    /// Pods of a run may begin while it is held; later ones are zombies.
    pub(crate) fn pod_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for run in (0..RUNS).filter(|run| state.past.pinned & bit(*run) != 0) {
            let alive = self.is_running(state, run);
            if !alive && state.left.zombies == 0 {
                continue;
            }
            for index in 0..self.shop.config.partitions {
                let of = |pod: &&Pod| pod.run == run && pod.index == index;
                let begun = u8::try_from(state.pods.iter().filter(of).count()).unwrap_or(0);
                // partitions are alike: the first begins first
                let earlier = index == 0
                    || state.pods.iter().any(|pod| pod.run == run && pod.index == index - 1);
                if earlier && (begun == 0 || state.left.twins > 0) {
                    actions.push(Action::Reads(run, index, begun));
                }
            }
        }
        for (at, pod) in state.pods.iter().enumerate() {
            if pod.stage != Stage::Over {
                actions.push(Action::Pod(at));
            }
        }
    }

    /// All partitions of a run are read, one after the other.
    pub(crate) fn all_pods(&self, state: &mut State, run: u8, partitions: usize) {
        for index in (0_u8..).take(partitions) {
            if self.reads(state, (run, index, 0)) {
                let last = state.pods.len() - 1;
                self.pod(state, last);
            }
        }
        state.pods.clear();
    }

    pub(crate) fn reads(&self, state: &mut State, (run, index, token): (u8, u8, u8)) -> bool {
        let prefix = worker_core::layout::objects::Prefix::parse(&uri(self
            .shop
            .slot(self.shop.slot_of(run))
            .prefix))
        .expect("a uri");
        let plan = state.object(self.shop.keys.put(prefix.plan(run_id(run))));
        let Some(body) = self.shop.bodies.find(plan) else { return false };
        let Parsed::Plan(parsed, _) = &body.parsed else { return false };
        if usize::from(index) >= parsed.partitions.len() {
            return false;
        }
        let (upload, _) = self.shop.record(run, index, token, plan);
        if upload != NONE {
            state.open(upload);
        }
        state.pods.push(Pod { run, index, token, plan, stage: Stage::Uploaded });
        state.pods.sort_unstable();
        true
    }

    pub(crate) fn pod(&self, state: &mut State, at: usize) {
        let pod = state.pods[at];
        let slot = self.shop.slot(self.shop.slot_of(pod.run));
        let prefix = worker_core::layout::objects::Prefix::parse(&uri(slot.prefix)).expect("a uri");
        let (upload, record) = self.shop.record(pod.run, pod.index, pod.token, pod.plan);
        let stage = match pod.stage {
            Stage::Uploaded => {
                let key = prefix.record(run_id(pod.run), u32::from(pod.index));
                let first = self.shop.put_record(state, self.shop.keys.put(key), record);
                if first || upload == NONE { Stage::Over } else { Stage::Late }
            }
            Stage::Late => {
                state.close(upload);
                Stage::Over
            }
            Stage::Over => Stage::Over,
        };
        state.pods[at].stage = stage;
        state.pods.sort_unstable();
    }
}
