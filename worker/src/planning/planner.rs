//! In: credentials, what to extract, what CLAIM ordered. Out: [`SnapshotSession`]: the plan, and the session
//! that exported its snapshot. Bound: one session. Fails: all that
//! [`worker_core::planning::tables`], [`worker_core::planning::window`] and [`crate::source::errors`] name,
//! `NullWatermarkRows`, `SnapshotLost`.

use std::pin::pin;

use crds::Reason;
use crds::extract_job::{Consistency, Extract, ExtractJobSpec, NullPolicy, Watermark};
use crds::output::PartitionSort;
use crds::source::Engine;
use crds::tracking::Mode;
use worker_core::encoding::hive_directories;
use worker_core::errors::failure::Failure;
use worker_core::layout::names;
use worker_core::planning::consistency;
use worker_core::planning::drift;
use worker_core::planning::fidelity;
use worker_core::planning::filtering::Settings;
use worker_core::planning::partitioning::named_key;
use worker_core::planning::plan::{
    CONTROL_VERSION, OutputLayout, Plan, PlanOrder, PlannedWatermark,
};
use worker_core::planning::tables::{TableRef, check_same_table, find_column, watermark_extreme};
use worker_core::planning::virtual_columns;
use worker_core::planning::window::{self, GuardBound, Observed};
use worker_core::sql::rows;
use worker_core::sql::rows::mysql_statements::planning_seconds;

use super::implied;
use super::partitions::Divider;
use super::published::Published;
use super::snapshot_session::{SnapshotSession, altered};
use super::warnings::warnings;
use crate::base::pause::PausePoints;
use crate::source::backend::Progress;
use crate::source::database::Database;
use crate::source::ending::Session;
use crate::source::filtering;
use crate::source::login::Login;
use crate::source::postgres::pooler;
use crate::source::table::{Found, Guarded, SourceTable};
use crate::source::watch;

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
    published: &Published,
    pause: PausePoints<'_>,
) -> Result<SnapshotSession, Failure> {
    open_until(login, spec, order, (published, pause), std::future::pending()).await
}

/// The same until `stopped` ends: then what the database still does for it is cancelled.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn open_until(
    login: &Login,
    spec: &ExtractJobSpec,
    order: &PlanOrder,
    (published, pause): (&Published, PausePoints<'_>),
    stopped: impl Future<Output = ()>,
) -> Result<SnapshotSession, Failure> {
    let mut stopped = pin!(stopped);
    let mut session = tokio::select! {
        session = Box::pin(connect(login, spec, order)) => session?,
        () = &mut stopped => return Err(Failure::stopped()),
    };
    let (backend, waiting) = (session.backend().clone(), Progress::waiting());
    let planned = {
        let opening = open_on(&mut session.database, (spec, login), order, (published, pause));
        tokio::select! {
            planned = Box::pin(opening) => planned,
            failure = watch::lost(login, backend, &waiting) => Err(failure),
            () = &mut stopped => Err(Failure::stopped()),
        }
    };
    match planned {
        Ok((plan, true)) => Ok(SnapshotSession::new(plan, Some(session))),
        Ok((plan, false)) => {
            session.close().await;
            Ok(SnapshotSession::new(plan, None))
        }
        Err(failure) => {
            session.interrupt().await;
            Err(failure)
        }
    }
}

async fn connect(
    login: &Login,
    spec: &ExtractJobSpec,
    order: &PlanOrder,
) -> Result<Session, Failure> {
    let name = format!("tidemark/{}/coordinator", order.run);
    let mut database = Database::connect(login, &name).await?;
    // before anything is prepared: a pool of transactions has it prepared in another session
    if let Database::Postgres(connection) = &mut database {
        pooler::check(connection, login, &format!("tidemark/{}/pooler", order.run)).await?;
    }
    database.limit(planning_seconds(spec.active_deadline_seconds)).await?;
    let backend = database.backend().await?;
    Ok(Session::new(database, login, backend))
}

/// The plan, and whether the session has to live on for it.
async fn open_on(
    database: &mut Database,
    (spec, login): (&ExtractJobSpec, &Login),
    order: &PlanOrder,
    (published, pause): (&Published, PausePoints<'_>),
) -> Result<(Plan, bool), Failure> {
    let extract = &spec.extract;
    let mut settings = match &extract.filter {
        Some(_) => filtering::settings(login, &format!("tidemark/{}/plain", order.run)).await?,
        None => Settings::new(),
    };
    let mut layout = OutputLayout::of(&spec.output);
    let wanted = TableRef::parse(database.engine(), &extract.table)?;
    let source_table = database.look_up(&wanted, extract).await?;
    if let Some(filter) = &extract.filter {
        settings = worker_core::planning::filtering::readable(
            settings,
            (&source_table.columns, &source_table.within),
            filter,
        )?;
    }
    let asked = consistency::asked(extract, database.engine());
    consistency::check_asked(extract, &source_table.unproven)?;
    extract.watermark.as_ref().map_or(Ok(()), window::check_units)?;
    check_same_table(published.table.as_ref(), &source_table.identity(), &wanted, order.mode)?;
    if let Some(partition) = &extract.partition {
        named_key(&source_table.columns, partition)?;
        if let Some(name) = &partition.column {
            let column = find_column(&source_table.columns, name, "extract.partition.column")?;
            virtual_columns::check_stored("partition", &column.name, &source_table.recomputed)?;
        }
    }
    layout.partition_by = hive_directories::check(&source_table.columns, &layout.partition_by)?;
    names::check(&source_table.columns, &layout)?;
    fidelity::check(&source_table.columns, extract.fidelity.unwrap_or_default())?;
    let (columns, changed) = match &published.columns {
        Some(columns) => {
            let policy = extract.schema_policy.unwrap_or_default();
            drift::follow(columns, source_table.columns.clone(), policy)?
        }
        None => (source_table.columns.clone(), None),
    };
    let found = seek_guard(database, &source_table, extract, order, pause).await?;
    pause("after-guard").await;
    database.take_snapshot(&source_table).await?;
    if database.look_up_again(&source_table, extract).await? != source_table {
        return Err(altered());
    }
    let filtered = filter(database, &source_table, extract, &settings).await?;
    let mut plan =
        plan(database, &source_table, (extract, settings, filtered), order, found).await?;
    plan.layout = layout;
    sort(database, &mut plan, spec.output.partition_sort.unwrap_or_default()).await?;
    plan.columns = columns;
    plan.warnings.extend(changed);
    plan.warnings.extend(names::warning(&plan.columns, &spec.output.uri));
    // sessions of MySQL share a snapshot for several partitions alone
    let alone =
        extract.partition.is_none() && plan.engine == Engine::Mysql && plan.partitions.len() < 2;
    let lives_on = asked == Consistency::Snapshot && !alone;
    if lives_on {
        plan.snapshot = database.export_snapshot().await?;
    } else {
        database.commit().await?;
    }
    pause("after-snapshot").await;
    Ok((plan, lives_on))
}

/// A full extract has no guard, and a pending window has had its own.
async fn seek_guard(
    database: &mut Database,
    source_table: &SourceTable,
    extract: &Extract,
    order: &PlanOrder,
    pause: PausePoints<'_>,
) -> Result<Found, Failure> {
    let nothing = Found { held: GuardBound::NOTHING, warnings: Vec::new() };
    let Some(watermark) = &extract.watermark else {
        return match order.mode {
            Mode::FE => Ok(nothing),
            Mode::PE | Mode::Reingest => Err(Failure::permanent(
                Reason::InvalidSpec,
                "a PE or a reingest needs a watermark column",
                "Set extract.watermark.column and extract.watermark.type.",
            )),
        };
    };
    let column = source_table.watermark(watermark)?;
    if order.mode == Mode::FE || order.pending_window.is_some() {
        return Ok(nothing);
    }
    database.guard(Guarded { source_table, column, watermark }, pause).await
}

/// Tries the condition. How many rows the planner thinks that it leaves.
async fn filter(
    database: &mut Database,
    source_table: &SourceTable,
    extract: &Extract,
    settings: &Settings,
) -> Result<Option<i64>, Failure> {
    let Some(filter) = &extract.filter else { return Ok(None) };
    filtering::enter(database, settings).await?;
    filtering::check(database, source_table.table(), (filter, settings)).await?;
    let rows = filtering::estimate(database, source_table.table(), filter).await?;
    filtering::leave(database, settings).await?;
    Ok(Some(rows))
}

async fn plan(
    database: &mut Database,
    source_table: &SourceTable,
    (extract, filter_settings, filtered_rows): (&Extract, Settings, Option<i64>),
    order: &PlanOrder,
    found: Found,
) -> Result<Plan, Failure> {
    let watermark = extract.watermark.as_ref();
    filtering::enter(database, &filter_settings).await?;
    let observed = observe(database, source_table, extract, order).await?;
    filtering::leave(database, &filter_settings).await?;
    let window = match (order.mode, watermark) {
        (Mode::PE | Mode::Reingest, Some(watermark)) => {
            window::choose(order, watermark.value_type, observed, &found.held)?
        }
        _ => window::full(order, watermark.map(|watermark| watermark.value_type), true)?,
    };
    let (estimated_rows, table_bytes) = database.size(source_table).await?;
    let planned = |watermark: &Watermark| -> Result<PlannedWatermark, Failure> {
        Ok(PlannedWatermark {
            column: source_table.watermark(watermark)?.name.clone(),
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
        table: source_table.table().clone(),
        database: source_table.database.clone(),
        columns: source_table.columns.clone(),
        watermark: watermark.map(planned).transpose()?,
        filter: extract.filter.clone(),
        filter_settings,
        filtered_rows,
        warnings: warnings(source_table, order, &window, found.warnings),
        window,
        partition_column: None,
        partitioning: None,
        partitions: Vec::new(),
        snapshot: None,
        table_lock_milliseconds: None,
        unproven: source_table.unproven.snapshot.clone(),
        unenforced: source_table.unproven.not_null,
        estimated_rows,
        layout: OutputLayout::default(),
    };
    if plan.mode == Mode::FE {
        let statement = rows::any_row_statement(&plan)?;
        filtering::enter(database, &plan.filter_settings).await?;
        plan.window.empty = !database.exists(statement, "check for rows").await?;
        filtering::leave(database, &plan.filter_settings).await?;
    }
    if !plan.window.empty {
        divide(database, &mut plan, source_table, (extract, table_bytes)).await?;
    }
    Ok(plan)
}

async fn divide(
    database: &mut Database,
    plan: &mut Plan,
    source_table: &SourceTable,
    (extract, table_bytes): (&Extract, i64),
) -> Result<(), Failure> {
    let (partitions, how) = match &extract.partition {
        Some(partition) => {
            let consistency = consistency::asked(extract, plan.engine);
            let divider =
                Divider { source_table, partition, consistency, table_bytes, may_hash: true };
            divider.divide(database, plan).await?
        }
        None => implied::divide(database, plan, source_table, (extract, table_bytes)).await?,
    };
    plan.partition_column = match how.columns.as_slice() {
        [column] => Some(column.name.clone()),
        _ => None,
    };
    (plan.partitions, plan.partitioning) = (partitions, Some(how));
    Ok(())
}

/// Decides whether the database sorts rows by their folders.
async fn sort(
    database: &mut Database,
    plan: &mut Plan,
    asked: PartitionSort,
) -> Result<(), Failure> {
    if plan.layout.partition_by.is_empty() || plan.partitions.is_empty() {
        return Ok(());
    }
    let (hive_directories, rows) = match asked {
        PartitionSort::Auto => {
            database.hive_directories(plan, hive_directories::ROWS_SAMPLED).await?
        }
        PartitionSort::Always | PartitionSort::Never => (0, 0),
    };
    plan.layout.sorted = hive_directories::sorts(asked, hive_directories, rows);
    Ok(())
}

/// The watermark's extremes and NULLs, as far as the run has to know them.
async fn observe(
    database: &mut Database,
    source_table: &SourceTable,
    extract: &Extract,
    order: &PlanOrder,
) -> Result<Observed, Failure> {
    let mut observed = Observed { max: None, null_rows: false };
    let filter = extract.filter.as_deref();
    let Some(watermark) = &extract.watermark else {
        return Ok(observed);
    };
    let column = source_table.watermark(watermark)?;
    let policy = watermark.null_policy.unwrap_or_default();
    let bounded = order.mode != Mode::FE || order.low.is_some() || order.high.is_some();
    let engine = database.engine();
    let may_lack = column.nullable || rows::has_zero_dates(engine, column);
    let unenforced = source_table.unproven.not_null;
    if bounded && may_lack && policy != NullPolicy::Exclude {
        let statement =
            rows::null_statement(engine, source_table.table(), column, filter, unenforced);
        observed.null_rows =
            database.exists(statement, "check for rows without a watermark").await?;
    }
    if observed.null_rows && policy == NullPolicy::Fail {
        let zero =
            if rows::has_zero_dates(engine, column) { " or a date of the year 0" } else { "" };
        return Err(Failure::permanent(
            Reason::NullWatermarkRows,
            format!(
                "the table contains rows whose watermark column {:?} is NULL{zero}",
                column.name
            ),
            "Fill the values, or set extract.watermark.nullPolicy (legacy call: NULL_POLICY) to exclude, or \
             to include to extract these rows in every window.",
        ));
    }
    if order.mode != Mode::FE {
        let (max, min) = database.extremes(source_table.table(), column, filter).await?;
        let read = |text: &String| watermark_extreme(watermark.value_type, &column.name, text);
        // NaN and the infinities, which only Postgres has
        if database.engine() == Engine::Postgres {
            min.as_ref().map(read).transpose()?;
        }
        observed.max = max.as_ref().map(read).transpose()?;
    }
    Ok(observed)
}
