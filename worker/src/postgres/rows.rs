//! COPY BINARY of one range, through the driver.

use crds::Reason;
use futures::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use worker_core::error::Failure;
use worker_core::plan::Plan;
use worker_core::rows::{quote_table, statements};

use crate::rows::{CHUNK_BYTES, ChunkSender, Read};
use crate::sessions::database_failure;
use crate::watch::Progress;

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
    let attached = sqlx::query_scalar(statements::ATTACHED)
        .bind(quote_table(plan.engine, &plan.table))
        .bind(plan.filter.is_none())
        .fetch_one(&mut *connection)
        .await;
    progress.gets();
    if attached.map_err(|error| database_failure("check the table's children", &error))? {
        return Err(Failure::transient(
            Reason::DatabaseFailed,
            "a partition or child was attached to the table while it was being read",
            "the next attempt reads all of them",
        ));
    }
    Ok(chunks.send(filling).await)
}
