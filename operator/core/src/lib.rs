//! What the operator decides, as pure functions: no client, no clock, no environment.
//!
//! In reading order: what was observed, which settings hold, the manifest checked, whether a run is
//! due, which state the Jobs of an attempt have, how an attempt ended, the Jobs to create,
//! and the decision itself: [`decide::decide`] turns one [`Observed`] into effects, status, events and
//! the time of the next decision. Deciding again directly after applying yields no effects.

pub mod settings;
pub mod observed;
pub mod valid;
pub mod due;
pub mod mirror;
pub mod retry;
pub mod labels;
pub mod attempt;
pub mod pods;
pub mod ending;
pub mod pod_template;
pub mod workload;
pub mod postponed;
pub mod effects;
mod conditions;
pub mod status;
pub mod decision;
mod reports;
mod request;
mod in_doubt;
mod recover_jobs;
mod concluding;
mod starting;
mod running;
mod recovering;
mod deleting;
pub mod decide;

pub use decide::decide;
pub use decision::{Decision, ReadRequest, Step};
pub use effects::Effect;
pub use observed::Observed;
pub use settings::Settings;
