//! Aborts the open uploads of one run.

use super::acts::{Act, Ending};
use super::effects::Effect;
use super::phases::{After, AfterSweep, Phase, Process, Sweep, Why};

pub(super) fn uploads(
    process: Process,
    sweep: Sweep,
    uploads: &[(String, String)],
) -> (Process, Act) {
    let effects: Vec<Effect> = uploads
        .iter()
        .map(|(key, upload_id)| Effect::Abort {
            uri: sweep.uri.clone(),
            key: key.clone(),
            upload_id: upload_id.clone(),
        })
        .collect();
    if effects.is_empty() {
        return aborted(process, sweep);
    }
    process.go(Phase::Aborting(Box::new(sweep)), Act::Write(effects))
}

/// A second listing catches the upload that a dying pod began while the first was made.
pub(super) fn aborted(process: Process, sweep: Sweep) -> (Process, Act) {
    if sweep.more {
        return process.sweep(Sweep { more: false, ..sweep });
    }
    if sweep.passes > 1 {
        let passes = sweep.passes - 1;
        return process.sweep(Sweep { passes, ..sweep });
    }
    match sweep.then {
        AfterSweep::Fail(failure) => process.end(Ending::Failed(failure)),
        AfterSweep::Recover { .. } => process.read(Why::Recover { swept: true, tries: 1 }),
        AfterSweep::Publish => process.list_orphans(After::Publish),
        AfterSweep::Revert(run, then, again) => process.list_files(*run, (then, again), None),
    }
}
