//! What a plain session of the database user has: one that is asked and closed before anything is pinned.

use worker_core::errors::failure::Failure;
use worker_core::planning::filtering::Settings;

use super::login::unpinned;
use super::session::Session;
use super::session::broke_off;
use super::texts::texts;
use crate::source::condition::ACTION;
use crate::source::goodbye;
use crate::source::login::Login;

/// `utf8mb4_esperanto_ci`, under the same number in MySQL and MariaDB: nobody has it, so that another one
/// shows what the server makes of a client's own (`init_connect`, `skip-character-set-client-handshake`).
const ESPERANTO: u8 = 241;
/// Its name.
const ESPERANTO_NAME: &str = "utf8mb4_esperanto_ci";
/// What a client that asks for nothing gets.
const USUAL_COLLATION: &str = "SET NAMES utf8mb4";
/// However many rows a session gives.
const ALL_ROWS: &str = "SET SESSION sql_select_limit = 18446744073709551615";
const COLLATION: &str = "collation_connection";

/// These settings of a session that connects and changes nothing.
///
/// # Errors
/// A database reason.
pub(crate) async fn plain_settings(
    login: &Login,
    names: &[&'static str],
) -> Result<Settings, Failure> {
    let login = Login { password: login.password().await?, ..login.clone() };
    let names = names.to_vec();
    let asked = goodbye::spawn_blocking(move || ask(&login, &names)).await;
    asked.map_err(|_| broke_off())?
}

fn ask(login: &Login, names: &[&'static str]) -> Result<Settings, Failure> {
    let mut session = unpinned(login, ESPERANTO)?;
    // the answer itself is cut otherwise
    session.query(ACTION, ALL_ROWS)?;
    let mut settings = show(&mut session, names)?;
    if settings.get(COLLATION).is_some_and(|collation| collation == ESPERANTO_NAME) {
        session.query(ACTION, USUAL_COLLATION)?;
        settings.extend(show(&mut session, &[COLLATION])?);
    }
    Ok(settings)
}

/// Those of these settings that the server knows.
fn show(session: &mut Session, names: &[&'static str]) -> Result<Settings, Failure> {
    // no word of the manifest is in it
    let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    let statement = format!("SHOW SESSION VARIABLES WHERE Variable_name IN ({})", names.join(", "));
    let named = texts(session, ACTION, &statement)?.into_iter().filter_map(|row| {
        let mut fields = row.into_iter();
        Some((fields.next()??, fields.next()??))
    });
    Ok(named.collect())
}
