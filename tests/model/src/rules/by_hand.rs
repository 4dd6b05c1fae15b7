//! What may be done by a person's request: FORCE, and a moved watermark.

use crds::tracking::{Mode, RunItem, RunState};

use super::Rule;
use super::track::manifest;
use crate::inputs::seconds;
use crate::pool::NONE;
use crate::shop::{Shop, number};
use crate::state::State;

/// The undo of `run` is written down: nothing of it is in view, and nobody can complete it any more.
pub(crate) fn undone(shop: &Shop, state: &mut State, run: &RunItem) {
    let id = number(run.run);
    let shown = state.files.iter().any(|(_, upload)| shop.uploads.get(*upload).run == id);
    let mut held = None;
    let open = manifest(shop, state, run, &mut held).is_some_and(|facts| {
        facts.files.iter().any(|(_, upload)| state.uploads.binary_search(upload).is_ok())
    });
    if shown || open {
        state.broken.broke(Rule::Undone);
    }
}

/// A person who had read revision `revision` has moved the watermark.
pub(crate) fn moved(shop: &Shop, before: &State, after: &mut State, revision: u64) {
    let run = shop.run_item(before.item(shop.run_key));
    let fits = run.is_none_or(|run| {
        let gone =
            run.state.is_live() && run.mode == Mode::PE && run.deadline < seconds(before.clock);
        run.revision == revision && (!run.state.is_open() || gone)
    });
    if !fits {
        after.broken.broke(Rule::Asked);
    }
    after.past.tampered = true;
    after.past.pending_window = NONE;
}

/// A published file was removed: its time must have passed.
pub(crate) fn retained(shop: &Shop, state: &mut State, run: u8) {
    let Some(item) = shop.run_item(state.item(shop.run_key)) else { return };
    if item.state == RunState::Reverting && number(item.run) == run {
        return;
    }
    let now = seconds(state.clock);
    let kept = item
        .pending_cleanup
        .iter()
        .flat_map(|pending_cleanup| &pending_cleanup.removals)
        .filter(|kept| kept.due > now);
    let mut kept = kept.map(|kept| super::states::replaced_by(shop, state, number(kept.run)));
    if kept.any(|replaced| replaced.contains(&run)) {
        state.broken.broke(Rule::Retained);
    }
}
