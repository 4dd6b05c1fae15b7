//! The source database: connections, credentials, the catalog, and rows.

pub mod credentials;
pub(crate) mod table;
pub(crate) mod doubts;
pub mod sessions;
pub mod watch;
pub mod goodbye;
pub(crate) mod second;
pub(crate) mod ending;
pub mod database;
pub mod postgres;
pub mod mysql;
pub(crate) mod filtering;
pub mod rows;
