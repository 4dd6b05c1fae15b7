//! In: the uri that a run writes to, the published run of its source. Out: what the run is compared with.
//! Bound: two manifests, without their lists. Fails: what the store may fail with for now.

use crds::Reason;
use crds::condition::Exit;
use crds::tracking::Head;
use worker_core::decoding::columns::Column;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::ManifestHead;
use worker_core::planning::tables::TableIdentity;

use crate::stores::control::Control;

/// What the published run of a source is of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// The columns of the run that `current.json` names; `None` where the uri has none.
    pub columns: Option<Vec<Column>>,
    /// The table, under whichever uri it was published; absent if nothing was published, or if an earlier uri
    /// cannot be read.
    pub table: Option<TableIdentity>,
}

impl Published {
    /// Reads what is published under `uri`, and the table of `head` where that lies under another one.
    ///
    /// # Errors
    /// See the head of this file.
    pub(crate) async fn of(
        client: &aws_sdk_s3::Client,
        uri: &str,
        head: Option<&Head>,
    ) -> Result<Self, Failure> {
        let here = Control::new(client.clone(), uri)?.current().await?;
        let table = match head.filter(|head| head.uri != uri) {
            Some(moved) => table_of(client, moved).await?,
            None => here.as_ref().map(identity),
        };
        Ok(Self { columns: here.map(|head| head.columns), table })
    }
}

fn identity(head: &ManifestHead) -> TableIdentity {
    TableIdentity { database: head.database.clone(), table: head.table.clone() }
}

/// The table of a run under another uri. That place may be gone, or closed to this run: then nothing is
/// compared, since a full extract at a new uri changes nothing there.
async fn table_of(
    client: &aws_sdk_s3::Client,
    head: &Head,
) -> Result<Option<TableIdentity>, Failure> {
    let control = Control::new(client.clone(), &head.uri)?;
    match control.head_of(head.run).await {
        Ok(found) => Ok(found.as_ref().map(identity)),
        Err(failure)
            if failure.exit == Exit::Permanent && failure.report.reason != Reason::NewerRelease =>
        {
            let reason = failure.report.reason;
            tracing::warn!(%reason, "cannot read the published extract at the earlier URI, so the table is not compared with it");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
