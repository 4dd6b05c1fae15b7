//! A database whose window's end is tested: the product's own guard, snapshot and window
//! ([`worker::planning::planner::open`]) without stores, and the rows that its plan reads.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::extract_job::{ExtractJobSpec, WatermarkType};
use crds::source::{Engine, TlsMode};
use crds::tracking::{Guard, Mode};
use futures::future::BoxFuture;
use harness::{TestEnv, unique, wait_until};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::{Semaphore, mpsc};
use worker::planning::planner::open;
use worker::planning::published::Published;
use worker::planning::snapshot_session::SnapshotSession;
use worker::source::login::{Login, SILENCE};
use worker::source::secret::Secret;
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;
use worker_core::planning::plan::{Plan, PlanOrder};
use worker_core::planning::watermark;
use worker_core::sql::rows::read_statement;

/// How long rows may take to come once nothing holds them back.
const ROWS_DEADLINE: Duration = Duration::from_secs(30);

/// The database user of the extract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Has `pg_read_all_stats`.
    Sees,
    /// Has not: other users' starts are hidden.
    Blind,
}

/// A database of one test's own.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) env: &'static TestEnv,
    pub(crate) database: String,
    /// The server's.
    port: u16,
}

/// One connection that says SQL as superuser.
#[derive(Debug)]
pub(crate) struct Session(PgConnection);

impl Session {
    /// One message, which may hold several statements.
    pub(crate) async fn say(&mut self, sql: impl Into<String>) -> Result<()> {
        let sql: String = sql.into();
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut self.0).await;
        done.map(|_| ()).context(sql)
    }

    /// One value as text.
    pub(crate) async fn ask(&mut self, sql: impl Into<String>) -> Result<String> {
        let sql: String = sql.into();
        let wrapped = format!("select coalesce((select q.x from ({sql}) q(x))::text, '')");
        sqlx::query_scalar(AssertSqlSafe(wrapped)).fetch_one(&mut self.0).await.context(sql)
    }

    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

/// What a run would be asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) who: Who,
    pub(crate) port: u16,
    pub(crate) table: &'static str,
    pub(crate) watermark: Value,
    pub(crate) low: Option<String>,
    pub(crate) mode: Mode,
    /// Fields of `spec.extract` besides table, type and watermark.
    pub(crate) more: Value,
}

impl Ask {
    /// An incremental run of `table` on the primary.
    pub(crate) fn new(who: Who, table: &'static str, watermark: Value) -> Self {
        let (port, mode, more) = (TestEnv::POSTGRES_PORT, Mode::PE, json!({}));
        Self { who, port, table, watermark, low: None, mode, more }
    }

    pub(crate) fn with(self, more: Value) -> Self {
        Self { more, ..self }
    }

    pub(crate) fn from(self, low: &str) -> Self {
        Self { low: Some(low.to_owned()), ..self }
    }

    pub(crate) fn on(self, port: u16) -> Self {
        Self { port, ..self }
    }

    fn order(&self) -> Result<PlanOrder> {
        Ok(PlanOrder {
            run: "01890a5d-ac96-774b-bcce-b302099a8057".parse().context("a run id")?,
            mode: self.mode,
            source: "edges".to_owned(),
            low: self.low.clone(),
            low_text: self.low.clone(),
            high: self.watermark["high"].as_str().map(str::to_owned),
            lookback: self.watermark["lookbackSeconds"].as_i64(),
            pending_window: None,
            head: None,
        })
    }
}

/// What one run would take: `k` (the key) and the watermark as text, of each row.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) plan: Plan,
    pub(crate) rows: Vec<(i32, Option<String>)>,
}

impl Taken {
    pub(crate) fn keys(&self) -> Vec<i32> {
        let mut keys: Vec<_> = self.rows.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    pub(crate) fn guard(&self) -> Guard {
        self.plan.window.guard.unwrap_or(Guard::Unguarded)
    }

    /// The greatest watermark among the rows, compared as values of its type.
    fn reached(&self, value_type: WatermarkType) -> Result<Option<String>> {
        let texts = self.rows.iter().filter_map(|(_, at)| at.as_deref());
        let values: Result<Vec<_>, _> =
            texts.map(|text| watermark::Value::parse(value_type, text)).collect();
        Ok(values?.into_iter().max().map(|value| value.to_text()))
    }
}

impl Edge {
    /// Makes it, and two users that may read what is made in it.
    pub(crate) async fn new(env: &'static TestEnv, prefix: &str) -> Result<Self> {
        // another test of this process may have done so
        drop(rustls::crypto::ring::default_provider().install_default());
        let database = env.database(prefix).await?;
        Self { env, database, port: TestEnv::POSTGRES_PORT }.with_users().await
    }

    /// Makes it on another server of the test environment.
    pub(crate) async fn at(env: &'static TestEnv, port: u16, prefix: &str) -> Result<Self> {
        let database = unique(prefix).replace('-', "_");
        let server = Self { env, database: "postgres".to_owned(), port };
        server.say(&format!("create database {database}")).await?;
        Self { database, ..server }.with_users().await
    }

    async fn with_users(self) -> Result<Self> {
        let edge = self;
        let mut session = edge.session().await?;
        let (sees, blind) = (edge.user(Who::Sees), edge.user(Who::Blind));
        session
            .say(format!(
                "create role {sees} login password 'secret' in role pg_read_all_stats; \
                 create role {blind} login password 'secret'; \
                 alter default privileges grant select on tables to {sees}, {blind}"
            ))
            .await?;
        session.close().await?;
        Ok(edge)
    }

    pub(crate) fn user(&self, who: Who) -> String {
        format!("{}_{}", self.database, format!("{who:?}").to_lowercase())
    }

    /// A session with the primary.
    pub(crate) async fn session(&self) -> Result<Session> {
        self.session_at(self.port).await
    }

    /// A session with the server at `port`.
    pub(crate) async fn session_at(&self, port: u16) -> Result<Session> {
        let url = self.env.postgres_url(&self.database);
        let own = format!(":{}/", TestEnv::POSTGRES_PORT);
        Session::open(&url.replace(&own, &format!(":{port}/"))).await
    }

    /// Says one thing in a session of its own.
    pub(crate) async fn say(&self, sql: &str) -> Result<()> {
        let mut session = self.session().await?;
        session.say(sql).await?;
        session.close().await
    }

    pub(crate) fn login(&self, ask: &Ask) -> Login {
        Login {
            engine: Engine::Postgres,
            host: TestEnv::IP.to_owned(),
            port: ask.port,
            database: self.database.clone(),
            username: self.user(ask.who),
            token_signer: None,
            password: Secret::new("secret".to_owned()),
            tls: Tls::Mode(TlsMode::VerifyFull),
            ca: Some(self.env.ca()),
            silence: SILENCE,
        }
    }

    fn spec(&self, ask: &Ask) -> Result<ExtractJobSpec> {
        let mut extract = json!({ "table": ask.table, "type": "PE", "watermark": ask.watermark });
        for (field, value) in ask.more.as_object().context("fields")? {
            extract[field] = value.clone();
        }
        Ok(serde_json::from_value(json!({
            "source": {
                "engine": "postgres",
                "database": self.database,
                "credentials": { "secretRef": { "name": "database" } },
            },
            "extract": extract,
            "output": { "uri": "s3://edges/edges" },
        }))?)
    }

    /// Guard, snapshot, window. `at` is called at each pause point, while the product stands there.
    pub(crate) async fn open_at(
        &self,
        ask: &Ask,
        mut at: impl AsyncFnMut(&'static str) -> Result<()>,
    ) -> Result<Result<SnapshotSession, Failure>> {
        let (login, spec, order) = (self.login(ask), self.spec(ask)?, ask.order()?);
        let (tell, mut told) = mpsc::unbounded_channel();
        let go_on = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&go_on);
        let points = move |point: &'static str| -> BoxFuture<'static, ()> {
            let (tell, gate) = (tell.clone(), Arc::clone(&gate));
            Box::pin(async move {
                let told = tell.send(point);
                if let (Ok(()), Ok(permit)) = (told, gate.acquire().await) {
                    permit.forget();
                }
            })
        };
        let nothing = Published::default();
        let mut opening = pin!(Box::pin(open(&login, &spec, &order, &nothing, &points)));
        loop {
            tokio::select! {
                done = &mut opening => return Ok(done),
                Some(point) = told.recv() => {
                    at(point).await?;
                    go_on.add_permits(1);
                }
            }
        }
    }

    /// Plans, and reads the plan's rows under its snapshot.
    pub(crate) async fn take_at(
        &self,
        ask: &Ask,
        at: impl AsyncFnMut(&'static str) -> Result<()>,
    ) -> Result<Taken> {
        let snapshot_session = self.open_at(ask, at).await??;
        let rows = self.read(ask, &snapshot_session.plan).await?;
        let plan = snapshot_session.plan.clone();
        snapshot_session.release().await;
        Ok(Taken { plan, rows })
    }

    pub(crate) async fn take(&self, ask: &Ask) -> Result<Taken> {
        self.take_at(ask, async |_| Ok(())).await
    }

    /// A run that is refused.
    pub(crate) async fn refused(&self, ask: &Ask) -> Result<Failure> {
        match self.open_at(ask, async |_| Ok(())).await? {
            Err(failure) => Ok(failure),
            Ok(snapshot_session) => {
                anyhow::bail!("not refused: {:?}", snapshot_session.plan.window)
            }
        }
    }

    async fn read(&self, ask: &Ask, plan: &Plan) -> Result<Vec<(i32, Option<String>)>> {
        let mut session = self.session_at(ask.port).await?;
        let snapshot = plan.snapshot.as_deref().context("a snapshot")?;
        session
            .say(format!(
                "begin isolation level repeatable read read only; \
                 set transaction snapshot '{snapshot}'; set local timezone = 'UTC'; set local datestyle = 'ISO'"
            ))
            .await?;
        let column = &plan.watermark.as_ref().context("a watermark")?.column;
        let mut rows = Vec::new();
        for partition in &plan.partitions {
            let statement = read_statement(plan, partition)?;
            let select =
                statement.strip_prefix("COPY (").and_then(|it| it.split_once(") TO STDOUT"));
            let (select, _) = select.context("a COPY statement")?;
            let query = format!("select k, \"{column}\"::text from ({select}) t");
            rows.extend(sqlx::query_as(AssertSqlSafe(query)).fetch_all(&mut session.0).await?);
        }
        session.close().await?;
        Ok(rows)
    }
}

impl Session {
    async fn open(url: &str) -> Result<Self> {
        let options: sqlx::postgres::PgConnectOptions = url.parse()?;
        Ok(Self(options.disable_statement_logging().connect().await?))
    }
}

/// Runs that follow one another, as the tracking table would have them.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) ask: Ask,
    /// How often each key was taken.
    pub(crate) taken: BTreeMap<i32, u32>,
    pub(crate) guards: Vec<Guard>,
}

impl Follow {
    pub(crate) fn new(ask: Ask) -> Self {
        Self { ask, taken: BTreeMap::new(), guards: Vec::new() }
    }

    pub(crate) async fn run_at(
        &mut self,
        edge: &Edge,
        at: impl AsyncFnMut(&'static str) -> Result<()>,
    ) -> Result<Taken> {
        let taken = edge.take_at(&self.ask, at).await?;
        for key in taken.keys() {
            *self.taken.entry(key).or_default() += 1;
        }
        self.guards.push(taken.guard());
        let value_type = taken.plan.watermark.as_ref().context("a watermark")?.value_type;
        if let Some(reached) = taken.reached(value_type)? {
            self.ask.low = Some(reached);
        }
        Ok(taken)
    }

    pub(crate) async fn run(&mut self, edge: &Edge) -> Result<Taken> {
        self.run_at(edge, async |_| Ok(())).await
    }

    /// Runs until all these keys have come, and no key came twice.
    pub(crate) async fn until(&mut self, edge: &Edge, keys: &[i32]) -> Result<()> {
        wait_until(&format!("rows {keys:?}"), ROWS_DEADLINE, async || {
            let missing: Vec<_> = keys.iter().filter(|key| !self.taken.contains_key(key)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            let text = format!("{missing:?} of {:?}, low {:?}", self.ask.table, self.ask.low);
            self.run(edge).await?;
            anyhow::bail!("missing {text}, guards {:?}", self.guards)
        })
        .await?;
        ensure!(self.taken.values().all(|times| *times == 1), "doubled: {:?}", self.taken);
        Ok(())
    }
}

/// Waits until the server's clock has passed the start of this session's transaction by as much as
/// a guard leaves for a start to be seen, and more: from now on a guard that does not see the
/// transaction loses its rows.
pub(crate) async fn grow_old(session: &mut Session) -> Result<()> {
    wait_until("a transaction to be old", Duration::from_secs(30), async || {
        let old = "select clock_timestamp() > now() + interval '1.4 seconds'";
        ensure!(session.ask(old).await? == "true", "still young");
        Ok(())
    })
    .await
}
