//! In: the objects that a watch holds, and their watermark items. Out: the objects whose status repeats
//! another item; their reconcile then reads it consistently. Bound: one batch of keys at a time.
//! Fails: never; a table that cannot be read is read again at the next resync.

use std::collections::HashMap;
use std::sync::Arc;

use crds::ExtractJob;
use crds::task::TaskTracking;
use futures::stream::{self, Stream, StreamExt};
use kube::runtime::reflector::{ObjectRef, Store};
use operator_core::mirror::{batches, differs, place};
use operator_core::retry::spread;

use crate::context::Context;

/// Objects to reconcile, found by reading all watermark items again and again.
pub(crate) fn changed(
    context: &Arc<Context>,
    store: Store<ExtractJob>,
) -> impl Stream<Item = ObjectRef<ExtractJob>> + Send + 'static {
    let begin = (Arc::clone(context), store, 0_u32);
    stream::unfold(begin, |(context, store, round)| async move {
        let pause = context.settings.timing.tracking_resync;
        tokio::time::sleep(spread(pause / 2, "tracking-resync", round)).await;
        let found = Box::pin(read(&context, &store)).await;
        Some((stream::iter(found), (context, store, round.wrapping_add(1))))
    })
    .flatten()
}

/// Reads the items of all objects, a batch at a time.
async fn read(context: &Context, store: &Store<ExtractJob>) -> Vec<ObjectRef<ExtractJob>> {
    let settings = &context.settings.tracking;
    let objects = store.state();
    let mut sources: HashMap<TaskTracking, Vec<&ExtractJob>> = HashMap::new();
    for object in &objects {
        if let Some(at) = place(object, settings) {
            sources.entry(at).or_default().push(object);
        }
    }
    let mut found = Vec::new();
    for batch in batches(objects.iter().map(AsRef::as_ref), settings) {
        context.metrics.tracking_reads.inc();
        let items = match context.tables.watermarks(&batch).await {
            Ok(items) => items,
            Err(report) => {
                let table = &batch.at.table;
                tracing::warn!(
                    table,
                    reason = report.reason.name(),
                    %report,
                    "cannot read the watermarks"
                );
                continue;
            }
        };
        for key in &batch.keys {
            let Some(item) = items.get(key) else { continue };
            let at = TaskTracking { key: key.clone(), ..batch.at.clone() };
            for object in sources.get(&at).into_iter().flatten() {
                if differs(&object.status.clone().unwrap_or_default(), item.as_ref()) {
                    let object = mark_due(context, object);
                    found.extend(object);
                }
            }
        }
    }
    found
}

/// Records that the object is due.
fn mark_due(context: &Context, object: &ExtractJob) -> Option<ObjectRef<ExtractJob>> {
    context.mark_changed(object.metadata.uid.as_deref()?);
    let object = ObjectRef::from_obj(object);
    context.metrics.queue.asked(&object);
    Some(object)
}
