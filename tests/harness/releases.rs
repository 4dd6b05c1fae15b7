//! The releases of MySQL and MariaDB that a test environment can have: `TIDEMARK_MYSQL` names the one of its own server.

use std::borrow::Cow;
use std::env;
use std::io::{self, Write as _};

use serde_json::{Value, json};

/// A release of MySQL or MariaDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mysql {
    /// MariaDB 10.11, which the test environment has if nothing else is asked for.
    MariaDb1011,
    /// MariaDB 11.8.
    MariaDb118,
    /// MySQL 8.0.
    Mysql80,
    /// MySQL 9.7.
    Mysql97,
}

impl Mysql {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mysql80, Self::Mysql97, Self::MariaDb1011, Self::MariaDb118];

    /// Its name in the test environment's scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MariaDb1011 => "mariadb-10.11",
            Self::MariaDb118 => "mariadb-11.8",
            Self::Mysql80 => "mysql-8.0",
            Self::Mysql97 => "mysql-9.7",
        }
    }

    /// The release of the test environment's own server. The test environment itself refuses a name that it does not know.
    pub fn of_env() -> Self {
        let name = env::var("TIDEMARK_MYSQL").ok();
        let found = Self::ALL.into_iter().find(|release| Some(release.name()) == name.as_deref());
        found.unwrap_or(Self::MariaDb1011)
    }

    /// Whether it is MariaDB.
    pub const fn is_mariadb(self) -> bool {
        matches!(self, Self::MariaDb1011 | Self::MariaDb118)
    }

    /// Whether it is MySQL, which lacks something that the test is about; says so for the table of releases.
    pub fn lacks(self, what: &str) -> bool {
        if !self.is_mariadb() {
            // past the test's own output, which is kept back
            let _ = writeln!(io::stdout(), "not on this release: {what}");
        }
        !self.is_mariadb()
    }

    /// Whether a client of today can have TLS of it: MySQL 8.0.15 comes with an OpenSSL that has no ECDHE.
    pub const fn takes_tls(self) -> bool {
        !matches!(self, Self::Mysql80)
    }

    /// SQL of MariaDB as this release takes it: MySQL has no tables of numbers (`seq_1_to_9`), and refuses dates that
    /// no calendar has, unless sql_mode allows them. An account that must use TLS could not connect to a release without.
    pub fn spelled(self, sql: &str) -> Cow<'_, str> {
        if self.is_mariadb() {
            return Cow::Borrowed(sql);
        }
        let modes = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";
        let sql = without_sequences(sql);
        let sql = if self.takes_tls() { sql } else { sql.replace(" require ssl", "") };
        Cow::Owned(format!("set sql_mode = '{modes}';\n{sql}"))
    }

    /// `source.tls` of a job that reads from it.
    pub fn tls(self) -> Value {
        if self.takes_tls() {
            json!({ "caRef": { "name": "database-ca", "key": "ca.crt" } })
        } else {
            json!({ "mode": "insecurePlaintext" })
        }
    }
}

fn without_sequences(sql: &str) -> String {
    let mut parts = sql.split("seq_");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match numbers(part) {
            Some((query, rest)) => text.extend([query.as_str(), rest]),
            None => text.extend(["seq_", part]),
        }
    }
    text
}

/// Of `1_to_9 ...` a query of these numbers, and what follows.
fn numbers(part: &str) -> Option<(String, &str)> {
    let (from, rest) = part.split_once("_to_")?;
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
    let (from, to): (u64, u64) = (from.parse().ok()?, rest[..end].parse().ok()?);
    let query = format!(
        "(with recursive numbers (seq) as (select {from} union all select seq + 1 from numbers where seq < {to}) \
         select seq from numbers) numbers"
    );
    Some((query, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_numbers_become_queries_on_mysql_alone() {
        let sql = "insert into t select seq, 'seq_x' from seq_3_to_9 where seq > 4";
        assert_eq!(Mysql::MariaDb118.spelled(sql), sql);
        let expected = ";\ninsert into t select seq, 'seq_x' from (with recursive numbers (seq) as (select 3 union all \
            select seq + 1 from numbers where seq < 9) select seq from numbers) numbers where seq > 4";
        assert!(Mysql::Mysql80.spelled(sql).ends_with(expected));
        let sql = "create user a@'%' identified by 'b' require ssl";
        assert_eq!(Mysql::Mysql97.spelled(sql).ends_with(sql), Mysql::Mysql97.takes_tls());
        assert!(Mysql::Mysql80.spelled(sql).ends_with("identified by 'b'"));
    }
}
