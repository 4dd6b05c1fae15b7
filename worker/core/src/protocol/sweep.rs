//! Aborts the open uploads of one run.

use super::acts::{Act, Ending};
use super::effects::Effect;
use super::phases::{After, AfterSweep, Carrier, Phase, Sweep, Why};

pub(super) fn uploads(
    carrier: Carrier,
    sweep: Sweep,
    uploads: &[(String, String)],
) -> (Carrier, Act) {
    let effects: Vec<Effect> = uploads
        .iter()
        .map(|(key, upload_id)| Effect::Abort {
            uri: sweep.uri.clone(),
            key: key.clone(),
            upload_id: upload_id.clone(),
        })
        .collect();
    if effects.is_empty() {
        return aborted(carrier, sweep);
    }
    carrier.go(Phase::Aborting(Box::new(sweep)), Act::Write(effects))
}

/// A second listing catches the upload that a dying pod began while the first was made.
pub(super) fn aborted(carrier: Carrier, sweep: Sweep) -> (Carrier, Act) {
    if sweep.more {
        return carrier.sweep(Sweep { more: false, ..sweep });
    }
    if sweep.passes > 1 {
        let passes = sweep.passes - 1;
        return carrier.sweep(Sweep { passes, ..sweep });
    }
    match sweep.then {
        AfterSweep::Fail(failure) => carrier.end(Ending::Failed(failure)),
        AfterSweep::Recover { .. } => carrier.look(Why::Recover { swept: true, tries: 1 }),
        AfterSweep::Publish => carrier.list_orphans(After::Publish),
        AfterSweep::Revert(run, then, again) => carrier.list_files(*run, (then, again), None),
    }
}
