//! The control objects under `<uri>/_tidemark/`, and the uploads and files they speak of.

mod bodies;
mod deletes;
mod files;
mod listing;
mod locks;
mod objects;
mod streams;
mod uploads;

pub use deletes::KEYS_PER_REQUEST_MAX;
pub use files::Head;
pub use objects::{Control, Only};
pub use streams::{Listed, WholeObject, at_once};
pub(crate) use uploads::not_as_recorded;
