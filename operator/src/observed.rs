//! In: the API server, the tracking table, the clock. Out: [`Observed`].
//! Bound: the Jobs and pods of one object. Fails: what the API server refuses.

use crds::ExtractJob;
use crds::task::{EXTRACT_ALLOWED, EXTRACT_LABEL};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::ListParams;
use operator_core::Observed;
use operator_core::ReadRequest;
use operator_core::labels::UID;
use operator_core::observed::{ClusterWarning, ServiceAccountState, Tracking};

use crate::context::Context;
use crate::error::{Error, code};

/// Warnings that are read for one object.
const WARNINGS_MAX: u32 = 50;
/// Objects whose warnings are read.
const WARNED_MAX: usize = 5;

/// What costs little: the object, its Jobs, its pods.
///
/// # Errors
/// The API server's.
pub(crate) async fn observe<'a>(
    context: &'a Context,
    job: &ExtractJob,
) -> Result<Observed<'a>, Error> {
    let (Some(namespace), Some(uid)) = (&job.metadata.namespace, &job.metadata.uid) else {
        return Err(Error::NoIdentity);
    };
    let mine = ListParams::default().labels(&format!("{UID}={uid}"));
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let jobs = jobs.list(&mine).await.map_err(Error::cluster("list Jobs"))?.items;
    let mut pods = Vec::new();
    if !jobs.is_empty() {
        let all: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
        pods = all.list(&mine).await.map_err(Error::cluster("list pods"))?.items;
    }
    Ok(Observed {
        job: job.clone(),
        jobs,
        pods,
        tracking: Tracking::NotRead,
        watermark_changed: context.take_changed(uid),
        service_account: ServiceAccountState::NotRead,
        warnings: None,
        namespace_terminating: None,
        unreadable: 0,
        now: Timestamp::now(),
        settings: &context.settings,
    })
}

/// Reads what the decision turns on.
///
/// # Errors
/// The API server's; those of the tracking table are part of what is seen.
pub(crate) async fn request(
    context: &Context,
    observed: &mut Observed<'_>,
    request: ReadRequest,
) -> Result<(), Error> {
    let client = context.client.clone();
    let namespace = observed.namespace().to_owned();
    match request {
        ReadRequest::Tracking(at) => {
            context.metrics.tracking_reads.inc();
            let read = context.tables.read(&at, observed.uid()).await;
            observed.unreadable = context.count_failures(observed.uid(), read.is_err());
            observed.tracking = match read {
                Ok(read) => Tracking::Read(Box::new(read)),
                Err(report) => Tracking::Unreadable(report),
            };
        }
        ReadRequest::ServiceAccount(name) => {
            let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
            let found =
                accounts.get_opt(&name).await.map_err(Error::cluster("get ServiceAccount"))?;
            observed.service_account = match found {
                None => ServiceAccountState::Absent,
                Some(account) if is_allowed(&account) => ServiceAccountState::Allowed,
                Some(_) => ServiceAccountState::Unlabelled,
            };
        }
        ReadRequest::Warnings(uids) => {
            let events: Api<Event> = Api::namespaced(client, &namespace);
            let mut warnings = Vec::new();
            for uid in uids.into_iter().take(WARNED_MAX) {
                let about = ListParams::default()
                    .fields(&format!("involvedObject.uid={uid},type=Warning"))
                    .limit(WARNINGS_MAX);
                let found = events.list(&about).await.map_err(Error::cluster("list Events"))?;
                warnings.extend(found.items.into_iter().rev().map(|event| ClusterWarning {
                    reason: event.reason.unwrap_or_default(),
                    message: event.message.unwrap_or_default(),
                }));
            }
            observed.warnings = Some(warnings);
        }
        ReadRequest::Namespace => {
            let namespaces: Api<Namespace> = Api::all(client);
            let found = match namespaces.get_opt(&namespace).await {
                Ok(found) => found.is_some_and(|found| found.metadata.deletion_timestamp.is_some()),
                Err(error) if code(&error) == Some(403) => false,
                Err(error) => return Err(Error::cluster("get Namespace")(error)),
            };
            observed.namespace_terminating = Some(found);
        }
    }
    Ok(())
}

fn is_allowed(account: &ServiceAccount) -> bool {
    let labels = account.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(EXTRACT_LABEL))
        .is_some_and(|value| value == EXTRACT_ALLOWED)
}
