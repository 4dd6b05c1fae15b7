//! Decisions about a world that obeys them.

mod world;
mod flow;
mod manifests;
mod properties;
