//! Which server a session is connected to.

/// Whether a version text is MariaDB's.
pub fn is_mariadb(version: &str) -> bool {
    version.contains("MariaDB")
}
