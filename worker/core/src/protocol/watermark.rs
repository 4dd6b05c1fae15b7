//! `watermark set` and `rewind`: a person moves the stored watermark, on condition of the revision that the
//! person read, and never while a run is live or decided.

use crds::extract_job::WatermarkType;
use crds::tracking::{ITEM_VERSION, Mode, RunItem, WatermarkItem, WatermarkSet, run_key};
use crds::{Reason, RunId};

use super::effects::{Expect, Item, ItemWrite, Step, Transaction};
use super::observed::newer_release;
use super::transitions::utc_text;
use crate::errors::failure::Failure;
use crate::planning::watermark::Value;

/// The request of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkRequest {
    /// The revision of the run item that the person read; 0 if there is no run item.
    pub revision: u64,
    /// The value, as text of the watermark's type.
    pub to: String,
    /// Who they are.
    pub by: String,
    /// Whether only a lower value will do.
    pub rewind: bool,
}

/// The transaction that moves the watermark of the source `key`. A pending window is void with it.
///
/// # Errors
/// All permanent: `RevisionChanged` for another revision; `SourceBusy` while a run is live,
/// decided or being undone; `TrackingLost` without an item; `InvalidSpec` for a value that is not
/// of the stored type, or for a rewind that goes up.
pub fn set(
    run: Option<&RunItem>,
    watermark_item: Option<&WatermarkItem>,
    request: &WatermarkRequest,
    now: i64,
) -> Result<Transaction, Failure> {
    if run.map_or(0, |run| run.revision) != request.revision {
        return Err(Failure::permanent(
            Reason::RevisionChanged,
            "the run item has another revision than the given one",
            "Read the revision with `tidemark watermark get`, and pass it as --revision.",
        ));
    }
    if run.is_some_and(|run| run.schema > ITEM_VERSION) {
        return Err(newer_release());
    }
    // an open run whose coordinator is gone does not count: its DECIDE compares the old watermark
    let alive = |run: &&RunItem| {
        run.state.is_open() && !(run.state.is_live() && run.deadline < now && run.mode == Mode::PE)
    };
    if let Some(run) = run.filter(alive) {
        return Err(busy(run.run));
    }
    let Some(watermark_item) = watermark_item else {
        return Err(Failure::permanent(
            Reason::TrackingLost,
            "the source has no watermark item",
            "Run an extract of the source once, or restore the item from a backup of the tracking table.",
        ));
    };
    let to = checked(watermark_item, request)?;
    let moved = WatermarkItem {
        lwm_value: Some(to.clone()),
        updated_at: Some(utc_text(now)),
        ..watermark_item.clone()
    };
    let mut writes = vec![ItemWrite {
        key: watermark_item.source.clone(),
        expect: Expect::Watermark(watermark_item.clone()),
        put: Some(Item::Watermark(Box::new(moved.clone()))),
    }];
    writes.push(match run {
        Some(run) => {
            let set = WatermarkSet {
                by: request.by.clone(),
                at: now,
                from: watermark_item.lwm_value.clone(),
                to,
            };
            let item = RunItem {
                revision: run.revision + 1,
                pending_window: None,
                // a pinned window that failed would be pending again
                window: None,
                set: Some(set),
                watermark_item: Some(moved),
                // somebody stands for it now
                provisional: None,
                ..run.clone()
            };
            ItemWrite {
                key: run.source.clone(),
                expect: Expect::run(run),
                put: Some(Item::Run(Box::new(item))),
            }
        }
        None => {
            ItemWrite { key: run_key(&watermark_item.source), expect: Expect::Absent, put: None }
        }
    });
    Ok(Transaction { step: Step::Set, writes })
}

fn busy(run: RunId) -> Failure {
    Failure::permanent(
        Reason::SourceBusy,
        format!("run {run} of this source is in flight"),
        "Wait until the run ends, or suspend its ExtractJob first.",
    )
}

/// The value in the text that the table holds.
fn checked(watermark_item: &WatermarkItem, request: &WatermarkRequest) -> Result<String, Failure> {
    let name = watermark_item.hwm_column_type.as_deref().unwrap_or_default();
    let Some(value_type) = WatermarkType::parse(name) else {
        return Err(Failure::permanent(
            Reason::TrackingUnreadable,
            "hwm_column_type of the watermark item is not a watermark type",
            "Set hwm_column_type to int, decimal, double, date or timestamp.",
        ));
    };
    let invalid = |message: String| {
        Failure::permanent(
            Reason::InvalidSpec,
            message,
            "Pass a value of the watermark column's type.",
        )
    };
    let value = Value::parse(value_type, &request.to)
        .map_err(|_| invalid(format!("the value is not of type {}", value_type.name())))?;
    let stored =
        watermark_item.lwm_value.as_deref().and_then(|text| Value::parse(value_type, text).ok());
    if request.rewind && stored.is_some_and(|stored| value >= stored) {
        return Err(invalid("a rewind needs a value below the stored watermark".to_owned()));
    }
    Ok(value.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark_item() -> WatermarkItem {
        WatermarkItem {
            source: "shop.orders".to_owned(),
            lwm_value: Some("20".to_owned()),
            hwm_column_type: Some("int".to_owned()),
            ..WatermarkItem::default()
        }
    }

    fn request(to: &str, rewind: bool) -> WatermarkRequest {
        WatermarkRequest { revision: 0, to: to.to_owned(), by: "ann".to_owned(), rewind }
    }

    fn reason(result: Result<Transaction, Failure>) -> Option<Reason> {
        result.err().map(|failure| failure.report.reason)
    }

    #[test]
    fn a_rewind_goes_down_and_a_set_anywhere() {
        let item = watermark_item();
        let up = set(None, Some(&item), &request("30", true), 0);
        assert_eq!(reason(up), Some(Reason::InvalidSpec));
        assert!(set(None, Some(&item), &request("10", true), 0).is_ok());
        let moved = set(None, Some(&item), &request("+030", false), 0).map(|moved| moved.writes);
        let put = moved.ok().and_then(|writes| writes[0].put.clone());
        let Some(Item::Watermark(put)) = put else { unreachable!("the watermark item is put") };
        assert_eq!(put.lwm_value.as_deref(), Some("30"));
    }

    #[test]
    fn another_revision_and_another_type_are_refused() {
        let item = watermark_item();
        let late =
            set(None, Some(&item), &WatermarkRequest { revision: 3, ..request("30", false) }, 0);
        assert_eq!(reason(late), Some(Reason::RevisionChanged));
        let text = set(None, Some(&item), &request("2024-01-01", false), 0);
        assert_eq!(reason(text), Some(Reason::InvalidSpec));
        assert_eq!(reason(set(None, None, &request("1", false), 0)), Some(Reason::TrackingLost));
    }
}
