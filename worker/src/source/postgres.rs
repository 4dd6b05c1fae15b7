//! Postgres: its sessions, its catalog, what guards a window, and its stream of rows.

pub(crate) mod catalog;
pub(crate) mod guard;
pub(crate) mod pooler;
pub(crate) mod rows;
pub(crate) mod sessions;
mod authentication;
mod copy;
mod relay;
mod scram;
pub(crate) mod second;
mod server;
