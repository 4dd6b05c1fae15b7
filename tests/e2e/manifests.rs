//! Promise 5: what cannot run is refused by `kubectl apply`, with the reason.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use harness::{Release, TestEnv, tests_dir};
use serde_json::json;

/// Manifests that teach; those that are refused lie in `refused/`.
fn examples() -> PathBuf {
    tests_dir().join("../crds/examples")
}

/// Every manifest of a folder. No other file lies there, so a test that uses these uses the whole folder.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() || path.ends_with("README.md") {
            continue;
        }
        let is_manifest = path.extension().is_some_and(|extension| extension == "yaml");
        ensure!(is_manifest, "not a manifest: {}", path.display());
        found.push(path);
    }
    ensure!(!found.is_empty(), "{} has no manifest", folder.display());
    found.sort();
    Ok(found)
}

/// Applies a manifest that must be refused; says what was wrong with that.
async fn refusal(env: &TestEnv, namespace: &str, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let first = text.lines().next().context("an empty file")?;
    let why = first.strip_prefix("# refused: ").context("the first line says no reason")?;
    let file = path.display().to_string();
    let Err(refused) = env.kubectl(&["-n", namespace, "apply", "-f", &file]).await else {
        bail!("accepted");
    };
    let said = format!("{refused:#}");
    ensure!(said.contains(why), "refused for another reason: {said}");
    let kept = env.get(namespace, &["extractjobs"]).await?;
    let changes = text.lines().any(|line| line == "---");
    // what came before the change is there, as it was; nothing else is
    ensure!(
        kept["items"].as_array().into_iter().flatten().count() == usize::from(changes),
        "{kept}"
    );
    ensure!(
        kept["items"]
            .as_array()
            .into_iter()
            .flatten()
            .all(|object| object["metadata"]["generation"] == 1),
        "{kept}"
    );
    if changes {
        env.kubectl(&["-n", namespace, "delete", "extractjobs", "--all"]).await?;
    }
    Ok(())
}

#[test]
fn apply_refuses_invalid_manifests_with_a_message() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        Release::crds(env).await?;
        let namespace = env.namespace("refused").await?;
        let paths = manifests(&examples().join("refused"))?;
        let mut wrong = Vec::new();
        for path in paths {
            if let Err(error) = refusal(env, &namespace, &path).await {
                wrong.push(format!("{}: {error:#}", path.display()));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

#[test]
fn apply_accepts_every_example() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        Release::crds(env).await?;
        let namespace = env.namespace("examples").await?;
        let paths = manifests(&examples())?;
        for path in paths {
            let file = path.display().to_string();
            let dry = ["-n", &namespace, "apply", "--dry-run=server", "-f", &file];
            env.kubectl(&dry).await?;
        }
        Ok(())
    })
}

#[test]
fn apply_accepts_an_incremental_extract_with_partition_bounds() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        Release::crds(env).await?;
        let namespace = env.namespace("bounds").await?;
        let extract = json!({
            "table": "public.orders", "type": "PE",
            "watermark": { "column": "updated_at", "type": "timestamp" },
            "partition": { "column": "id", "lowerBound": "1", "upperBound": "4000", "count": 4 },
        });
        let job = json!({
            "apiVersion": "tidemark.dev/v1alpha1", "kind": "ExtractJob",
            "metadata": { "name": "bounds" },
            "spec": {
                "source": {
                    "engine": "postgres", "host": "db.example.com", "database": "shop",
                    "credentials": { "secretRef": { "name": "shop-postgres" } },
                },
                "extract": extract,
                "output": { "uri": "s3://lake/shop/orders" },
            },
        });
        env.kubectl_with(&["-n", &namespace, "apply", "-f", "-"], &job.to_string()).await?;
        let object = env.get(&namespace, &["extractjob", "bounds"]).await?;
        let kept = &object["spec"]["extract"];
        for (key, value) in extract["partition"].as_object().context("partition")? {
            ensure!(kept["partition"][key] == *value, "{kept}");
        }
        env.kubectl(&["-n", &namespace, "delete", "extractjob", "bounds"]).await?;
        Ok(())
    })
}

#[test]
fn credentials_of_the_tracking_table_can_change_and_nothing_else_of_it() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        Release::crds(env).await?;
        let namespace = env.namespace("tracking").await?;
        let apply = async |tracking: serde_json::Value| {
            let job = json!({
                "apiVersion": "tidemark.dev/v1alpha1", "kind": "ExtractJob",
                "metadata": { "name": "tracked" },
                "spec": {
                    "source": {
                        "engine": "postgres", "host": "db.example.com", "database": "shop",
                        "credentials": { "secretRef": { "name": "shop-postgres" } },
                    },
                    "extract": { "table": "public.orders", "type": "FE" },
                    "output": { "uri": "s3://lake/shop/orders" },
                    "tracking": tracking,
                },
            });
            env.kubectl_with(&["-n", &namespace, "apply", "-f", "-"], &job.to_string()).await
        };
        let table = json!({ "table": "tidemark", "region": "eu-central-1", "key": "shop.orders" });
        apply(table.clone()).await?;
        for name in [Some("keys"), Some("others"), None] {
            let mut changed = table.clone();
            if let Some(name) = name {
                changed["secretRef"] = json!({ "name": name });
            }
            apply(changed).await?;
        }
        for (field, value) in [
            ("table", json!("another")),
            ("region", json!("us-east-1")),
            ("region", serde_json::Value::Null),
            ("endpoint", json!("http://dynamodb.example:8000")),
            ("key", json!("shop.customers")),
        ] {
            let mut changed = table.clone();
            changed[field] = value;
            if changed[field].is_null() {
                changed.as_object_mut().context("fields")?.remove(field);
            }
            let refused = apply(changed).await.err().context(field)?.to_string();
            ensure!(refused.contains("tracking is immutable"), "{field}: {refused}");
        }
        env.kubectl(&["-n", &namespace, "delete", "extractjob", "tracked"]).await?;
        Ok(())
    })
}
