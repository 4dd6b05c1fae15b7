//! `status.watermark` and `status.tracking` show the watermark item, including changes of other writers.

use crds::status::{StatusTracking, TrackingWriter};
use crds::tracking::{WatermarkItem, WatermarkSet};
use crds::{ExtractJob, Phase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_core::mirror::{KEYS_MAX, batches, differs};

use crate::simulation::{Simulation, object, settings, watermark_item as item};

/// A published run, and its watermark item.
fn published() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation.plans(1);
    simulation.publishes();
    writes(&mut simulation, item("5"));
    simulation.rest();
    assert_eq!(simulation.status().phase, Some(Phase::Complete));
    simulation
}

/// Tidemark writes the item and its copy.
fn writes(simulation: &mut Simulation, item: WatermarkItem) {
    simulation.tracking.run.as_mut().expect("run").watermark_item = Some(item.clone());
    simulation.tracking.watermark_item = Some(item);
}

/// The slow resync finds what it finds.
fn resync(simulation: &mut Simulation) {
    simulation.watermark_changed =
        differs(&simulation.status(), simulation.tracking.watermark_item.as_ref());
    simulation.step();
    simulation.watermark_changed = false;
}

fn shown(simulation: &Simulation) -> (Option<String>, Option<TrackingWriter>) {
    let status = simulation.status();
    (status.watermark, status.tracking.map(|tracking| tracking.written_by))
}

#[test]
fn published_run_shows_the_item() {
    let simulation = published();
    let text = |text: &str| Some(text.to_owned());
    let tracking = StatusTracking {
        low_watermark: text("5"),
        high_watermark: text("-1"),
        extract_successful: text("Y"),
        row_count: Some(7),
        updated_at: Some(Time("2026-01-01T10:11:12Z".parse().expect("time"))),
        written_by: TrackingWriter::ThisExtractJob,
    };
    assert_eq!(simulation.status().tracking, Some(tracking));
    assert_eq!(simulation.status().watermark.as_deref(), Some("5"));
}

#[test]
fn item_that_another_writer_wrote_is_shown_at_the_next_resync_and_starts_nothing() {
    let mut simulation = published();
    let (made, reads) = (simulation.made.len(), simulation.reads);
    resync(&mut simulation);
    assert_eq!(simulation.reads, reads, "nothing changed, so nothing is read");

    simulation.tracking.watermark_item = Some(item("3"));
    simulation.rest();
    assert_eq!(shown(&simulation).0.as_deref(), Some("5"), "nobody has looked");
    resync(&mut simulation);
    assert_eq!(simulation.reads, reads + 1);
    assert_eq!(shown(&simulation), (Some("3".to_owned()), Some(TrackingWriter::Other)));

    let rewound = item("2");
    let set = WatermarkSet {
        by: "ann".to_owned(),
        at: "2026-01-01T10:11:12Z".parse::<jiff::Timestamp>().expect("time").as_second(),
        from: Some("3".to_owned()),
        to: "2".to_owned(),
    };
    writes(&mut simulation, rewound);
    simulation.tracking.run.as_mut().expect("run").set = Some(set);
    resync(&mut simulation);
    assert_eq!(shown(&simulation), (Some("2".to_owned()), Some(TrackingWriter::WatermarkCommand)));

    for (uid, writer) in
        [("another", TrackingWriter::AnotherExtractJob), ("cli/1", TrackingWriter::RunCommand)]
    {
        // the number of rows tells it from what the command wrote
        let mut next = item("9");
        next.extract_metadata = Some(format!("{{\"row_count\": {}}}", uid.len()));
        writes(&mut simulation, next);
        simulation.tracking.run.as_mut().expect("run").owner.uid = uid.to_owned();
        resync(&mut simulation);
        assert_eq!(shown(&simulation), (Some("9".to_owned()), Some(writer)));
    }

    simulation.tracking.watermark_item = None;
    resync(&mut simulation);
    assert_eq!(shown(&simulation), (None, None));
    assert_eq!((simulation.made.len(), simulation.status().phase), (made, Some(Phase::Complete)));
}

#[test]
fn item_without_a_column_has_no_watermark() {
    let mut simulation = published();
    let full = WatermarkItem { hwm_col_name: Some(String::new()), ..item("-1") };
    writes(&mut simulation, full);
    resync(&mut simulation);
    assert_eq!(shown(&simulation), (None, Some(TrackingWriter::ThisExtractJob)));
    assert_eq!(simulation.status().tracking.and_then(|it| it.low_watermark).as_deref(), Some("-1"));
}

#[test]
fn item_that_another_program_spoiled_is_shown_as_far_as_it_can_be_read() {
    let mut simulation = published();
    simulation.tracking.watermark_item = Some(WatermarkItem {
        updated_at: Some("yesterday".to_owned()),
        extract_metadata: Some("7 rows".to_owned()),
        ..item("5")
    });
    resync(&mut simulation);
    let tracking = simulation.status().tracking.expect("tracking");
    assert_eq!((tracking.updated_at, tracking.row_count), (None, None));
    assert_eq!(tracking.written_by, TrackingWriter::Other);
    resync(&mut simulation);
    let again = simulation.status().tracking.expect("tracking");
    assert_eq!((again.updated_at, again.row_count), (None, None), "stable");
    assert!(!differs(&simulation.status(), simulation.tracking.watermark_item.as_ref()));
}

#[test]
fn unreadable_tracking_table_leaves_status_unchanged() {
    let mut simulation = published();
    let before = simulation.status();
    simulation.watermark_changed = true;
    simulation.unreadable =
        Some(crds::Report::new(crds::Reason::TrackingUnreachable, "no answer", "Look."));
    simulation.step();
    assert_eq!(simulation.status(), before);
}

#[test]
fn object_that_is_deleted_or_may_not_name_its_table_is_not_read() {
    let mut deleted = object();
    deleted.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let mut other = object();
    other.spec.tracking =
        Some(crds::output::Tracking { table: Some("other".to_owned()), ..Default::default() });
    assert_eq!(batches([&deleted, &other], &settings().tracking), []);
}

#[test]
fn batches_hold_each_key_once_and_no_more_than_one_request_may() {
    let named = |number: usize| -> ExtractJob {
        let mut job = object();
        job.spec.extract.table = format!("t{number:03}");
        job
    };
    let jobs: Vec<ExtractJob> = (0..250).chain(0..250).map(named).collect();
    let all = batches(&jobs, &settings().tracking);
    let sizes: Vec<usize> = all.iter().map(|batch| batch.keys.len()).collect();
    assert_eq!(sizes, [KEYS_MAX, KEYS_MAX, 50]);
    let mut keys: Vec<&String> = all.iter().flat_map(|batch| &batch.keys).collect();
    keys.dedup();
    assert_eq!(keys.len(), 250);
    assert!(all.iter().all(|batch| batch.at.table == "marks" && batch.at.key == batch.keys[0]));
}
