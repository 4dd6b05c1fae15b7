//! What the request hash covers, and what it must not cover.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use crds::extract_job::ExtractJobSpec;
use crds::request::request_hash;
use crds::{ExtractJob, HASH_VERSION};
use serde_json::{Value, json};

fn spec() -> Value {
    let text = include_str!("../examples/reingest.yaml");
    let job: ExtractJob = serde_saphyr::from_str(text).unwrap();
    json!(job.spec)
}

fn hash(spec: Value) -> String {
    let spec: ExtractJobSpec = serde_json::from_value(spec).unwrap();
    request_hash(&spec, HASH_VERSION).unwrap().request
}

/// The spec with the value at the JSON pointer `path` set, its parents made where absent.
fn with(path: &str, value: Value) -> Value {
    let mut spec = spec();
    let mut place = &mut spec;
    for name in path.trim_start_matches('/').split('/') {
        place = &mut place[name];
    }
    *place = value;
    spec
}

#[test]
fn each_field_that_defines_data_changes_the_hash() {
    let base = hash(spec());
    for (path, value) in [
        ("/source/database", json!("store")),
        ("/extract/table", json!("public.customers")),
        ("/extract/type", json!("FE")),
        ("/extract/reingest", json!(false)),
        ("/extract/reingest", Value::Null),
        ("/extract/watermark/column", json!("id")),
        ("/extract/watermark/type", json!("date")),
        ("/extract/watermark/low", json!("2023-01-31")),
        ("/extract/watermark/high", json!("2023-12-31")),
        ("/extract/watermark/stampedBy", json!("database")),
        ("/extract/watermark/lagSeconds", json!(60)),
        ("/extract/watermark/waitSeconds", json!(5)),
        ("/extract/watermark/lookbackSeconds", json!(9)),
        ("/extract/watermark/nullPolicy", json!("include")),
        ("/extract/partition/column", json!("customer")),
        ("/extract/partition/strategy", json!("range")),
        ("/extract/fidelity", json!("strict")),
        ("/extract/consistency", json!("perPartition")),
        ("/extract/columns", json!(["id", "at"])),
        ("/extract/excludeColumns", json!(["at"])),
        ("/extract/types", json!({"at": "string"})),
        ("/extract/where", json!("id > 7")),
        ("/output/partitionBy", json!(["region"])),
        ("/output/uri", json!("s3://lake/shop/orders-2")),
        ("/output/columns", json!({"rowHash": "hash"})),
    ] {
        assert_ne!(base, hash(with(path, value)), "{path} is not in the hash");
    }
}

#[test]
fn no_other_field_changes_the_hash() {
    let base = hash(spec());
    for (path, value) in [
        ("/source/host", json!("replica.example.com")),
        ("/source/port", json!(6432)),
        ("/source/credentials/secretRef/name", json!("other")),
        ("/source/credentials", json!({"awsSecret": {"name": "other"}})),
        ("/source/tls", json!({"mode": "verifyCa", "caRef": {"name": "ca"}})),
        ("/extract/consistencyLock", json!("brief")),
        ("/extract/partition/lowerBound", json!("5")),
        ("/extract/partition/upperBound", json!("50")),
        ("/extract/partition/count", json!(8)),
        ("/extract/partition/rebalance", json!(true)),
        ("/output/endpoint", json!("http://s3.example:8333")),
        ("/output/pathStyle", json!(true)),
        ("/output/region", json!("eu-west-1")),
        ("/output/runFolder", json!("time")),
        ("/output/retainReplacedSeconds", json!(60)),
        ("/output/columns", json!({})),
        ("/output/secretRef", json!({"name": "keys"})),
        ("/tracking", Value::Null),
        ("/tracking/secretRef", json!({"name": "keys"})),
        ("/worker", json!({"parallelism": 2, "labels": {"team": "shop"}})),
        ("/retry", json!({"runs": 5, "backoffLimitPerIndex": 0})),
        ("/activeDeadlineSeconds", json!(600)),
    ] {
        assert_eq!(base, hash(with(path, value)), "{path} is in the hash");
    }
}

#[test]
fn the_order_of_fields_and_absence_written_out_change_nothing() {
    let sorted = spec();
    let mut fields: Vec<_> = sorted.as_object().unwrap().iter().collect();
    fields.reverse();
    let reversed: Vec<String> =
        fields.into_iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
    let text = format!("{{{}}}", reversed.join(", "));
    let spec: ExtractJobSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(request_hash(&spec, HASH_VERSION).unwrap().request, hash(sorted.clone()));
    assert_eq!(hash(with("/extract/watermark/high", Value::Null)), hash(sorted));
}

/// The API server fills a new default into old objects, whose outcomes must still answer them.
#[test]
fn the_order_in_which_columns_are_named_changes_nothing() {
    for field in ["/extract/columns", "/extract/excludeColumns"] {
        let hash = |names| hash(with(field, names));
        assert_eq!(hash(json!(["id", "at"])), hash(json!(["at", "id"])), "{field}");
    }
}

#[test]
fn a_default_written_out_changes_nothing() {
    let absent = hash(with("/extract/reingest", Value::Null));
    assert_eq!(hash(with("/extract/reingest", json!(false))), absent);
    assert_eq!(hash(with("/extract/fidelity", json!("report"))), hash(spec()));
}

/// An outcome in a tracking table names this hash: it must stay the same in every release.
#[test]
fn version_1_is_pinned() {
    assert_eq!(hash(spec()), "de66a642d6b1cbd680f25abada01ed50e9567cc9543b80bbd2a3771e456c62bf");
}

/// Hashes of the release in which an absent partition meant one partition, and distances had no unit.
#[test]
fn hash_without_partition_and_with_distances_is_that_of_earlier_manifests() {
    let of = |text: &str| json!(serde_saphyr::from_str::<ExtractJob>(text).unwrap().spec);
    let full = of(include_str!("../examples/full-extract.yaml"));
    assert_eq!(hash(full), "8e4014f0f653c1409952dd99d9fe3f608b8f434ce623317ec8e422a64277b5b6");
    let incremental = of(include_str!("../examples/incremental.yaml"));
    assert_eq!(
        hash(incremental.clone()),
        "434029194e6d199b96fa70e6bbf5613faf55cb3d0065fa9c15c21466881c81f0"
    );
    let mut times = incremental.clone();
    for (field, seconds) in [("lagSeconds", 60), ("waitSeconds", 5), ("lookbackSeconds", 9)] {
        times["extract"]["watermark"][field] = json!(seconds);
    }
    assert_eq!(hash(times), "0c15b54d371bf2763d066ac848c2173ffbbf89eb6e0213194f2e23108dfed0af");
    let mut numbers = incremental;
    numbers["extract"]["watermark"] = json!({
        "column": "id", "type": "int", "lagUnits": 60, "waitSeconds": 5, "lookbackUnits": 9,
    });
    assert_eq!(hash(numbers), "1ddea784fac852aff8bdf5bbe572948f346e63d2a763b78125e56addd691ff21");
}

#[test]
fn an_unknown_version_has_no_hash() {
    let spec: ExtractJobSpec = serde_json::from_value(spec()).unwrap();
    assert_eq!(request_hash(&spec, HASH_VERSION + 1), None);
}
