//! In: a log-in, what to extract, what CLAIM ordered. Out: [`Holder`]: the plan, and the session
//! that keeps its snapshot. Bound: one session. Fails: all that
//! [`worker_core::bounds`], [`worker_core::window`] and [`crate::sessions`] name,
//! `NullWatermarkRows`, `SnapshotLost`.

pub(crate) mod doubts;
mod ranges;
mod subject;
mod warnings;

use std::time::Duration;

use crds::Reason;
use crds::extract_job::{Consistency, Extract, ExtractJobSpec, NullPolicy, Watermark};
use crds::output::PartitionSort;
use crds::source::Engine;
use crds::tracking::Mode;
use futures::future::BoxFuture;
use worker_core::bounds::{TableRef, check_same_table, watermark_extreme};
use worker_core::columns::Column;
use worker_core::consistency;
use worker_core::drift;
use worker_core::error::Failure;
use worker_core::fidelity;
use worker_core::filtering::{Settings, mysql_statement};
use worker_core::folders;
use worker_core::names;
use worker_core::partitioning::named_key;
use worker_core::plan::{CONTROL_VERSION, Plan, PlanOrder, PlannedWatermark, Shape, TableName};
use worker_core::ranges::KeyRange;
use worker_core::rows;
use worker_core::window::{self, Held, Observed};

use self::ranges::Divider;
pub(crate) use self::subject::{Found, Guarded, Subject};
use self::warnings::warnings;
use crate::database::Database;
use crate::filtering;
use crate::mysql::aligned::{self, Aligned, Beginning};
use crate::postgres::pooler;
use crate::sessions::Login;
use crate::watch::{self, Progress};

/// How long the session that holds the snapshot may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the published head of the source is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its columns.
    pub columns: Vec<Column>,
    /// The table; absent in manifests of older releases.
    pub table: Option<TableName>,
}

/// Called between the steps with the name of the point, so that tests can do something exactly
/// there.
pub type Pause<'a> = &'a (dyn Fn(&'static str) -> BoxFuture<'static, ()> + Send + Sync);

/// The plan, and the session that keeps its snapshot until this is dropped.
#[derive(Debug)]
pub struct Holder {
    /// The plan.
    pub plan: Plan,
    /// The session; none where nothing hangs on it.
    database: Option<Database>,
    /// Sessions that share the plan's snapshot, where nobody can join it later.
    pub(crate) aligned: Option<Aligned>,
}

impl Holder {
    /// One query on the very session that exported the snapshot: it answers only if the
    /// transaction lived until now. Serves as heartbeat too.
    ///
    /// # Errors
    /// `SnapshotLost`.
    pub async fn still_there(&mut self) -> Result<(), Failure> {
        let Some(database) = &mut self.database else { return Ok(()) };
        match tokio::time::timeout(ANSWER_TIMEOUT, database.answers()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Failure::transient(
                Reason::SnapshotLost,
                "the session that holds the snapshot is gone",
                "the next attempt takes a new snapshot; if it happens again, look for what ends \
                 long transactions (a pooler, a replica's conflicts, an administrator)",
            )),
        }
    }

    /// Lets the snapshot go.
    pub async fn release(self) {
        let Some(database) = self.database else { return };
        // the server ends the transaction with the session anyway
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, database.close()).await;
    }

    /// Where one instant is asked of MySQL: begins the sessions that will read, at most so many, so that
    /// they share a snapshot.
    ///
    /// # Errors
    /// `SnapshotUnavailable`, and what a session may fail with.
    pub(crate) async fn align(mut self, login: &Login, sessions: usize) -> Result<Self, Failure> {
        let Some(Database::Mysql(connection)) = &mut self.database else { return Ok(self) };
        let ranges = self.plan.ranges.len();
        if ranges > 1 {
            aligned::check_log(connection).await?;
            let Plan { table, columns, filter_settings, .. } = &self.plan;
            let made_at = aligned::made_at(connection, table).await?;
            let first = Beginning {
                settings: mysql_statement(filter_settings)?,
                hold: rows::hold_statement(Engine::Mysql, columns, table, true),
            };
            let (aligned, point) = aligned::align(login, sessions.clamp(1, ranges), first).await?;
            if aligned::made_at(connection, table).await? != made_at {
                return Err(altered());
            }
            (self.aligned, self.plan.snapshot) = (Some(aligned), Some(point));
        }
        self.database = None;
        Ok(self)
    }
}

/// Guards, takes the snapshot, and plans inside it. `published`: what the last manifest
/// is of.
/// Pause points, in their order: `before-bound`,
/// `before-wait` and `in-wait` (only where transactions are waited for), `after-bound`, `after-guard`,
/// `after-snapshot`.
///
/// # Errors
/// See the head of this file.
pub async fn open(
    login: &Login,
    spec: &ExtractJobSpec,
    order: &PlanOrder,
    published: Option<&Published>,
    pause: Pause<'_>,
) -> Result<Holder, Failure> {
    let name = format!("tidemark/{}/coordinator", order.run);
    let mut database = Database::connect(login, &name).await?;
    if let Database::Postgres(connection) = &mut database {
        pooler::check(connection, login, &format!("tidemark/{}/pooler", order.run)).await?;
    }
    let backend = database.backend().await?;
    let settings = match &spec.extract.filter {
        Some(_) => filtering::settings(&mut database, login).await?,
        None => Settings::new(),
    };
    let (waiting, asked) = (Progress::waiting(), (spec, settings));
    tokio::select! {
        holder = Box::pin(open_on(database, asked, order, published, pause)) => holder,
        failure = watch::lost(login, backend, &waiting) => Err(failure),
    }
}

async fn open_on(
    mut database: Database,
    (spec, settings): (&ExtractJobSpec, Settings),
    order: &PlanOrder,
    published: Option<&Published>,
    pause: Pause<'_>,
) -> Result<Holder, Failure> {
    let extract = &spec.extract;
    let mut shape = Shape::of(&spec.output);
    let wanted = TableRef::parse(database.engine(), &extract.table)?;
    let subject = database.look_up(&wanted, extract).await?;
    let asked = consistency::asked(extract, database.engine());
    consistency::check_asked(extract, subject.unproven.snapshot.as_ref())?;
    let was = published.and_then(|published| published.table.as_ref());
    check_same_table(was, subject.table(), &wanted, order.mode)?;
    if let Some(partition) = &extract.partition {
        named_key(&subject.columns, partition)?;
    }
    shape.partition_by = folders::check(&subject.columns, &shape.partition_by)?;
    names::check(&subject.columns, &shape)?;
    fidelity::check(&subject.columns, extract.fidelity.unwrap_or_default())?;
    let (columns, changed) = match published {
        Some(published) => {
            let policy = extract.schema_policy.unwrap_or_default();
            drift::follow(&published.columns, subject.columns.clone(), policy)?
        }
        None => (subject.columns.clone(), None),
    };
    let found = seek_guard(&mut database, &subject, extract, order, pause).await?;
    pause("after-guard").await;
    database.take_snapshot(&subject).await?;
    if database.look_up_again(&subject, extract).await? != subject {
        return Err(altered());
    }
    let filtered = filter(&mut database, subject.table(), extract, &settings).await?;
    let mut plan =
        plan(&mut database, &subject, (extract, settings, filtered), order, found).await?;
    plan.shape = shape;
    sort(&mut database, &mut plan, spec.output.partition_sort.unwrap_or_default()).await?;
    plan.columns = columns;
    plan.warnings.extend(changed);
    plan.warnings.extend(names::warning(&plan.columns, &spec.output.uri));
    let database = match asked {
        Consistency::Snapshot => {
            plan.snapshot = database.export_snapshot().await?;
            Some(database)
        }
        Consistency::PerPartition => {
            database.commit().await?;
            None
        }
    };
    pause("after-snapshot").await;
    Ok(Holder { plan, database, aligned: None })
}

fn altered() -> Failure {
    Failure::transient(
        Reason::DatabaseFailed,
        "the table was altered while the run was being planned",
        "the next attempt plans with its new columns",
    )
}

/// A full extract has no guard, and an owed window has had its own.
async fn seek_guard(
    database: &mut Database,
    subject: &Subject,
    extract: &Extract,
    order: &PlanOrder,
    pause: Pause<'_>,
) -> Result<Found, Failure> {
    let nothing = Found { held: Held::NOTHING, warnings: Vec::new() };
    let Some(watermark) = &extract.watermark else {
        return match order.mode {
            Mode::FE => Ok(nothing),
            Mode::PE | Mode::Reingest => Err(Failure::permanent(
                Reason::InvalidSpec,
                "this kind of run needs a watermark column",
                "set extract.watermark.column and extract.watermark.type",
            )),
        };
    };
    let column = subject.watermark(watermark)?;
    if order.mode == Mode::FE || order.owed.is_some() {
        return Ok(nothing);
    }
    database.guard(Guarded { subject, column, watermark }, pause).await
}

/// Tries the condition. How many rows the planner thinks that it leaves.
async fn filter(
    database: &mut Database,
    table: &TableName,
    extract: &Extract,
    settings: &Settings,
) -> Result<Option<i64>, Failure> {
    let Some(filter) = &extract.filter else { return Ok(None) };
    filtering::enter(database, settings).await?;
    filtering::check(database, table, filter).await?;
    let rows = filtering::estimate(database, table, filter).await?;
    filtering::leave(database, settings).await?;
    Ok(Some(rows))
}

async fn plan(
    database: &mut Database,
    subject: &Subject,
    (extract, filter_settings, filtered_rows): (&Extract, Settings, Option<i64>),
    order: &PlanOrder,
    found: Found,
) -> Result<Plan, Failure> {
    let watermark = extract.watermark.as_ref();
    filtering::enter(database, &filter_settings).await?;
    let observed = observe(database, subject, extract, order).await?;
    filtering::leave(database, &filter_settings).await?;
    let window = match (order.mode, watermark) {
        (Mode::PE | Mode::Reingest, Some(watermark)) => {
            window::choose(order, watermark.value_type, observed, &found.held)?
        }
        _ => window::full(order, watermark.map(|watermark| watermark.value_type), true)?,
    };
    let (estimated_rows, table_bytes) = database.size(subject).await?;
    let planned = |watermark: &Watermark| -> Result<PlannedWatermark, Failure> {
        Ok(PlannedWatermark {
            column: subject.watermark(watermark)?.name.clone(),
            value_type: watermark.value_type,
            null_policy: watermark.null_policy.unwrap_or_default(),
        })
    };
    let mut plan = Plan {
        version: CONTROL_VERSION,
        run: order.run,
        source: order.source.clone(),
        engine: database.engine(),
        mode: order.mode,
        table: subject.table().clone(),
        columns: subject.columns.clone(),
        watermark: watermark.map(planned).transpose()?,
        filter: extract.filter.clone(),
        filter_settings,
        filtered_rows,
        warnings: warnings(subject, order, &window, found.warnings),
        window,
        partition_column: None,
        partitioning: None,
        ranges: Vec::new(),
        snapshot: None,
        unproven: subject.unproven.snapshot.clone(),
        unenforced: subject.unproven.not_null,
        estimated_rows,
        shape: Shape::default(),
    };
    if plan.mode == Mode::FE {
        let statement = rows::any_row_statement(&plan)?;
        filtering::enter(database, &plan.filter_settings).await?;
        plan.window.empty = !database.exists(statement, "look for a row").await?;
        filtering::leave(database, &plan.filter_settings).await?;
    }
    if !plan.window.empty {
        divide(database, &mut plan, subject, (extract, table_bytes)).await?;
    }
    Ok(plan)
}

async fn divide(
    database: &mut Database,
    plan: &mut Plan,
    subject: &Subject,
    (extract, table_bytes): (&Extract, i64),
) -> Result<(), Failure> {
    let Some(partition) = &extract.partition else {
        plan.ranges = vec![KeyRange::whole()];
        return Ok(());
    };
    let consistency = consistency::asked(extract, plan.engine);
    let divider = Divider { subject, partition, consistency, table_bytes };
    let (ranges, how) = divider.divide(database, plan).await?;
    plan.partition_column = match how.columns.as_slice() {
        [column] => Some(column.name.clone()),
        _ => None,
    };
    (plan.ranges, plan.partitioning) = (ranges, Some(how));
    Ok(())
}

/// Decides whether the database sorts rows by their folders.
async fn sort(
    database: &mut Database,
    plan: &mut Plan,
    asked: PartitionSort,
) -> Result<(), Failure> {
    if plan.shape.partition_by.is_empty() || plan.ranges.is_empty() {
        return Ok(());
    }
    let (folders, rows) = match asked {
        PartitionSort::Auto => database.folders(plan, folders::LOOKED_AT).await?,
        PartitionSort::Always | PartitionSort::Never => (0, 0),
    };
    plan.shape.sorted = folders::sorts(asked, folders, rows);
    Ok(())
}

/// The watermark's extremes and NULLs, as far as the run has to know them.
async fn observe(
    database: &mut Database,
    subject: &Subject,
    extract: &Extract,
    order: &PlanOrder,
) -> Result<Observed, Failure> {
    let mut observed = Observed { max: None, null_rows: false };
    let filter = extract.filter.as_deref();
    let Some(watermark) = &extract.watermark else {
        return Ok(observed);
    };
    let column = subject.watermark(watermark)?;
    let policy = watermark.null_policy.unwrap_or_default();
    let bounded = order.mode != Mode::FE || order.low.is_some() || order.high.is_some();
    let engine = database.engine();
    let may_lack = column.nullable || rows::has_zero_dates(engine, column);
    let unenforced = subject.unproven.not_null;
    if bounded && may_lack && policy != NullPolicy::Exclude {
        let statement = rows::null_statement(engine, subject.table(), column, filter, unenforced);
        observed.null_rows = database.exists(statement, "look for rows without watermark").await?;
    }
    if observed.null_rows && policy == NullPolicy::Fail {
        let zero =
            if rows::has_zero_dates(engine, column) { " or a date of the year 0" } else { "" };
        return Err(Failure::permanent(
            Reason::NullWatermarkRows,
            format!("the table has rows whose watermark column {:?} is NULL{zero}", column.name),
            "fill them, or set extract.watermark.nullPolicy (in a call of the old job NULL_POLICY) to \
             include (in every window) or exclude",
        ));
    }
    if order.mode != Mode::FE {
        let (max, min) = database.extremes(subject.table(), column, filter).await?;
        let read = |text: &String| watermark_extreme(watermark.value_type, &column.name, text);
        // NaN and the infinities, which only Postgres has
        if database.engine() == Engine::Postgres {
            min.as_ref().map(read).transpose()?;
        }
        observed.max = max.as_ref().map(read).transpose()?;
    }
    Ok(observed)
}
