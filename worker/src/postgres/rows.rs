//! COPY BINARY of one range, through the driver.

use crds::Reason;
use futures::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use worker_core::bounds::TableRef;
use worker_core::columns::Column;
use worker_core::error::Failure;
use worker_core::plan::Plan;
use worker_core::rows::{quote_table, statements};

use crate::filtering::{enter_here, leave_here};
use crate::postgres::catalog::look_up;
use crate::postgres::sessions::{begin as begin_now, commit, take_snapshot};
use crate::rows::{CHUNK_BYTES, ChunkSender, Read};
use crate::sessions::database_failure;
use crate::watch::{GOODBYE_TIMEOUT, Progress};

/// Runs the COPY statement and sends what comes.
///
/// Where it ends early or is dropped, it leaves the connection in the middle of the stream: close it then.
///
/// # Errors
/// A database reason.
pub(crate) async fn read(
    connection: &mut PgConnection,
    plan: &Plan,
    statement: &str,
    chunks: ChunkSender,
    progress: &Progress,
) -> Result<Read, Failure> {
    progress.asks();
    let entered = enter_here(connection, &plan.filter_settings).await;
    progress.gets();
    entered?;
    progress.asks();
    let stream = connection.copy_out_raw(statement).await;
    progress.gets();
    let mut stream = stream.map_err(|error| database_failure("read the rows", &error))?;
    let mut filling = Vec::with_capacity(CHUNK_BYTES);
    loop {
        progress.asks();
        let next = stream.try_next().await;
        progress.gets();
        let next = next.map_err(|error| database_failure("read the rows", &error))?;
        let Some(bytes) = next else { break };
        if !filling.is_empty() && filling.len() + bytes.len() > CHUNK_BYTES {
            let full = std::mem::replace(&mut filling, Vec::with_capacity(CHUNK_BYTES));
            if chunks.send(full).await == Read::Unwanted {
                return Ok(Read::Unwanted);
            }
        }
        filling.extend_from_slice(&bytes);
    }
    drop(stream);
    progress.asks();
    let left = leave_here(connection, &plan.filter_settings).await;
    let attached = attached(connection, plan).await;
    progress.gets();
    left?;
    if attached? {
        return Err(Failure::transient(
            Reason::DatabaseFailed,
            "a partition or child was attached to the table while it was being read",
            "the next attempt reads all of them",
        ));
    }
    // everything is read: what follows, uploads too, needs no snapshot
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, commit(connection)).await;
    Ok(chunks.send(filling).await)
}

/// Begins a transaction of a range's own. Nobody has held the table since the plan: its columns are
/// looked at again, for COPY sends bytes without their types.
///
/// # Errors
/// A database reason.
pub(crate) async fn begin(connection: &mut PgConnection, plan: &Plan) -> Result<(), Failure> {
    take_snapshot(connection, &plan.table, &plan.columns).await?;
    let found = look_up(connection, &TableRef::from(&plan.table), &[]).await?;
    // how a column is written is the manifest's choice: its bytes depend on these alone
    let bytes = |column: &Column| {
        let Column { name, type_oid, type_modifier, type_name, .. } = column;
        (name.clone(), *type_oid, *type_modifier, type_name.clone())
    };
    let found: Vec<_> = found.columns.iter().map(bytes).collect();
    if plan.columns.iter().all(|column| found.contains(&bytes(column))) {
        return Ok(());
    }
    Err(Failure::transient(
        Reason::DatabaseFailed,
        "the table was altered after the run was planned",
        "the next attempt plans with its new columns",
    ))
}

/// Whether the statement has read a table that became a child after its snapshot. What else it has
/// locked may be a view's table, an extension's or a function's: whether it has become somebody's child
/// is what a later transaction sees.
async fn attached(connection: &mut PgConnection, plan: &Plan) -> Result<bool, Failure> {
    let failed = |error| database_failure("check the table's children", &error);
    let others: Vec<i64> = sqlx::query_scalar(statements::OTHERS)
        .bind(quote_table(plan.engine, &plan.table))
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if others.is_empty() {
        return Ok(false);
    }
    commit(connection).await?;
    begin_now(connection).await?;
    let are_children = sqlx::query_scalar(statements::ARE_CHILDREN).bind(&others);
    are_children.fetch_one(&mut *connection).await.map_err(failed)
}
