//! How a process enters a stage: the phase, and its first act. Stages import this, and never each other.

use crds::tracking::{ObjectStore, Removal, RunItem};
use crds::{Reason, RunId, Task};

use super::acts::{Act, Ending};
use super::effects::{Effect, NewManifest, Transaction};
use super::phases::{
    After, AfterSweep, Claimed, CoordinatedRun, DecidedRun, Phase, Process, Role, Sweep, TRIES_MAX,
    Then, Why,
};
use super::removals;
use crate::errors::failure::Failure;
use crate::layout::manifests::{self, Before, ManifestHead};
use crate::layout::objects::Prefix;
use crate::layout::records::Tally;

/// Default number of seconds for which the uploads and files of an ended run are kept.
pub const GRACE_SECONDS: i64 = 86_400;

/// The store of a removal, where it is not the process's own.
pub(super) fn other_store(process: &Process, removal: &Removal) -> Option<ObjectStore> {
    removal.store.clone().filter(|store| *store != process.store())
}

/// Reads what a removal still has to do.
pub(super) fn read_cleanup(
    process: &Process,
    removal: Removal,
    after: Option<(RunId, String)>,
) -> Act {
    let store = other_store(process, &removal);
    Act::ReadCleanup { uri: removal.uri, store, run: removal.run, removal: true, after }
}

impl Process {
    /// A process that has done nothing yet.
    pub fn new(role: Role, lease_seconds: i64) -> Self {
        Self {
            role,
            lease_seconds,
            grace_seconds: GRACE_SECONDS,
            now: 0,
            phase: Phase::Start,
            kept: None,
            locked: None,
        }
    }

    /// The same process with another grace for what dead runs left.
    #[must_use]
    pub fn with_grace(self, grace_seconds: i64) -> Self {
        Self { grace_seconds, ..self }
    }

    pub(super) fn task(&self) -> &Task {
        self.role.task()
    }

    /// Moves the phase out of the process. A clone would copy its plan, which may have thousands of partitions.
    pub(super) fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Ended)
    }

    pub(super) fn go(self, phase: Phase, act: Act) -> (Self, Act) {
        (Self { phase, ..self }, act)
    }

    pub(super) fn keep(self, manifest: ManifestHead) -> Self {
        Self { kept: Some(Box::new(manifest)), ..self }
    }

    pub(super) fn end(self, ending: Ending) -> (Self, Act) {
        self.go(Phase::Ended, Act::End(ending))
    }

    pub(super) fn read(self, why: Why) -> (Self, Act) {
        self.go(Phase::Reading(why), Act::Read)
    }

    pub(super) fn track(self, phase: Phase, transaction: Transaction) -> (Self, Act) {
        self.go(phase, Act::Write(vec![Effect::Track(transaction)]))
    }

    /// Another's decided run: its manifest says what to complete.
    pub(super) fn fetch_manifest(self, run: RunItem, then: Then) -> (Self, Act) {
        let act = Act::ReadManifest { uri: run.uri.clone(), run: run.run };
        self.go(Phase::Fetching(Box::new(run), then), act)
    }

    /// Completes the uploads of a decided run.
    pub(super) fn complete(self, decided: DecidedRun) -> (Self, Act) {
        if decided.manifest.files.0 == 0 {
            return self.read(Why::Publish(Box::new(decided), 0));
        }
        let effect = Effect::CompleteAll { uri: decided.run.uri.clone(), run: decided.run.run };
        self.go(Phase::Completing(Box::new(decided)), Act::Write(vec![effect]))
    }

    /// After PUBLISH: pointer and removal, for a run of any ExtractJob.
    pub(super) fn cleanup(
        self,
        run: RunItem,
        then: Then,
        manifest: Option<ManifestHead>,
        tries: u32,
    ) -> (Self, Act) {
        let this = match (then, manifest) {
            (Then::Finish, Some(manifest)) => self.keep(manifest),
            (Then::Finish | Then::Claim | Then::Recover, _) => self,
        };
        let (Some(due), Some(head)) = (removals::due(&run, this.now, &this.store()), &run.head)
        else {
            return this.finish(then);
        };
        if tries > TRIES_MAX {
            let failure = Failure::transient(
                Reason::Committing,
                "the run is published, but current.json could not be updated yet",
                "",
            );
            return this.end(Ending::Failed(failure));
        }
        let act = match due.removal {
            Some(removal) => read_cleanup(&this, removal, None),
            None => Act::ReadCleanup {
                uri: head.uri.clone(),
                store: None,
                run: head.run,
                removal: false,
                after: None,
            },
        };
        this.go(Phase::ReadingCleanup(Box::new(run), then, tries), act)
    }

    /// The end of a run of our own.
    pub(super) fn published(self) -> (Self, Act) {
        match self.kept.clone() {
            Some(manifest) => self.end(Ending::Published(manifest)),
            None => self.end(Ending::FinishedByAnother),
        }
    }

    /// A refused CLEANUP means that the next claimant or another process has done it.
    pub(super) fn finish(self, then: Then) -> (Self, Act) {
        match then {
            // all that the manifest names is completed: an upload that is still open belongs to a pod
            // that died, or came second
            Then::Finish => match &self.kept {
                Some(manifest) => {
                    let uri = self.task().spec.output.uri.clone();
                    let sweep = Sweep::new(uri, manifest.run, 1, AfterSweep::Publish);
                    self.sweep(sweep)
                }
                None => self.end(Ending::FinishedByAnother),
            },
            Then::Claim => self.read(Why::Claim(1)),
            Then::Recover => self.read(Why::Recover { swept: false, tries: 1 }),
        }
    }

    /// Lists the open uploads of a run, which are to go.
    pub(super) fn sweep(self, sweep: Sweep) -> (Self, Act) {
        let act = Act::ListUploads { uri: sweep.uri.clone(), run: sweep.run };
        self.go(Phase::Listing(Box::new(sweep)), act)
    }

    /// Lists old runs.
    pub(super) fn list_orphans(self, after: After) -> (Self, Act) {
        let uri = self.task().spec.output.uri.clone();
        let before = self.now.saturating_sub(self.grace_seconds);
        self.go(Phase::ListingRuns(after), Act::ListRuns { uri, before })
    }

    /// A self that read `committing` before may still complete uploads: so uploads go first, and
    /// what it completed goes after them. All of it is done twice, since a completion that the store
    /// was at work on shows late.
    pub(super) fn revert(self, run: &RunItem, then: Then) -> (Self, Act) {
        self.revert_pass(run, then, false)
    }

    /// One pass: uploads, then files; `again`: whether it is the second.
    pub(super) fn revert_pass(self, run: &RunItem, then: Then, again: bool) -> (Self, Act) {
        let after = AfterSweep::Revert(Box::new(run.clone()), then, again);
        let sweep = Sweep::new(run.uri.clone(), run.run, 2, after);
        self.sweep(sweep)
    }

    /// Lists the files of a run that is undone.
    pub(super) fn list_files(
        self,
        run: RunItem,
        (then, again): (Then, bool),
        after: Option<String>,
    ) -> (Self, Act) {
        let act = Act::ListFiles { uri: run.uri.clone(), run: run.run, after };
        self.go(Phase::ListingFiles(Box::new(run), then, again), act)
    }

    /// Asks the database.
    pub(super) fn plan(self, claimed: Claimed) -> (Self, Act) {
        let act = Act::Plan(claimed.order.clone());
        self.go(Phase::Planning(Box::new(claimed)), act)
    }

    /// Has the partitions read.
    pub(super) fn run(self, active: CoordinatedRun) -> (Self, Act) {
        let active = Box::new(active);
        self.go(Phase::Running(active.clone()), Act::Extract(active))
    }

    /// Writes the manifest.
    pub(super) fn put_manifest(
        self,
        active: Box<CoordinatedRun>,
        tally: &Tally,
        before: Before,
    ) -> (Self, Act) {
        let Before { replaces, earlier } = before;
        let head = manifests::head(&active.run, &active.plan, &active.plan_hash, tally, replaces);
        let uri = active.run.uri.clone();
        let key =
            Prefix::parse(&uri).map(|prefix| prefix.manifest(active.run.run)).unwrap_or_default();
        let new = NewManifest { uri, key, head: head.clone(), hash: tally.hash.clone(), earlier };
        let effect = Effect::PutManifest(Box::new(new));
        self.go(Phase::PuttingManifest(active, Box::new(head)), Act::Write(vec![effect]))
    }
}
