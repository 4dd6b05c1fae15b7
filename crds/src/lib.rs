//! The vocabulary of Tidemark: the nouns that the operator and the worker share, in reading order.
//!
//! | word | meaning |
//! |---|---|
//! | *source* | one table of one database, named in the tracking table by `<database>.<table>` |
//! | *window* | the part of a source that one run takes: all rows, or `low < watermark <= high` |
//! | *run* | one try at one window, with an id of its own; it is published whole or not at all |
//! | *attempt* | which run of one `ExtractJob` this is, counted per uid and never restarted |
//! | *partition* | the part of a window that one pod reads |
//! | *record* | what one partition left behind: keys, upload ids, parts, rows |
//! | *request* | hash over the fields that define the data an `ExtractJob` asks for |
//! | *outcome* | what became of one request: Complete or Failed |
//!
//! Nothing here does I/O, waits or decides what to do.

pub mod extract_job;
pub mod consistency;
pub mod fidelity;
pub mod guard;
pub mod partition;
pub mod watermark;
pub mod source;
pub mod output;
mod rules;
pub mod manifest;
pub mod status;
pub mod condition;
pub mod request;
pub mod task;
pub mod requested;
mod removals;
pub mod tracking;
pub mod units;

pub use condition::{ConditionReason, ConditionType, Reason, Report};
pub use extract_job::{ExtractJob, ExtractJobSpec, ExtractType};
pub use request::{HASH_VERSION, RequestHash};
pub use status::{ExtractJobStatus, Phase};
pub use task::Task;
pub use units::RunId;
