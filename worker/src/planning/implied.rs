//! In: a plan without partitions, of a manifest without `extract.partition`. Out: its partitions, which share one
//! consistent snapshot. Bound: as [`super::partitions`]. Fails: as [`super::partitions`]; what several partitions lack, such as
//! a right, leaves one partition and a warning.

use crds::extract_job::{Consistency, Extract};
use crds::source::Engine;
use crds::tracking::Mode;
use worker_core::errors::failure::Failure;
use worker_core::planning::implied;
use worker_core::planning::partitions::PlannedPartition;
use worker_core::planning::plan::Plan;

use super::partitions::{Divided, Divider, SMALL};
use super::snapshot_session;
use crate::source::database::Database;
use crate::source::table::SourceTable;

/// Divides the table as `strategy: auto` does, where that weakens nothing. Warns if a large table is one partition.
pub(super) async fn divide(
    database: &mut Database,
    plan: &mut Plan,
    source_table: &SourceTable,
    (extract, table_bytes): (&Extract, i64),
) -> Result<Divided, Failure> {
    let (partition, consistency) = (implied::partition(), Consistency::Snapshot);
    let divider =
        Divider { source_table, partition: &partition, consistency, table_bytes, may_hash: false };
    let why = implied::why_one(extract, &source_table.unproven);
    // views of MySQL: the user may lack the right to have a statement on them explained
    let unseen = why.is_some() && plan.engine == Engine::Mysql && plan.mode == Mode::PE;
    let count = if unseen { 1 } else { divider.count(database, plan).await? };
    let why = match why {
        Some(why) => Some(why),
        None if count > 1 => why_not_together(database, plan, extract).await?,
        None => None,
    };
    match why {
        Some(why) => {
            if count > 1 {
                plan.warnings.push(implied::warning(&why));
            }
            Ok((vec![PlannedPartition::whole()], implied::one(&why)))
        }
        None if count < 2 => Ok((vec![PlannedPartition::whole()], implied::one(SMALL))),
        None => divider.divide_by(database, plan, count).await,
    }
}

/// Why sessions of this server could not share a snapshot.
async fn why_not_together(
    database: &mut Database,
    plan: &Plan,
    extract: &Extract,
) -> Result<Option<String>, Failure> {
    let Database::Mysql(connection) = database else { return Ok(None) };
    match snapshot_session::check_together(connection, &plan.table, extract).await {
        Ok(_) => Ok(None),
        Err(failure) if implied::falls_back(&failure) => {
            Ok(Some(implied::why_not_together(&failure)))
        }
        Err(failure) => Err(failure),
    }
}
