//! Observe, decide, apply; nothing else branches.

use std::sync::Arc;

use crds::ExtractJob;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use operator_core::{Decision, Observed, Step, decide};

use crate::context::Context;
use crate::error::Error;
use crate::{effects, observed, report};

/// Reads that one decision may ask for.
const READS_MAX: usize = 8;

/// Brings one object a step further.
///
/// # Errors
/// The API server's; the object is then reconciled again.
pub(crate) async fn reconcile(
    job: Arc<ExtractJob>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let object = ObjectRef::from_obj(&*job);
    context.metrics.queue.begun(&object);
    let _measured = report::measure(&context.metrics);
    let mut observed = observed::observe(&context, &job).await?;
    let decision = Box::pin(decided(&context, &mut observed)).await?;
    let pause = effects::apply(&context, &observed, &decision).await?;
    context.metrics.queue.postponed(&object, pause);
    Ok(Action::requeue(pause))
}

async fn decided(context: &Context, observed: &mut Observed<'_>) -> Result<Decision, Error> {
    for _ in 0..READS_MAX {
        match decide(observed) {
            Step::Act(decision) => return Ok(*decision),
            Step::Read(request) => observed::request(context, observed, request).await?,
        }
    }
    Err(Error::Undecided { reads: READS_MAX })
}
