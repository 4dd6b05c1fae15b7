//! Every example parses, prints and parses again to the same value, and nothing in it is lost.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod examples;

use std::fs;

use crds::ExtractJob;
use serde_json::{Value, json};

use examples::manifests;

#[test]
fn examples_survive_a_round_trip() {
    for path in manifests(".") {
        let text = fs::read_to_string(&path).unwrap();
        let job: ExtractJob =
            serde_saphyr::from_str(&text).map_err(|error| format!("{path:?}: {error}")).unwrap();
        let printed = serde_saphyr::to_string(&job).unwrap();
        let again: ExtractJob = serde_saphyr::from_str(&printed).unwrap();
        assert_eq!(job, again, "{path:?}");
        let raw: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            with_texts(raw["spec"].clone()),
            with_texts(json!(job)["spec"].clone()),
            "{path:?}"
        );
    }
}

/// `cpu: 1` comes back as the text `1`.
fn with_texts(mut spec: Value) -> Value {
    for kind in ["requests", "limits"] {
        let amounts = spec.pointer_mut(&format!("/worker/resources/{kind}"));
        for amount in
            amounts.and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut())
        {
            if amount.is_number() {
                *amount = json!(amount.to_string());
            }
        }
    }
    spec
}

#[test]
fn refused_examples_name_their_error_in_the_first_line() {
    for path in manifests("refused") {
        let text = fs::read_to_string(&path).unwrap();
        let message = text.lines().next().and_then(|line| line.strip_prefix("# refused: "));
        assert!(message.is_some_and(|message| !message.is_empty()), "{path:?}");
        let documents = serde_saphyr::from_multiple::<Value>(&text).unwrap();
        assert!(documents.iter().all(|document| document["kind"] == "ExtractJob"), "{path:?}");
    }
}
