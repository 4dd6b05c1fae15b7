//! What the operator decides, as pure functions: no client, no clock, no environment.
//!
//! In reading order: what was observed, which settings hold, the manifest checked, whether a run is
//! due, what the Jobs of an attempt look like from outside, how an attempt ended, the Jobs to make,
//! and the decision itself: [`decide::decide`] turns one [`Observed`] into effects, status, events and
//! the time of the next look. Deciding again right after applying yields no effects.

pub mod settings;
pub mod observed;
pub mod valid;
pub mod due;
pub mod retry;
pub mod labels;
pub mod attempt;
pub mod pods;
pub mod ending;
pub mod pod_template;
pub mod workload;
pub mod put_off;
pub mod effects;
pub mod status;
pub mod decide;
mod deleting;
mod running;
mod settling;
mod unsettled;
mod concluding;
mod starting;

pub use decide::{Decision, Look, Step, decide};
pub use effects::Effect;
pub use observed::Observed;
pub use settings::Settings;
