//! In: an object and an outcome. Out: whether the outcome answers it; where it does not, a run is due.
//! Bound: none. Fails: never; an outcome of a newer release is a case of its own.

use crds::extract_job::ExtractJobSpec;
use crds::request::{HASH_VERSION, request_hash};
use crds::requested::is_later;
use crds::status::StatusOutcome;
use crds::tracking::{OutcomeResult, Owner, TrackedOutcome};

/// How an outcome stands to an object or a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It answers: nothing is due.
    Answered,
    /// It is about something else: a run is due.
    Due,
    /// A newer release hashed it: it cannot be compared.
    Newer,
}

/// Compares an outcome with what `owner` asks for by `spec`.
///
/// Complete answers its own request, Failed also needs a generation not older than the owner's;
/// a `requested-at` asks for a run if it is later than the outcome's, so an older, equal or absent one asks
/// for nothing.
pub fn answer(spec: &ExtractJobSpec, owner: &Owner, outcome: &StatusOutcome) -> Answer {
    if outcome.hash_version > HASH_VERSION {
        return Answer::Newer;
    }
    let same_request = request_hash(spec, outcome.hash_version)
        .is_some_and(|hash| hash.request == outcome.request);
    let asks = is_later(owner.requested_at.as_deref(), outcome.requested_at.as_deref());
    let recent = match outcome.result {
        TrackedOutcome::Complete => true,
        TrackedOutcome::Failed => outcome.generation >= owner.generation,
    };
    if same_request && !asks && recent { Answer::Answered } else { Answer::Due }
}

/// The part of a tracked outcome that status repeats.
pub fn status_outcome(result: &OutcomeResult) -> StatusOutcome {
    outcome_of(&result.owner, result.outcome)
}

/// An outcome for `owner`.
pub fn outcome_of(owner: &Owner, result: TrackedOutcome) -> StatusOutcome {
    StatusOutcome {
        result,
        request: owner.request.clone(),
        hash_version: owner.hash_version,
        generation: owner.generation,
        requested_at: owner.requested_at.clone(),
    }
}
