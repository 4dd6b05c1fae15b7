//! Mistakes between the records and the pointer.

use crds::tracking::{Mode, RunState};
use worker_core::layout::body::to_body;
use worker_core::layout::manifests::{ManifestHead, Pointer};
use worker_core::layout::objects::Prefix;
use worker_core::protocol::{
    Act, Effect, Event, Expect, Item, Phase, Process, Reply, Step, Transaction, Why, transitions,
};

use super::tools::{id_only, no_conditions, only_reply, product, put_run, sees, transaction, with};
use crate::stores::{ANY, OTHERS};

fn completes(uri: &str, manifest: &ManifestHead) -> Vec<Effect> {
    let effect = Effect::CompleteAll { uri: uri.to_owned(), run: manifest.run };
    if manifest.files.0 == 0 { Vec::new() } else { vec![effect] }
}

pub(super) fn complete_before_decide(process: Process, event: Event) -> (Process, Act) {
    let event = match (&process.phase, event) {
        (Phase::Deciding(..), Event::Replied(replies)) => {
            Event::Replied(replies.last().copied().into_iter().collect())
        }
        (_, event) => event,
    };
    let (process, mut act) = product(process, event);
    if let (Phase::Deciding(held, manifest, ..), Act::Write(effects)) = (&process.phase, &mut act) {
        effects.splice(0..0, completes(&held.run.uri, manifest));
    }
    (process, act)
}

pub(super) fn decide_without_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Decide, |_, decide| no_conditions(decide))
}

pub(super) fn decide_by_id_only(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Decide, |_, decide| id_only(decide))
}

pub(super) fn decide_without_mark(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Decide, |_, decide| decide.writes.truncate(1))
}

pub(super) fn decide_before_manifest(process: Process, event: Event) -> (Process, Act) {
    let event = match process.phase {
        Phase::Deciding(..) => only_reply(event, 0),
        _ => event,
    };
    let (process, act) = product(process, event);
    match (&process.phase, act) {
        (Phase::PuttingManifest(..), Act::Write(manifest)) => {
            let (process, mut act) = product(process, Event::Replied(vec![Reply::Done]));
            if let Act::Write(effects) = &mut act {
                effects.extend(manifest);
            }
            (process, act)
        }
        (_, act) => (process, act),
    }
}

pub(super) fn yes_without_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Publish, |_, publish| no_conditions(publish))
}

pub(super) fn commit_without_condition(process: Process, event: Event) -> (Process, Act) {
    let (process, mut act) = product(process, event);
    for step in [Step::Decide, Step::Publish] {
        if let Some(found) = transaction(&mut act, step) {
            no_conditions(found);
        }
    }
    (process, act)
}

/// The watermark is overwritten, with any value in place.
pub(super) fn mark_unchecked(process: Process, event: Event) -> (Process, Act) {
    let looks = matches!(process.phase, Phase::Reading(Why::Publish(..)));
    let (process, event) = sees(looks, process, event, |_, observed| {
        let stored = observed
            .watermark_item
            .as_ref()
            .and_then(|watermark_item| watermark_item.lwm_value.clone());
        if let Some(window) = observed.run.as_mut().and_then(|run| run.window.as_mut()) {
            window.low_text = stored;
        }
    });
    decide_without_mark(process, event)
}

pub(super) fn yes_without_mark_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Publish, |_, publish| {
        for write in &mut publish.writes {
            if matches!(write.expect, Expect::Watermark(_)) {
                write.expect = Expect::WatermarkLow(ANY.to_owned());
            }
        }
    })
}

/// The outcome item is written after the run item and the watermark item, by a transaction of its own.
pub(super) fn outcome_apart(process: Process, event: Event) -> (Process, Act) {
    let event = match process.phase {
        Phase::Publishing(..) => only_reply(event, 0),
        _ => event,
    };
    let (process, mut act) = product(process, event);
    if let Some(publish) = transaction(&mut act, Step::Publish) {
        let is_outcome =
            |write: &worker_core::protocol::ItemWrite| matches!(write.put, Some(Item::Outcome(_)));
        let outcome: Vec<_> =
            publish.writes.iter().filter(|write| is_outcome(write)).cloned().collect();
        publish.writes.retain(|write| !is_outcome(write));
        if let Act::Write(effects) = &mut act {
            effects.push(Effect::Track(Transaction { step: Step::Raise, writes: outcome }));
        }
    }
    (process, act)
}

fn pointer(uri: &str, manifest: &ManifestHead) -> Effect {
    let prefix = Prefix::parse(uri).expect("a uri");
    let pointer = Pointer {
        version: 1,
        source: manifest.source.clone(),
        run: manifest.run,
        commit: manifest.commit,
        manifest: prefix.manifest(manifest.run),
    };
    Effect::PutPointer {
        uri: uri.to_owned(),
        key: prefix.pointer(),
        body: to_body(&pointer),
        etag: Some(ANY.to_owned()),
    }
}

pub(super) fn pointer_before_yes(process: Process, event: Event) -> (Process, Act) {
    let event = match process.phase {
        Phase::Publishing(..) => only_reply(event, 1),
        _ => event,
    };
    let (process, mut act) = product(process, event);
    if let (Phase::Publishing(decided, ..), Act::Write(effects)) = (&process.phase, &mut act) {
        effects.insert(0, pointer(&decided.run.uri, &decided.manifest));
    }
    (process, act)
}

pub(super) fn pointer_moves_down(process: Process, event: Event) -> (Process, Act) {
    let event = match event {
        Event::CleanupRead(mut cleanup) => {
            if let Some((pointer, _)) = &mut cleanup.pointer {
                pointer.commit = 0;
            }
            Event::CleanupRead(cleanup)
        }
        event => event,
    };
    product(process, event)
}

pub(super) fn pointer_without_condition(process: Process, event: Event) -> (Process, Act) {
    let (process, mut act) = product(process, event);
    if let Act::Write(effects) = &mut act {
        for effect in effects {
            if let Effect::PutPointer { etag, .. } = effect {
                *etag = Some(ANY.to_owned());
            }
        }
    }
    (process, act)
}

pub(super) fn removal_before_pointer(process: Process, event: Event) -> (Process, Act) {
    let event = match (&process.phase, event) {
        (Phase::Pointing(..), Event::Replied(replies)) => {
            Event::Replied(replies.last().copied().into_iter().collect())
        }
        (_, event) => event,
    };
    let (process, mut act) = product(process, event);
    if let (Phase::Pointing(run, cleanup, ..), Act::Write(effects)) = (&process.phase, &mut act) {
        let delete = |(_, key): &(crds::RunId, String)| Effect::Delete {
            uri: run.uri.clone(),
            store: None,
            key: key.clone(),
        };
        effects.splice(0..0, cleanup.replaced.iter().map(delete).collect::<Vec<_>>());
    }
    (process, act)
}

pub(super) fn removal_of_all_others(process: Process, event: Event) -> (Process, Act) {
    let (process, mut act) = product(process, event);
    if let (Phase::Removing(run, ..), Act::Write(effects)) = (&process.phase, &mut act) {
        let key = format!("{OTHERS}{}", run.run.0.as_u128());
        *effects = vec![Effect::Delete { uri: run.uri.clone(), store: None, key }];
    }
    (process, act)
}

/// A DECIDE that was refused is taken for a successful one, in any state of the run.
pub(super) fn fenced_taken_for_decided(process: Process, event: Event) -> (Process, Act) {
    let looks = matches!(process.phase, Phase::Reading(Why::Decided(..)));
    let (process, event) = sees(looks, process, event, |process, observed| {
        if let (Phase::Reading(Why::Decided(held, ..)), Some(run)) =
            (&process.phase, &mut observed.run)
            && run.run == held.run.run
            && run.state == RunState::Failed
        {
            run.state = RunState::Committing;
        }
    });
    product(process, event)
}

pub(super) fn pending_cleanup_forgotten(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Publish, |process, publish| {
        if let Some(run) = put_run(publish) {
            run.pending_cleanup = None;
        }
        if let Phase::Publishing(_, run, _) = &mut process.phase {
            run.pending_cleanup = None;
        }
    })
}

pub(super) fn cleanup_before_pointer(process: Process, event: Event) -> (Process, Act) {
    let event = match process.phase {
        Phase::Pointing(..) => only_reply(event, 1),
        _ => event,
    };
    let (process, mut act) = product(process, event);
    if let (Phase::Pointing(run, ..), Act::Write(effects)) = (&process.phase, &mut act) {
        effects.insert(
            0,
            Effect::Track(
                transitions::record_cleanup(run, process.now, &process.store()).transaction,
            ),
        );
    }
    (process, act)
}

pub(super) fn cleanup_without_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Cleanup, |_, clear| no_conditions(clear))
}

/// The watermark item as it is after a success, changed.
fn mark(publish: &mut Transaction, change: impl Fn(&mut crds::tracking::WatermarkItem)) {
    for write in &mut publish.writes {
        if let Some(Item::Watermark(watermark_item)) = &mut write.put {
            change(watermark_item);
        }
    }
}

pub(super) fn mark_is_high(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Publish, |_, publish| {
        let window = put_run(publish).and_then(|run| run.window.clone());
        let high = window.and_then(|window| window.high);
        mark(publish, |watermark_item| {
            if high.is_some() {
                watermark_item.lwm_value.clone_from(&high);
            }
        });
    })
}

pub(super) fn empty_run_resets_mark(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Publish, |_, publish| {
        let empty = put_run(publish).is_some_and(|run| run.partitions == Some(0));
        mark(publish, |watermark_item| {
            if empty {
                watermark_item.lwm_value = Some("0".to_owned());
            }
        });
    })
}

pub(super) fn pending_window_kept_after_full(process: Process, event: Event) -> (Process, Act) {
    let pending_window = match &event {
        Event::Observed(observed, _) => {
            observed.run.as_ref().and_then(|run| run.pending_window.clone())
        }
        _ => None,
    };
    with((process, event), Step::Publish, |_, publish| {
        if let Some(run) = put_run(publish).filter(|run| run.mode == Mode::FE) {
            run.pending_window.clone_from(&pending_window);
        }
    })
}

/// A process that is asked to stop reports success.
pub(crate) fn exits_well(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = product(process, event);
    match act {
        Act::End(worker_core::protocol::Ending::Failed(_)) => {
            (process, Act::End(worker_core::protocol::Ending::Answered))
        }
        act => (process, act),
    }
}
