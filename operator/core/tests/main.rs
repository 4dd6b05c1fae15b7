//! Decisions in a simulation that applies them.

mod simulation;
mod early;
mod flow;
mod pods;
mod life;
mod last_try;
mod manifests;
mod properties;
mod removals;
mod conditions;
mod requests;
mod watermarks;
mod spec_changes;
mod stored_forms;
