//! A table that is cut by the product's own planner ([`worker::planning::planner::open`]) without stores, and the
//! rows that each of its partitions reads.

use anyhow::{Context, Result, ensure};
use crds::extract_job::ExtractJobSpec;
use crds::source::{Engine, TlsMode};
use crds::tracking::Mode;
use futures::future::BoxFuture;
use harness::{Mysql, TestEnv};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};
use worker::planning::planner::open;
use worker::planning::published::Published;
use worker::source::login::{Login, SILENCE};
use worker::source::secret::Secret;
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;
use worker_core::planning::partitioning::Partitioning;
use worker_core::planning::partitions::Skew;
use worker_core::planning::plan::{Plan, PlanOrder};
use worker_core::sql::rows::read_statement;

/// A database of one test's own.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) env: &'static TestEnv,
    pub(crate) engine: Engine,
    pub(crate) database: String,
    user: (String, String),
}

/// A plan, and what its partitions read.
#[derive(Debug)]
pub(crate) struct Divided {
    pub(crate) plan: Plan,
    /// Rows of each partition.
    pub(crate) rows: Vec<u64>,
    /// Column `n` of every row, in order.
    pub(crate) keys: Vec<i64>,
}

impl Divided {
    pub(crate) fn how(&self) -> Result<&Partitioning> {
        self.plan.partitioning.as_ref().context("how it was cut")
    }

    pub(crate) fn strategy(&self) -> Result<&'static str> {
        Ok(self.how()?.strategy.name())
    }

    pub(crate) fn skew(&self) -> Skew {
        Skew::of(&self.rows)
    }

    /// The predicted skew, in hundredths.
    pub(crate) fn predicted(&self) -> Result<Skew> {
        let text = self.how()?.predicted_skew.as_deref().context("a predicted skew")?;
        Ok(Skew::hundredths(text.replace('.', "").parse()?))
    }
}

impl Shelf {
    pub(crate) async fn postgres(env: &'static TestEnv, prefix: &str) -> Result<Self> {
        let user = (TestEnv::POSTGRES_USER.to_owned(), TestEnv::POSTGRES_PASSWORD.to_owned());
        let database = env.database(prefix).await?;
        Ok(Self { env, engine: Engine::Postgres, database, user })
    }

    pub(crate) async fn mariadb(env: &'static TestEnv, prefix: &str) -> Result<Self> {
        let user = (TestEnv::MARIADB_USER.to_owned(), TestEnv::MARIADB_PASSWORD.to_owned());
        let database = env.mariadb_database(prefix).await?;
        Ok(Self { env, engine: Engine::Mysql, database, user })
    }

    /// The same, as another user.
    pub(crate) fn of(&self, user: &str, password: &str) -> Self {
        Self { user: (user.to_owned(), password.to_owned()), ..self.clone() }
    }

    pub(crate) async fn say(&self, sql: &str) -> Result<String> {
        match self.engine {
            Engine::Postgres => self.env.psql(&self.database, sql).await,
            Engine::Mysql => self.env.mariadb(&self.database, sql).await,
        }
    }

    fn login(&self) -> Login {
        let port = match self.engine {
            Engine::Postgres => TestEnv::POSTGRES_PORT,
            Engine::Mysql => TestEnv::MARIADB_PORT,
        };
        Login {
            engine: self.engine,
            host: TestEnv::IP.to_owned(),
            port,
            database: self.database.clone(),
            username: self.user.0.clone(),
            token_signer: None,
            password: Secret::new(self.user.1.clone()),
            tls: Tls::Mode(self.tls()),
            ca: Some(self.env.ca()),
            silence: SILENCE,
        }
    }

    fn tls(&self) -> TlsMode {
        match self.engine {
            Engine::Mysql if !Mysql::of_env().takes_tls() => TlsMode::InsecurePlaintext,
            Engine::Mysql | Engine::Postgres => TlsMode::VerifyFull,
        }
    }

    fn spec(&self, table: &str, partition: &Value, bounded: bool) -> Result<ExtractJobSpec> {
        let engine = match self.engine {
            Engine::Postgres => "postgres",
            Engine::Mysql => "mysql",
        };
        Ok(serde_json::from_value(json!({
            "source": {
                "engine": engine,
                "database": self.database,
                "credentials": { "secretRef": { "name": "database" } },
            },
            "extract": {
                "table": table,
                "type": "FE",
                "partition": partition,
                "watermark": bounded.then(|| json!({ "column": "n", "type": "int" })),
            },
            "output": { "uri": "s3://ranges/ranges" },
        }))?)
    }

    /// Plans a full extract; `meanwhile` is done by others between the plan and its first row.
    pub(crate) async fn divide_beside(
        &self,
        table: &str,
        partition: &Value,
        meanwhile: &str,
    ) -> Result<Result<Divided, Failure>> {
        self.divide_window(table, partition, meanwhile, None).await
    }

    /// The same of the rows whose column `n` is between two values, both included.
    pub(crate) async fn divide_window(
        &self,
        table: &str,
        partition: &Value,
        meanwhile: &str,
        window: Option<(i64, i64)>,
    ) -> Result<Result<Divided, Failure>> {
        let order = PlanOrder {
            run: "01890a5d-ac96-774b-bcce-b302099a8057".parse().context("a run id")?,
            mode: Mode::FE,
            source: "partitions".to_owned(),
            low: window.map(|(low, _)| low.to_string()),
            low_text: None,
            high: window.map(|(_, high)| high.to_string()),
            lookback: None,
            pending_window: None,
            head: None,
        };
        let points = |_: &'static str| -> BoxFuture<'static, ()> { Box::pin(async {}) };
        let spec = self.spec(table, partition, window.is_some())?;
        let snapshot_session = match Box::pin(open(
            &self.login(),
            &spec,
            &order,
            &Published::default(),
            &points,
        ))
        .await
        {
            Ok(snapshot_session) => snapshot_session,
            Err(failure) => return Ok(Err(failure)),
        };
        if !meanwhile.is_empty() {
            self.say(meanwhile).await?;
        }
        let plan = snapshot_session.plan.clone();
        let mut reader = Reader::open(self, &plan).await?;
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        for partition in &plan.partitions {
            let found = reader.read(&read_statement(&plan, partition)?).await?;
            rows.push(found.len() as u64);
            keys.extend(found);
        }
        keys.sort_unstable();
        snapshot_session.release().await;
        Ok(Ok(Divided { plan, rows, keys }))
    }

    /// Plans a full extract and reads it; every row must be in one partition.
    pub(crate) async fn divide(&self, table: &str, partition: &Value) -> Result<Divided> {
        let what = format!("{table} by {partition}");
        let all = self.say(&format!("select count(*), coalesce(sum(n), 0) from {table}")).await?;
        let divided = self
            .divide_beside(table, partition, "")
            .await?
            .map_err(|failure| anyhow::anyhow!("{what}: {}", failure.report))?;
        let sum: i64 = divided.keys.iter().sum();
        let read = format!("{} {sum}", divided.keys.len());
        let all = all.trim().replace(['|', '\t'], " ");
        ensure!(read == all, "{what}: {read} instead of {all}: {:?}", divided.plan.partitions);
        let mut once = divided.keys.clone();
        once.dedup();
        ensure!(once.len() == divided.keys.len(), "{what}: a row is in two ranges");
        Ok(divided)
    }

    /// A plan that is refused: the reason, message and remedy.
    pub(crate) async fn refused(&self, table: &str, partition: &Value) -> Result<String> {
        match self.divide_beside(table, partition, "").await? {
            Err(failure) => Ok(failure.report.to_string()),
            Ok(divided) => anyhow::bail!("not refused: {:?}", divided.plan.partitions),
        }
    }
}

/// One session, under the plan's snapshot where there is one.
enum Reader {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
}

impl Reader {
    async fn open(shelf: &Shelf, plan: &Plan) -> Result<Self> {
        match &plan.snapshot {
            Some(id) => {
                let mut session =
                    PgConnection::connect(&shelf.env.postgres_url(&shelf.database)).await?;
                let pins = format!(
                    "begin isolation level repeatable read read only; set transaction snapshot '{id}'; \
                     set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; set local search_path = ''"
                );
                sqlx::raw_sql(AssertSqlSafe(pins)).execute(&mut session).await?;
                Ok(Self::Postgres(session))
            }
            None => {
                let url = format!(
                    "mysql://{}:{}@{}:{}/{}?ssl-mode={}",
                    shelf.user.0,
                    shelf.user.1,
                    TestEnv::IP,
                    TestEnv::MARIADB_PORT,
                    shelf.database,
                    if Mysql::of_env().takes_tls() { "REQUIRED" } else { "DISABLED" }
                );
                let mut session = MySqlConnection::connect(&url).await?;
                let pins = "set time_zone = '+00:00', sql_mode = '', names utf8mb4";
                sqlx::raw_sql(pins).execute(&mut session).await?;
                Ok(Self::Mysql(session))
            }
        }
    }

    /// Column `n` of the rows of a partition.
    async fn read(&mut self, statement: &str) -> Result<Vec<i64>> {
        let select = statement
            .strip_prefix("COPY (")
            .and_then(|it| it.split_once(") TO STDOUT"))
            .map_or(statement, |(select, _)| select);
        let number = match self {
            Self::Postgres(_) => "n::int8",
            Self::Mysql(_) => "cast(n as signed)",
        };
        let query = sqlx::query_scalar(AssertSqlSafe(format!("select {number} from ({select}) t")));
        Ok(match self {
            Self::Postgres(session) => query.fetch_all(session).await?,
            Self::Mysql(session) => {
                let query = format!("select {number} from ({select}) t");
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(session).await?
            }
        })
    }
}
