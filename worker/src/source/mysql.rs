//! MySQL and MariaDB: sessions through the driver, the catalog, what guards a window, and our own
//! reader of rows.

pub(crate) mod aligned;
pub(crate) mod beginning;
pub(crate) mod binary_log;
pub(crate) mod catalog;
pub(crate) mod guard;
pub(crate) mod rows;
mod session;
mod texts;
pub(crate) mod sessions;
pub(crate) mod table_lock;
pub(crate) use plain::plain_settings;
mod framing;
mod keepalive;
mod authentication;
mod login;
mod plain;
pub(crate) mod relay;
pub(crate) mod second;
