//! What the chart renders, without a cluster.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::tests_dir;
use serde_json::{Value, json};

const AGGREGATED: &str = "rbac.aggregateClusterRoles=true";
const READING: [&str; 3] = ["get", "list", "watch"];

/// The objects of a release.
fn rendered(release: &str, namespace: &str, settings: &[&str]) -> Result<Vec<Value>> {
    let mut helm = Command::new(tests_dir().join("env/helm.sh"));
    helm.args(["template", release]).arg(tests_dir().join("../charts/tidemark"));
    // Helm has no cluster to ask for its version
    helm.args(["--namespace", namespace, "--kube-version", "1.33.0"]);
    helm.args(settings.iter().flat_map(|setting| ["--set", setting]));
    let output = helm.output().context("helm template")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).context("YAML")?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

fn aggregated(objects: &[Value]) -> Vec<&Value> {
    let is = |object: &&Value| {
        let labels = object["metadata"]["labels"].as_object();
        labels.is_some_and(|labels| {
            labels.keys().any(|key| key.starts_with("rbac.authorization.k8s.io/aggregate-to-"))
        })
    };
    objects.iter().filter(is).collect()
}

#[test]
fn no_cluster_role_is_rendered_by_default() -> Result<()> {
    for object in rendered("tidemark", "jobs", &[])? {
        ensure!(object["kind"] != "ClusterRole", "{object}");
    }
    Ok(())
}

#[test]
fn each_aggregated_role_adds_its_rights_on_extract_jobs_and_no_others() -> Result<()> {
    let objects = rendered("tidemark", "jobs", &[AGGREGATED])?;
    let roles = aggregated(&objects);
    ensure!(roles.len() == 3, "{roles:?}");
    for role in ["view", "edit", "admin"] {
        let named =
            |object: &&&Value| object["metadata"]["name"] == format!("jobs:tidemark:{role}");
        let object = roles.iter().find(named).context(role)?;
        ensure!(object["kind"] == "ClusterRole", "{object}");
        let labels = object["metadata"]["labels"].as_object().context("labels")?;
        let to: Vec<_> = labels.keys().filter(|key| key.contains("aggregate-to-")).collect();
        ensure!(to == [&format!("rbac.authorization.k8s.io/aggregate-to-{role}")], "{to:?}");
        ensure!(labels[to[0]] == "true", "{labels:?}");
        let rules = object["rules"].as_array().context("rules")?;
        for rule in rules {
            ensure!(rule["apiGroups"] == json!(["tidemark.dev"]), "{rule}");
        }
        let resources: Vec<_> = rules.iter().map(|rule| &rule["resources"]).collect();
        ensure!(
            resources == [&json!(["extractjobs"]), &json!(["extractjobs/status"])],
            "{rules:?}"
        );
        // the operator alone writes status
        ensure!(rules[1]["verbs"] == json!(["get"]), "{}", rules[1]);
        let verbs: BTreeSet<_> = rules[0]["verbs"]
            .as_array()
            .context("verbs")?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let writing = ["create", "update", "patch", "delete", "deletecollection"];
        let wanted: BTreeSet<_> =
            READING.into_iter().chain(writing.into_iter().filter(|_| role != "view")).collect();
        ensure!(verbs == wanted, "{role}: {verbs:?}");
    }
    Ok(())
}

#[test]
fn two_releases_of_one_cluster_share_no_object() -> Result<()> {
    let settings = [AGGREGATED, "clusterWide=true"];
    let apart = ["serviceAccount.name=other", "worker.serviceAccount.name=other-extract"];
    for (one, other) in [
        (("tidemark", "jobs"), ("tidemark", "shop")),
        (("tidemark", "jobs"), ("second", "jobs")),
        // the same text if name and namespace were joined by a hyphen
        (("a-tidemark", "b-tidemark-c"), ("a-tidemark-b-tidemark", "c")),
        (("a", "b-c"), ("a-b", "c")),
    ] {
        let mut all = BTreeSet::new();
        for (release, namespace, more) in [
            (one.0, one.1, &[][..]),
            (other.0, other.1, if one.1 == other.1 { &apart[..] } else { &[] }),
        ] {
            let objects = rendered(release, namespace, &[&settings[..], more].concat())?;
            ensure!(aggregated(&objects).len() == 3, "{objects:?}");
            for object in objects {
                let metadata = &object["metadata"];
                let kind = object["kind"].as_str().context("kind")?;
                let own = match metadata["namespace"].as_str() {
                    _ if kind.starts_with("Cluster") => "",
                    Some(named) => named,
                    None => namespace,
                };
                let name = metadata["name"].as_str().context("name")?;
                let key = (kind.to_owned(), own.to_owned(), name.to_owned());
                ensure!(all.insert(key.clone()), "{one:?} and {other:?} both have {key:?}");
            }
        }
    }
    Ok(())
}
