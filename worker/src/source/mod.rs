//! The source database: connections, credentials, the catalog, and rows.
//!
//! Files import only those above them in this list.

pub mod timeouts;
pub(crate) mod certificates;
pub mod errors;
pub mod goodbye;
pub mod secret;
pub mod tokens;
pub mod login;
pub(crate) mod tls;
pub(crate) mod stream;
mod own_socket;
pub mod credentials;
pub mod backend;
pub mod chunks;
pub(crate) mod table;
pub(crate) mod condition;
pub(crate) mod second;
pub mod postgres;
pub mod mysql;
pub(crate) mod doubts;
pub mod database;
pub(crate) mod filtering;
mod queries;
pub mod watch;
pub(crate) mod ending;
pub mod rows;
