//! What must hold in every state, and what must be reached in some.

use crds::tracking::{Mode, RunState, TrackedOutcome};
use stateright::Property;

use super::{Rule, steps};
use crate::asks::End;
use crate::bodies::{Body, Parsed};
use crate::config::{Guarding, Part, rank};
use crate::pool::NONE;
use crate::protocol::Protocol;
use crate::shop::{Shop, number};
use crate::state::{State, get};

/// Promises that a state keeps or breaks, independent of its history.
pub(crate) mod text {
    pub(crate) const WHOLE: &str = "I1 the chains of head and pointer are whole";
    pub(crate) const COMPLETABLE: &str = "a decided run can be completed";
    pub(crate) const ROWS_ONCE: &str = "no row is published twice";
    pub(crate) const ROWS_ALL: &str = "no row up to the stored watermark is missing";
    pub(crate) const ONE_WRITER: &str = "no two processes write the same data object";
}

use text::{COMPLETABLE, ONE_WRITER, ROWS_ALL, ROWS_ONCE, WHOLE};

/// All properties.
pub(crate) fn properties() -> Vec<Property<Protocol>> {
    let mut all = steps();
    all.push(Property::always(WHOLE, |model, state| whole(model.shop(), state)));
    all.push(Property::always(COMPLETABLE, |model, state| completable(model.shop(), state)));
    all.push(Property::always(ROWS_ONCE, |model, state| rows_once(model.shop(), state)));
    all.push(Property::always(ROWS_ALL, |model, state| rows_all(model.shop(), state)));
    all.push(Property::always(ONE_WRITER, |model, state| one_writer(model.shop(), state)));
    all.push(Property::sometimes("a run is published", |_, state: &State| {
        !state.past.published.is_empty()
    }));
    all
}

fn manifest(shop: &Shop, state: &State, run: u8) -> Option<std::sync::Arc<Body>> {
    shop.prefixes.iter().find_map(|keys| {
        let key = keys.manifests.get(usize::from(run))?;
        shop.bodies.find(get(&state.objects, *key))
    })
}

/// Runs that the manifest of `run` replaces.
pub(crate) fn replaced_by(shop: &Shop, state: &State, run: u8) -> Vec<u8> {
    match manifest(shop, state, run).as_deref() {
        Some(Body { parsed: Parsed::Manifest(facts), .. }) => facts.replaces.clone(),
        _ => Vec::new(),
    }
}

/// Runs from `run` down its parents.
pub(crate) fn chain(shop: &Shop, state: &State, run: u8) -> Vec<u8> {
    let mut runs = Vec::new();
    let mut next = Some(run);
    while let Some(run) = next.filter(|run| !runs.contains(run)) {
        runs.push(run);
        next = match manifest(shop, state, run).as_deref() {
            Some(Body { parsed: Parsed::Manifest(facts), .. }) => facts.parent,
            _ => None,
        };
    }
    runs
}

fn head(shop: &Shop, state: &State) -> Option<u8> {
    let item = shop.items.find(state.item(shop.run_key))?;
    match &*item {
        worker_core::protocol::Item::Run(run) => run.head.as_ref().map(|head| number(head.run)),
        _ => None,
    }
}

fn whole(shop: &Shop, state: &State) -> bool {
    let pointers = shop
        .prefixes
        .iter()
        .filter_map(|keys| shop.pointer_of(state.object(keys.pointer)))
        .map(|pointer| number(pointer.run));
    head(shop, state).into_iter().chain(pointers).all(|root| {
        chain(shop, state, root).into_iter().all(|run| {
            manifest(shop, state, run).is_some_and(|body| match &body.parsed {
                Parsed::Manifest(facts) => {
                    facts.files.iter().all(|(key, upload)| get(&state.files, *key) == *upload)
                }
                _ => false,
            })
        })
    })
}

fn completable(shop: &Shop, state: &State) -> bool {
    let Some(item) = shop.items.find(state.item(shop.run_key)) else { return true };
    let worker_core::protocol::Item::Run(run) = &*item else { return true };
    let lapsed = state.left.lapses < shop.config.budget.lapses;
    if run.state != RunState::Committing || lapsed {
        return true;
    }
    let Some(body) = manifest(shop, state, number(run.run)) else { return false };
    let Parsed::Manifest(facts) = &body.parsed else { return false };
    facts.files.iter().all(|(key, upload)| {
        state.uploads.binary_search(upload).is_ok() || get(&state.files, *key) == *upload
    })
}

/// Modes and rows of the chain of head, newest first.
fn chain_rows(shop: &Shop, state: &State) -> Vec<(Mode, Vec<u8>)> {
    let runs = head(shop, state).map(|root| chain(shop, state, root)).unwrap_or_default();
    runs.into_iter()
        .filter_map(|run| manifest(shop, state, run))
        .filter_map(|body| match &body.parsed {
            Parsed::Manifest(facts) => Some((facts.manifest.mode, facts.rows.clone())),
            _ => None,
        })
        .collect()
}

/// A full extract does not move the watermark: what follows it reads its rows again, as ever.
fn rows_once(shop: &Shop, state: &State) -> bool {
    if state.past.tampered {
        return true;
    }
    let mut observed = Vec::new();
    chain_rows(shop, state).into_iter().filter(|(mode, _)| *mode != Mode::FE).all(|(_, rows)| {
        rows.into_iter().all(|row| {
            let new = !observed.contains(&row);
            observed.push(row);
            new
        })
    })
}

fn rows_all(shop: &Shop, state: &State) -> bool {
    let bounded = shop.config.slots.iter().any(|slot| slot.bounds != (None, None));
    let missing = state.past.tampered || state.past.missing || bounded;
    if missing || shop.config.guard == Guarding::Nothing {
        return true;
    }
    let Some(item) = shop.items.find(state.item(shop.watermark_key)) else { return true };
    let worker_core::protocol::Item::Watermark(watermark_item) = &*item else { return true };
    let Some(low) = watermark_item.lwm_value.as_deref().and_then(|low| low.parse::<i64>().ok())
    else {
        return true;
    };
    let mut expected = (0_u8..)
        .zip(&shop.config.rows)
        .filter(|(_, row)| row.observed <= state.epoch && row.mark <= low)
        .peekable();
    if expected.peek().is_none() {
        return true;
    }
    let rows: Vec<u8> = chain_rows(shop, state).into_iter().flat_map(|(_, rows)| rows).collect();
    expected.all(|(id, _)| rows.contains(&id))
}

fn one_writer(shop: &Shop, state: &State) -> bool {
    let keys = |upload: &u32| shop.uploads.get(*upload).key_id;
    state.uploads.iter().all(|upload| {
        let key = keys(upload);
        !state.uploads.iter().any(|other| other != upload && keys(other) == key)
            && !state.files.iter().any(|(file, other)| *file == key && other != upload)
    })
}

/// A process of slot `at` has ended: whether it may say so.
pub(crate) fn ended(shop: &Shop, state: &mut State, at: usize, end: End) {
    let slot = shop.slot(at);
    match end {
        End::Defect => state.broken.broke(Rule::Total),
        End::Published | End::Answered => {
            let key = shop.outcome_keys.get(at).copied().unwrap_or_default();
            let outcome = shop.outcome_item(state.item(key));
            let result = outcome.and_then(|outcome| outcome.result);
            let task = &shop.tasks[at];
            let asked = rank(task.owner.requested_at.as_ref());
            let answers = result.is_some_and(|result| {
                result.outcome == TrackedOutcome::Complete
                    && rank(result.owner.requested_at.as_ref()) >= asked
            });
            // a later request of the same object may have been answered meanwhile
            let once = state.past.published.iter().any(|run| {
                let of = &shop.tasks[shop.slot_of(*run)].owner;
                of.uid == task.owner.uid && rank(of.requested_at.as_ref()) >= asked
            });
            if !answers && !once {
                state.broken.broke(Rule::Exit);
            }
            let keys = &shop.prefixes[usize::from(slot.prefix)];
            if end == End::Published && state.object(keys.pointer) == NONE {
                state.broken.broke(Rule::PendingCleanup);
            }
        }
        End::Recovered => {
            let held = shop.run_item(state.item(shop.run_key));
            if let Part::Force(_) = slot.part {
                if let Some(run) = &held {
                    super::undone(shop, state, run);
                }
                return;
            }
            let open = held.as_ref().is_some_and(|run| {
                run.owner.uid == slot.uid && run.attempt <= slot.attempt && run.state.is_open()
            });
            if open {
                state.broken.broke(Rule::Exit);
            }
            if held.is_some() && left_behind(shop, state, at) {
                state.broken.broke(Rule::Leftovers);
            }
        }
        End::Lost if !was_deleted(shop, state) => state.broken.broke(Rule::FalseAlarm),
        End::Lost | End::DecidedRun | End::Failed | End::Fenced | End::Permanent => {}
    }
}

/// Whether an upload is open of the run that this recovery has to end: the one that the run item or the outcome item shows.
/// Pods that began to read after their run was given up are not its business, nor is a run that a
/// later attempt has taken over.
fn left_behind(shop: &Shop, state: &State, at: usize) -> bool {
    let budget = shop.config.budget;
    if budget.zombies > 0 || budget.lost_runs > 0 || state.past.missing {
        return false;
    }
    let slot = shop.slot(at);
    let outcome = shop.outcome_item(state.item(shop.outcome_keys[at]));
    let Some(run) = outcome.and_then(|outcome| outcome.run).map(number) else { return false };
    let of = shop.slot(shop.slot_of(run));
    of.attempt == slot.attempt
        && !state.past.published.contains(&run)
        && state.uploads.iter().any(|upload| shop.uploads.get(*upload).run == run)
}

/// Whether somebody ever deleted an item.
fn was_deleted(shop: &Shop, state: &State) -> bool {
    let (all, left) = (shop.config.budget, state.left);
    all.lost_runs > left.lost_runs || all.lost_marks > left.lost_marks
}
