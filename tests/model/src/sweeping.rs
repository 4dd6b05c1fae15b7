//! In: a state. Out: what lies under a prefix, as the cleanup of abandoned runs, the undo and a run that replaces find
//! it. Bound: the runs of one exploration. Fails: a manifest that is gone is `None`.

use worker_core::layout::objects::Prefix;
use worker_core::protocol::Orphan;

use crate::alter::Lie;
use crate::bodies::Parsed;
use crate::inputs::{Input, Left};
use crate::pool::NONE;
use crate::shop::{KEY, RUNS, Shop, number, run_id, uri};
use crate::state::State;

impl Shop {
    /// Parent and replaced runs of a run, if its manifest is there.
    fn before(&self, state: &State, prefix: u8, run: u8) -> Option<(Option<u8>, Vec<u8>)> {
        let keys = &self.prefixes[usize::from(prefix)];
        let body = self.bodies.find(state.object(keys.manifests[usize::from(run)]))?;
        match &body.parsed {
            Parsed::Manifest(facts) => Some((facts.parent, facts.replaces.clone())),
            _ => None,
        }
    }

    fn pointed(&self, state: &State, prefix: u8) -> Option<u8> {
        let keys = &self.prefixes[usize::from(prefix)];
        self.pointer_of(state.object(keys.pointer)).map(|to| number(to.run))
    }

    fn walk(&self, state: &State, prefix: u8, end: Option<u8>, runs: &mut Vec<u8>) -> Option<()> {
        let mut next = end;
        while let Some(run) = next.filter(|run| !runs.contains(run)) {
            runs.push(run);
            next = self.before(state, prefix, run)?.0;
        }
        Some(())
    }

    /// From `run`, or else the pointer, down its parents, and what the pending one replaces.
    pub(crate) fn chain(
        &self,
        state: &State,
        run: Option<u8>,
        pending: Option<u8>,
        prefix: u8,
    ) -> Option<Vec<u8>> {
        let mut runs = Vec::new();
        let Some(end) = run.or_else(|| self.pointed(state, prefix)) else { return Some(runs) };
        self.walk(state, prefix, Some(end), &mut runs)?;
        if let Some(pending) = pending {
            runs.extend(self.before(state, prefix, pending)?.1);
        }
        runs.sort_unstable();
        runs.dedup();
        Some(runs)
    }

    fn is_planned(&self, state: &State, prefix: u8, run: u8) -> bool {
        state.object(self.prefixes[usize::from(prefix)].plans[usize::from(run)]) != NONE
    }

    pub(crate) fn runs(&self, state: &State, prefix: u8) -> Input {
        // runs that are not there yet, for a process that lists them when it needs them
        let all = self.alter.lie == Lie::ListsLast;
        Input::Runs((1..RUNS).filter(|run| all || self.is_planned(state, prefix, *run)).collect())
    }

    pub(crate) fn kept(
        &self,
        state: &State,
        prefix: u8,
        head: Option<u8>,
        pending: Option<u8>,
    ) -> Input {
        if state.object(self.prefixes[usize::from(prefix)].identity) == NONE {
            return Input::Kept(None);
        }
        let lie = self.alter.lie;
        let pointed = self.pointed(state, prefix).filter(|_| lie != Lie::KeepsByHead);
        let head = head.filter(|_| lie != Lie::KeepsByPointer);
        let pending = pending.filter(|_| lie != Lie::KeepsNoReplaced);
        let mut kept = Vec::new();
        for end in [pointed, head] {
            if self.walk(state, prefix, end, &mut kept).is_none() {
                return Input::Lost;
            }
        }
        if let Some(pending) = pending {
            let Some((_, replaces)) = self.before(state, prefix, pending) else {
                return Input::Lost;
            };
            kept.extend(replaces);
        }
        kept.sort_unstable();
        kept.dedup();
        Input::Kept(Some(kept))
    }

    fn records_of(&self, prefix: u8, run: u8) -> Vec<u32> {
        let prefix = Prefix::parse(&uri(prefix)).expect("a uri");
        let record = |index: u8| self.keys.put(prefix.record(run_id(run), u32::from(index)));
        (0..self.config.partitions).map(record).collect()
    }

    /// Keys of the completed files of a run.
    pub(crate) fn files_of(&self, state: &State, prefix: u8, run: u8) -> Vec<u32> {
        let root = Prefix::parse(&uri(prefix)).expect("a uri").root();
        let own = state.files.iter().filter(|(_, upload)| self.uploads.get(*upload).run == run);
        own.map(|(key, _)| *key).filter(|key| self.keys.get(*key).starts_with(&root)).collect()
    }

    pub(crate) fn orphans(&self, state: &State, prefix: u8, runs: &[u8]) -> Input {
        let left = |run: u8| {
            let manifest = self.prefixes[usize::from(prefix)].manifests[usize::from(run)];
            let control = self.records_of(prefix, run).into_iter().chain([manifest]);
            let mut keys = self.files_of(state, prefix, run);
            keys.extend(control.filter(|key| state.object(*key) != NONE));
            let of = |upload: &&u32| self.uploads.get(**upload).run == run;
            Left { run, prefix, uploads: state.uploads.iter().filter(of).copied().collect(), keys }
        };
        let there = runs.iter().filter(|run| self.is_planned(state, prefix, **run));
        Input::Orphans(there.map(|run| left(*run)).collect())
    }

    pub(crate) fn orphan(&self, left: &Left) -> Orphan {
        let upload = |upload: &u32| {
            let upload = self.uploads.get(*upload);
            (upload.key.clone(), upload.id.clone())
        };
        let plan = self.prefixes[usize::from(left.prefix)].plans[usize::from(left.run)];
        Orphan {
            run: run_id(left.run),
            source: Some(KEY.to_owned()),
            uploads: left.uploads.iter().map(upload).collect(),
            keys: left.keys.iter().map(|key| (*self.keys.get(*key)).clone()).collect(),
            plan: (*self.keys.get(plan)).clone(),
            more: false,
        }
    }
}
