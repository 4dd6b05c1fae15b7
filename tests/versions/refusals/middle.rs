//! What ends a run in its middle.

use super::*;

/// Reads one row each half second once the switch is on.
const SLOW: &str = "create table switch (slow int); insert into switch values (0); \
    create view slow as select id, v from t where sleep((select max(slow) from switch) / 2) = 0; \
    insert into t select seq, 'canary' from seq_2_to_100; grant select on DB.* to USER@'%'";

/// What is done to a run that reads rows.
const TO_STATEMENTS: &[(&str, Ends)] = &[
    ("kill query", fails("DatabaseFailed", &["error 1317", "KILL QUERY"])),
    ("kill", fails("DatabaseUnreachable", &["KILL", "restart"])),
];

/// What is done to the table between plan and reading.
const TO_TABLES: &[(&str, Ends)] = &[
    (
        "alter table t drop column v",
        stops("ColumnNotFound", &["error 1054", "Then start another run"]),
    ),
    ("drop table t", stops("QueryFailed", &["error 1146", "Restore the table"])),
    ("rename table t to elsewhere", stops("QueryFailed", &["error 1146", "Restore the table"])),
    ("revoke select on DB.t from USER@'%'", stops("DatabaseDenied", &["GRANT SELECT"])),
];

async fn ended(server: &Server, (kill, ends): (&str, Ends)) -> Result<()> {
    let mut account = Account::new(server).await?;
    account.sql(SLOW).await?;
    account.job["spec"]["extract"]["table"] = json!("slow");
    let command = account.source.command("run", &account.job)?;
    let mut run = account.source.start(command, Some("partition-start"))?;
    run.paused().await?;
    account.sql("update switch set slow = 1").await?;
    run.go_on()?;
    let id = sleeper(&account).await?;
    account.sql(&format!("{kill} {id}")).await?;
    ends.check(&run.ended(STEP).await?)
}

async fn changed(server: &Server, (sql, ends): (&str, Ends)) -> Result<()> {
    let account = Account::new(server).await?;
    account.sql("grant select on DB.t to USER@'%'").await?;
    let command = account.source.command("run", &account.job)?;
    let mut run = account.source.start(command, Some("partition-start"))?;
    run.paused().await?;
    account.sql(&format!("set lock_wait_timeout = 5; {sql}")).await?;
    run.go_on()?;
    ends.check(&run.ended(STEP).await?)
}

#[test]
fn run_ended_by_mysql_while_reading_is_reported_with_a_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut all = Vec::new();
        for release in RELEASES {
            let server = Server::start(env, SupportedRelease::Mysql(release))?;
            for (kill, ends) in TO_STATEMENTS {
                let ended = ended(&server, (kill, *ends)).await;
                all.push(ended.with_context(|| format!("{release:?}: {kill}")));
            }
            for (sql, ends) in TO_TABLES {
                let changed = changed(&server, (sql, *ends)).await;
                all.push(changed.with_context(|| format!("{release:?}: {sql}")));
            }
        }
        all_good(all)
    })
}
