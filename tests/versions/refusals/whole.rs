//! What the whole server refuses, by its settings. A server of its own, so that other tests do not meet them.

use super::*;

/// A state of the server, and how a run then ends.
struct State {
    set: &'static str,
    reset: &'static str,
    ends: Ends,
    only: Option<Mysql>,
}

const fn state(set: &'static str, reset: &'static str, ends: Ends) -> State {
    State { set, reset, ends, only: None }
}

const STATES: &[State] = &[
    state(
        "set global offline_mode = 1",
        "set global offline_mode = 0",
        fails("DatabaseUnreachable", &["error 3032", "offline_mode"]),
    ),
    state(
        "set global init_connect = 'select nothing'",
        "set global init_connect = ''",
        fails("DatabaseFailed", &["error 1184", "init_connect"]),
    ),
    state(
        "set global default_collation_for_utf8mb4 = utf8mb4_general_ci",
        "set global default_collation_for_utf8mb4 = utf8mb4_0900_ai_ci",
        stops("SettingRefused", &["default_collation_for_utf8mb4"]),
    ),
    state(
        "set global max_allowed_packet = 524288",
        "set global max_allowed_packet = 67108864",
        stops("SettingRefused", &["max_allowed_packet"]),
    ),
    state(
        "set global max_execution_time = 1, global sql_mode = 'ANSI', global sql_select_limit = 0, \
         global lock_wait_timeout = 1, global super_read_only = 1",
        "set global max_execution_time = 0, global sql_mode = default, global sql_select_limit = default, \
         global lock_wait_timeout = default, global super_read_only = 0, global read_only = 0",
        GOOD,
    ),
    State {
        set: "set global partial_revokes = 1; grant select on *.* to USER@'%'; revoke select on DB.* from USER@'%'",
        reset: "drop user USER@'%'; set global partial_revokes = 0",
        ends: stops("DatabaseDenied", &["error 1044", "partial revoke"]),
        only: Some(Mysql::Mysql97),
    },
];

async fn tried(server: &Server, state: &State) -> Result<()> {
    let account = Account::new(server).await?;
    account.sql("grant select on DB.* to USER@'%'").await?;
    if state.set.contains("revoke") {
        account.sql("revoke select on DB.* from USER@'%'").await?;
    }
    account.sql(state.set).await?;
    let ended = account.ends(state.ends).await;
    account.sql(state.reset).await?;
    ended
}

/// The server takes no connection that has no TLS.
async fn without_tls(server: &Server) -> Result<()> {
    let mut account = Account::new(server).await?;
    account.job["spec"]["source"]["tls"] = json!({ "mode": "insecurePlaintext" });
    // otherwise the server asks for the password before it checks the transport
    server.log_in(&account.source.database, "secret").await?;
    account.sql("set global require_secure_transport = 1").await?;
    let ends = stops("CredentialsRejected", &["error 3159", "source.tls.mode: verifyFull"]);
    let ended = account.ends(ends).await;
    account.sql("set global require_secure_transport = 0").await?;
    ended
}

/// All connections but the superuser's last one are in use.
async fn crowded(server: &Server) -> Result<()> {
    let account = Account::new(server).await?;
    account.sql("grant select on DB.* to USER@'%'").await?;
    let (other, database) = (server.clone(), account.source.database.clone());
    let snapshot_session =
        tokio::spawn(async move { other.sql(&database, "select sleep(600)").await });
    let id = sleeper(&account).await?;
    // only now: else this session itself may be refused, because the one before it has not ended yet
    account.sql("set global max_connections = 1").await?;
    let ends = fails("DatabaseUnreachable", &["error 1040", "max_connections"]);
    let ended = account.ends(ends).await;
    account.sql(&format!("kill {id}; set global max_connections = 300")).await?;
    let _ = snapshot_session.await;
    ended
}

/// The server is shut down while a run reads, and is gone for the next one.
async fn shut_down(server: &Server) -> Result<()> {
    let account = Account::new(server).await?;
    account.sql("grant select on DB.* to USER@'%'").await?;
    let command = account.source.command("run", &account.job)?;
    let mut run = account.source.start(command, Some("partition-start"))?;
    run.paused().await?;
    account.sql("shutdown").await?;
    harness::wait_until("the server's end", STEP, async || {
        ensure!(account.sql("select 1").await.is_err(), "it answers");
        Ok(())
    })
    .await?;
    run.go_on()?;
    let ends = fails("DatabaseUnreachable", &["KILL"]);
    ends.check(&run.ended(STEP).await?).context("a run that reads")?;
    account.ends(fails("DatabaseUnreachable", &["source.port"])).await
}

#[test]
fn run_refused_by_a_server_setting_is_reported_with_a_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut all = Vec::new();
        for release in RELEASES {
            let server = &Server::apart(env, release)?;
            for state in STATES.iter().filter(|state| state.only.is_none_or(|only| only == release))
            {
                let tried = tried(server, state).await;
                all.push(tried.with_context(|| format!("{release:?}: {}", state.set)));
            }
            if release.takes_tls() {
                let tried = without_tls(server).await;
                all.push(tried.with_context(|| format!("{release:?}: without TLS")));
            }
            let tried = crowded(server).await;
            all.push(tried.with_context(|| format!("{release:?}: max_connections")));
            // the last, since the server is gone then
            let tried = shut_down(server).await;
            all.push(tried.with_context(|| format!("{release:?}: shutdown")));
        }
        all_good(all)
    })
}
