//! What writes to the bucket may do.

use crds::tracking::RunState;

use super::Rule;
use crate::bodies::Parsed;
use crate::pool::NONE;
use crate::shop::{Shop, number};
use crate::state::State;

/// Which object was put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) key: u32,
    pub(crate) before: u32,
    pub(crate) after: u32,
}

/// An object was put where there may have been one.
pub(crate) fn put(shop: &Shop, state: &mut State, touched: Touched) {
    let Touched { key, before, after } = touched;
    let Some(new) = shop.pointer_of(after) else {
        if before != NONE && before != after {
            state.broken.broke(Rule::Exclusive);
        }
        return;
    };
    let run = number(new.run);
    let old = shop.pointer_of(before);
    let mut fits = state.past.published.contains(&run);
    if let Some(old) = old.filter(|old| *old != new) {
        fits &= new.commit > old.commit && follows(shop, state, key, (run, number(old.run)));
    }
    if !fits {
        state.broken.broke(Rule::Pointer);
    }
}

/// Whether `old` is among the ancestors of `run` or what they replaced.
fn follows(shop: &Shop, state: &State, pointer: u32, (run, old): (u8, u8)) -> bool {
    let Some(keys) = shop.prefixes.iter().find(|keys| keys.pointer == pointer) else { return true };
    let mut next = vec![run];
    let mut known = Vec::new();
    while let Some(run) = next.pop() {
        if run == old {
            return true;
        }
        if known.contains(&run) {
            continue;
        }
        known.push(run);
        let key = keys.manifests.get(usize::from(run)).copied().unwrap_or(NONE);
        let Some(body) = shop.bodies.find(state.object(key)) else { continue };
        if let Parsed::Manifest(facts) = &body.parsed {
            next.extend(facts.parent);
            next.extend(&facts.replaces);
        }
    }
    false
}

/// A file of `run` was completed anew.
pub(crate) fn shown(shop: &Shop, state: &mut State, run: u8) {
    let held = shop.run_item(state.item(shop.run_key));
    // a committer may be in the middle of it when a person says undo: what it completes goes again
    let decided = held.is_some_and(|held| {
        number(held.run) == run && matches!(held.state, RunState::Committing | RunState::Reverting)
    });
    // without the run item this is unknown
    if !decided && !state.past.missing {
        state.broken.broke(Rule::Hidden);
    }
}

/// A completed file of `run` was deleted.
pub(crate) fn removed(shop: &Shop, state: &mut State, run: u8) {
    let held = shop.run_item(state.item(shop.run_key));
    let mut roots = Vec::new();
    let mut present = false;
    if let Some(held) = held {
        present = number(held.run) == run && held.state != RunState::Reverting;
        roots.extend(held.head.map(|head| number(head.run)));
    }
    for keys in &shop.prefixes {
        roots.extend(shop.pointer_of(state.object(keys.pointer)).map(|to| number(to.run)));
    }
    super::by_hand::retained(shop, state, run);
    let pointed = roots
        .last()
        .is_some_and(|root| super::states::replaced_by(shop, state, *root).contains(&run));
    let blind = shop.run_item(state.item(shop.run_key)).is_none()
        && state.past.published.contains(&run)
        && !pointed;
    let kept = roots.into_iter().any(|root| super::states::chain(shop, state, root).contains(&run));
    // without the run item, only what the pointer's run replaces may go
    if present || kept || blind {
        state.broken.broke(Rule::Removal);
    }
}

/// An upload was aborted by somebody who is not the pod that began it.
pub(crate) fn aborted(shop: &Shop, state: &mut State, upload: u32) {
    let upload = shop.uploads.get(upload);
    let held = shop.run_item(state.item(shop.run_key));
    let alive = held.is_some_and(|held| {
        number(held.run) == upload.run
            && (held.state.is_live() || held.state == RunState::Committing)
    });
    if alive {
        state.broken.broke(Rule::Abort);
    }
}
