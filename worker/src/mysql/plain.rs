//! What a plain session of the database user has: one that is asked and closed before anything is pinned.

use worker_core::error::Failure;
use worker_core::filtering::Settings;

use super::login::unpinned;
use super::rows::{broke_off, texts};
use crate::sessions::Login;

/// `utf8mb4_esperanto_ci`, under the same number in MySQL and MariaDB: nobody has it, so that another one
/// shows what the server makes of a client's own (`init_connect`, `skip-character-set-client-handshake`).
const ESPERANTO: u8 = 241;
/// Its name.
const ESPERANTO_NAME: &str = "utf8mb4_esperanto_ci";
/// What a client that asks for nothing gets.
const USUAL_COLLATION: &str = "SET NAMES utf8mb4";
const COLLATION: &str = "collation_connection";

/// These settings of a session that logs in and changes nothing.
///
/// # Errors
/// A database reason.
pub(crate) async fn plain_settings(
    login: &Login,
    names: &[&'static str],
) -> Result<Settings, Failure> {
    let login = Login { password: login.password().await?, ..login.clone() };
    let names = names.to_vec();
    let asked = tokio::task::spawn_blocking(move || ask(&login, &names)).await;
    asked.map_err(|_| broke_off())?
}

fn ask(login: &Login, names: &[&'static str]) -> Result<Settings, Failure> {
    let (mut session, _) = unpinned(login, ESPERANTO)?;
    let mut settings = Settings::new();
    for name in names {
        // no word of the manifest is in it
        let rows = texts(&mut session, &format!("SELECT @@SESSION.{name}"))?;
        let value = rows.into_iter().flatten().next().flatten();
        settings.extend(value.map(|value| ((*name).to_owned(), value)));
    }
    if settings.get(COLLATION).is_some_and(|collation| collation == ESPERANTO_NAME) {
        session.query(USUAL_COLLATION)?;
        let rows = texts(&mut session, &format!("SELECT @@SESSION.{COLLATION}"))?;
        let usual = rows.into_iter().flatten().next().flatten();
        settings.extend(usual.map(|usual| (COLLATION.to_owned(), usual)));
    }
    session.ask(QUIT, &[])?;
    Ok(settings)
}

/// Command: the client leaves.
const QUIT: u8 = 1;
