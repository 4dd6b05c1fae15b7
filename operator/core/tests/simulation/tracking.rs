//! The tracking table of the simulation: what coordinators and recovery write.

use crds::consistency::Consistency;
use crds::fidelity::FidelityCounts;

use super::*;

impl Simulation {
    /// The coordinator claims and pins a plan of `n` partitions, and is Ready.
    pub(crate) fn plans(&mut self, n: u32) {
        let Some(job) = self.last(0) else { return };
        let task = task(&job);
        self.tracking.run = Some(run_item(&task, RunState::Running, Some(n)));
        self.outcome(&task, None);
        self.ready_pod(&job);
    }

    /// The coordinator publishes and ends, and its Job is complete.
    pub(crate) fn publishes(&mut self) {
        let Some(job) = self.last(0) else { return };
        self.publishes_and_exits(&job);
        self.finish(&job, "Complete", "CompletionsReached");
    }

    /// The coordinator publishes and ends. The Job controller has not counted its pod yet.
    pub(crate) fn publishes_and_exits(&mut self, job: &Job) {
        let task = task(job);
        let n = self.tracking.run.as_ref().and_then(|run| run.partitions);
        let item = watermark_item("2026-01-01 00:00:00");
        let run = run_item(&task, RunState::Published, n);
        self.tracking.run = Some(RunItem { watermark_item: Some(item.clone()), ..run });
        self.tracking.watermark_item = Some(item);
        self.outcome(&task, Some(result(&task, TrackedOutcome::Complete, None)));
        self.exits_with_code_zero(job);
    }

    /// The newest recovery Job does its work, if one is at work.
    pub(crate) fn recoveries(&mut self) -> bool {
        let Some(job) = self.last(2).filter(|job| !is_finished(job)) else {
            return false;
        };
        let (task, order) = (task(&job), order(&job));
        let mine = self
            .tracking
            .run
            .clone()
            .filter(|run| run.owner.uid == UID && run.attempt <= task.attempt);
        let answered = self
            .tracking
            .outcome
            .as_ref()
            .and_then(|outcome| outcome.result.as_ref())
            .is_some_and(|result| result.owner == task.owner);
        if let Some(mut run) = mine {
            match run.state {
                RunState::Claimed | RunState::Running if order.aborted => {
                    run.state = RunState::Aborted;
                }
                RunState::Claimed | RunState::Running => run.state = RunState::Failed,
                RunState::Committing => {
                    run.state = RunState::Published;
                    self.outcome(&task, Some(result(&task, TrackedOutcome::Complete, None)));
                }
                _ => {}
            }
            let now = self.now.as_second();
            let mut removals = run
                .pending_cleanup
                .map(|pending_cleanup| pending_cleanup.removals)
                .unwrap_or_default();
            removals.retain(|removal| removal.at() > now);
            run.pending_cleanup =
                (!removals.is_empty()).then_some(PendingCleanup { pointer: false, removals });
            self.tracking.run = Some(run);
        }
        let published = self
            .tracking
            .run
            .as_ref()
            .is_some_and(|run| run.state == RunState::Published && run.owner == task.owner);
        if order.last && !published && !answered {
            let failed = result(&task, TrackedOutcome::Failed, Some(order.report));
            self.outcome(&task, Some(failed));
        } else {
            self.outcome(&task, None);
        }
        self.finish(&job, "Complete", "CompletionsReached");
        true
    }

    fn outcome(&mut self, task: &Task, result: Option<OutcomeResult>) {
        let old = self.tracking.outcome.take();
        let attempt = old.as_ref().map_or(0, |old| old.attempt).max(task.attempt);
        self.tracking.outcome = Some(OutcomeItem {
            source: outcome_key(KEY, UID),
            schema: ITEM_VERSION,
            attempt,
            run: Some(run_id(attempt)),
            result: result.or(old.and_then(|old| old.result)),
            expires_at: 0,
        });
    }
}

/// The watermark item after a published run.
pub(crate) fn watermark_item(low: &str) -> WatermarkItem {
    let text = |text: &str| Some(text.to_owned());
    WatermarkItem {
        source: KEY.to_owned(),
        hwm_value: text("-1"),
        lwm_value: text(low),
        hwm_col_name: text("updated_at"),
        hwm_column_type: text("timestamp"),
        extract_type: text("PE"),
        updated_at: text("2026-01-01 10:11:12"),
        extract_successful: text("Y"),
        extract_metadata: text("{\"row_count\": 7}"),
    }
}

pub(crate) fn run_item(task: &Task, state: RunState, n: Option<u32>) -> RunItem {
    RunItem {
        source: run_key(KEY),
        schema: ITEM_VERSION,
        revision: 1,
        state,
        run: run_id(task.attempt),
        uri: "s3://lake/orders".to_owned(),
        head: None,
        owner: task.owner.clone(),
        attempt: task.attempt,
        deadline: i64::MAX,
        records: 0,
        commit: 1,
        mode: Mode::PE,
        window: None,
        plan_hash: None,
        partitions: n,
        pending_window: None,
        retain_seconds: None,
        set: None,
        pending_cleanup: None,
        watermark_item: None,
        provisional: None,
        report: None,
    }
}

pub(super) fn result(
    task: &Task,
    outcome: TrackedOutcome,
    report: Option<Report>,
) -> OutcomeResult {
    OutcomeResult {
        outcome,
        owner: task.owner.clone(),
        run: Some(run_id(task.attempt)),
        report,
        window: None,
        watermark: Some("2026-01-01 00:00:00".to_owned()),
        table: Some("public.orders".to_owned()),
        rows: 10,
        bytes: 1000,
        files: 2,
        partitions: 1,
        consistency: Some(Consistency::Snapshot),
        table_lock_milliseconds: None,
        fidelity: Some(FidelityCounts { exact: 5, widened: 1, string: 2, lossy: 0 }),
        partitioning: None,
    }
}

/// Files that this object replaced are to be removed then.
pub(crate) fn removal(due: i64) -> Removal {
    Removal {
        uri: "s3://lake/orders".to_owned(),
        store: None,
        run: run_id(1),
        due,
        retry: None,
        uid: UID.to_owned(),
    }
}
