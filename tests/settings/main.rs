//! Every setting that a session inherits, set to other values at the role, the server or the connection, changes no
//! byte of what is extracted; or the run is refused and names the setting.
//!
//! `make test` sets all pinned settings at once. With `TIDEMARK_SETTINGS=whole` (`make test-settings`) each setting
//! of the server is set by itself to one value after another, and `docs/settings.md` is written from that run.

mod candidates;
mod mariadb;
mod page;
mod postgres;
mod server;

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context, Result, bail, ensure};
use crds::extract_job::ExtractJobSpec;
use crds::source::{Engine, TlsMode};
use crds::tracking::Mode;
use harness::TestEnv;
use serde_json::{Value, json};
use worker::planning::planner::open;
use worker::planning::published::Published;
use worker::source::backend::Progress;
use worker::source::chunks::{Read, queue};
use worker::source::login::{Login, SILENCE};
use worker::source::rows::Reader;
use worker::source::secret::Secret;
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;
use worker_core::planning::plan::PlanOrder;
use worker_core::settings::{Rule, Table};
use worker_core::sql::rows::read_statement;

/// Bytes of a queue: more than any of the tables has.
const QUEUE_BYTES: usize = 64 << 20;
/// Parts of the whole, one after the other.
const PARTS: usize = 3;
/// The last bytes of MySQL's packet after the rows.
const MYSQL_STATE_BYTES: usize = 4;
/// The watermark of the first rows: an incremental run begins after it.
const LOW: &str = "2";

/// What is extracted again and again: the relations, and the incremental one.
#[derive(Debug, Clone)]
struct SettingTest {
    engine: Engine,
    login: Login,
    /// Tables and views that are read whole.
    whole: &'static [&'static str],
    /// The table that is read above [`LOW`], by its column `id`.
    since: &'static str,
}

/// What one extract gives: its plan, and the rows' bytes as they came from the server.
type Taken = Vec<(Value, Vec<u8>)>;

impl SettingTest {
    /// All extracts: whole ones, then the incremental one.
    async fn take(&self) -> Result<Result<Taken, Failure>> {
        let mut taken = Taken::new();
        let incremental = std::iter::once((self.since, Mode::PE));
        let whole = self.whole.iter().map(|table| (*table, Mode::FE));
        for (table, mode) in whole.chain(incremental) {
            match self.extract(table, mode).await? {
                Ok(one) => taken.push(one),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(taken))
    }

    fn spec(&self, table: &str, mode: Mode) -> Result<ExtractJobSpec> {
        let mut extract =
            json!({ "table": table, "type": if mode == Mode::FE { "FE" } else { "PE" } });
        if mode != Mode::FE {
            extract["watermark"] = json!({ "column": "id", "type": "int" });
            extract["partition"] =
                json!({ "column": "id", "count": 2, "lowerBound": "1", "upperBound": "6" });
        }
        let engine = if self.engine == Engine::Postgres { "postgres" } else { "mysql" };
        Ok(serde_json::from_value(json!({
            "source": {
                "engine": engine,
                "database": self.login.database,
                "credentials": { "secretRef": { "name": "database" } },
            },
            "extract": extract,
            "output": { "uri": "s3://settings/settings" },
        }))?)
    }

    async fn extract(&self, table: &str, mode: Mode) -> Result<Result<(Value, Vec<u8>), Failure>> {
        let low = (mode != Mode::FE).then(|| LOW.to_owned());
        let order = PlanOrder {
            run: "01890a5d-ac96-774b-bcce-b302099a8057".parse().context("a run id")?,
            mode,
            source: "settings".to_owned(),
            low: low.clone(),
            low_text: low,
            high: None,
            lookback: None,
            pending_window: None,
            head: None,
        };
        let spec = self.spec(table, mode)?;
        let pause = |_| -> futures::future::BoxFuture<'static, ()> { Box::pin(async {}) };
        let snapshot_session =
            match Box::pin(open(&self.login, &spec, &order, &Published::default(), &pause)).await {
                Ok(snapshot_session) => snapshot_session,
                Err(failure) => return Ok(Err(failure)),
            };
        let mut bytes = Vec::new();
        for partition in &snapshot_session.plan.partitions {
            let statement = read_statement(&snapshot_session.plan, partition)?;
            let (chunks, mut received) = queue(QUEUE_BYTES);
            let reading = async {
                let mut reader =
                    Reader::open(&self.login, &snapshot_session.plan, "tidemark/settings/0")
                        .await?;
                let progress = Progress::default();
                reader.read(&snapshot_session.plan, &statement, chunks, &progress).await
            };
            let receiving = async {
                let mut all = Vec::new();
                while let Some(chunk) = received.recv().await {
                    all.extend_from_slice(chunk.bytes());
                }
                all
            };
            let (read, all) = tokio::join!(Box::pin(reading), receiving);
            match read {
                Ok(Read::Whole) => bytes.extend(self.rows(&all)),
                Ok(Read::Unwanted) => bail!("rows were not wanted"),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        let mut plan = serde_json::to_value(&snapshot_session.plan)?;
        snapshot_session.release().await;
        // of this run alone, and of the server's statistics
        for key in ["snapshot", "estimatedRows", "estimated_rows", "warnings"] {
            if let Some(plan) = plan.as_object_mut() {
                plan.remove(key);
            }
        }
        Ok(Ok((plan, bytes)))
    }

    /// The rows without MySQL's last word after them: how many warnings there were, and the session's state.
    fn rows<'a>(&self, all: &'a [u8]) -> &'a [u8] {
        let end = if self.engine == Engine::Mysql { MYSQL_STATE_BYTES } else { 0 };
        &all[..all.len().saturating_sub(end)]
    }

    /// Whether extracts are as they were without the setting: `Ok(None)`, or the words of a refusal that has one of these names.
    async fn tried(&self, names: &[&str], want: &Taken) -> Result<Option<String>> {
        let taken = match self.take().await? {
            Ok(taken) => taken,
            Err(failure) => {
                let words = format!("{failure}");
                let named = names.iter().any(|name| words.contains(name));
                ensure!(named, "a failure that does not name it: {words}");
                return Ok(Some(words));
            }
        };
        for ((plan, bytes), (want_plan, want_bytes)) in taken.iter().zip(want) {
            ensure!(plan == want_plan, "another plan: {plan}\ninstead of {want_plan}");
            ensure!(
                bytes == want_bytes,
                "other bytes: {} instead of {}",
                bytes.len(),
                want_bytes.len()
            );
        }
        Ok(None)
    }
}

fn login(env: &TestEnv, engine: Engine, port: u16, database: &str, user: &str) -> Login {
    // another test of this process may have done so
    drop(rustls::crypto::ring::default_provider().install_default());
    Login {
        engine,
        host: TestEnv::IP.to_owned(),
        port,
        database: database.to_owned(),
        username: user.to_owned(),
        token_signer: None,
        password: Secret::new("secret".to_owned()),
        tls: Tls::Mode(TlsMode::VerifyFull),
        ca: Some(env.ca()),
        silence: SILENCE,
    }
}

/// What was tried of one setting: each value, and whether the run was refused.
type Tried = BTreeMap<String, Vec<(String, bool)>>;

/// Whether every setting is asked for.
fn whole() -> bool {
    std::env::var_os("TIDEMARK_SETTINGS").is_some_and(|form| form == "whole")
}

/// Fails where the server has a setting without a rule.
fn all_have_a_rule<'a>(table: &Table, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let unknown: Vec<_> = names.filter(|name| !table.contains_key(&name.to_lowercase())).collect();
    ensure!(unknown.is_empty(), "settings without a rule (worker/core/src/settings): {unknown:?}");
    Ok(())
}

/// Names of the table that are pinned.
fn pinned(table: &Table) -> impl Iterator<Item = &String> {
    table.iter().filter(|(_, known)| matches!(known.rule, Rule::Pinned(_))).map(|(name, _)| name)
}

#[test]
fn each_setting_by_itself_changes_nothing_or_is_refused_by_its_name() -> Result<()> {
    if !whole() {
        return Ok(());
    }
    let env = TestEnv::shared()?;
    let (mut of_postgres, mut of_mariadb, mut wrong) = (Tried::new(), Tried::new(), Vec::new());
    // each part has its own deadline
    for part in 0..PARTS {
        let (tried, not_good) = env.run(postgres::each(env, part))?;
        of_postgres.extend(tried);
        wrong.extend(told(not_good)?);
        let (tried, not_good) = env.run(mariadb::each(env, part))?;
        of_mariadb.extend(tried);
        wrong.extend(told(not_good)?);
    }
    ensure!(wrong.is_empty(), "{} settings:\n{}", wrong.len(), wrong.join("\n"));
    page::write(&of_postgres, &of_mariadb)
}

/// Prints what is wrong at once: the whole run takes its time.
fn told(wrong: Vec<String>) -> Result<Vec<String>> {
    for line in &wrong {
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(wrong)
}

#[test]
fn the_page_of_settings_is_that_of_the_rules() -> Result<()> {
    // a whole run writes it
    if whole() { Ok(()) } else { page::agrees() }
}
