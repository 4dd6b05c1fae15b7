//! A release of the chart of a test's own: namespace, Secrets, operator, and one source.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{Access, SourceFixture, TestEnv, tests_dir, wait_until};

/// The folder of the charts.
fn chart(name: &str) -> String {
    format!("{}/../charts/{name}", tests_dir().display())
}

/// An operator that watches one namespace, its own.
#[derive(Debug, Clone)]
pub struct Release {
    /// Database, bucket and tracking table.
    pub source: SourceFixture,
    /// The namespace.
    pub namespace: String,
    /// Further values of the chart.
    values: Value,
}

impl Release {
    /// Installs the CRDs, once for the test environment, and the operator in a namespace of its own. `args` are
    /// further flags of the operator, after short durations.
    ///
    /// # Errors
    /// With the words of the part that refused.
    pub async fn new(env: &'static TestEnv, prefix: &str, args: &[&str]) -> Result<Self> {
        Self::with(env, prefix, args, json!({})).await
    }

    /// The same with further values of the chart, which stay over upgrades.
    ///
    /// # Errors
    /// With the words of the part that refused.
    pub async fn with(
        env: &'static TestEnv,
        prefix: &str,
        args: &[&str],
        values: Value,
    ) -> Result<Self> {
        let source = SourceFixture::new(env, prefix).await?;
        let namespace = env.namespace(prefix).await?;
        env.load_images().await?;
        let release = Self { source, namespace, values };
        Self::crds(env).await?;
        release.secrets().await?;
        release.install("install", args).await?;
        Ok(release)
    }

    fn env(&self) -> &'static TestEnv {
        self.source.env
    }

    /// Tests of one test environment start together: the CRDs are applied, which any of them may repeat.
    ///
    /// # Errors
    /// With helm's or kubectl's words.
    pub async fn crds(env: &TestEnv) -> Result<()> {
        let chart = chart("tidemark-crds");
        let yaml = env.helm(&["template", "crds", &chart, "--kube-version", "1.34"]).await?;
        env.kubectl_with(&["apply", "--server-side", "-f", "-"], &yaml).await?;
        let crd = "crd/extractjobs.tidemark.dev";
        // `kubectl wait` fails at once where the new object has no conditions yet
        wait_until("the CRD to be established", Duration::from_mins(1), async || {
            env.kubectl(&["wait", "--for=condition=Established", crd, "--timeout=30s"]).await
        })
        .await?;
        Ok(())
    }

    async fn secrets(&self) -> Result<()> {
        let (id, secret) = Access::Admin.keys();
        self.secret("database", &[("username", "postgres"), ("password", "secret")]).await?;
        self.secret("aws", &[("accessKeyId", id), ("secretAccessKey", secret)]).await?;
        let ca = format!("ca.crt={}", self.env().ca().display());
        self.kubectl(&["create", "configmap", "database-ca", "--from-file", &ca]).await?;
        Ok(())
    }

    /// Writes a Secret.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) -> Result<()> {
        let data: serde_json::Map<String, Value> =
            data.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data,
        });
        self.apply(&secret).await
    }

    /// `helm install` or `upgrade`, with durations that suit a test; waits for Ready.
    ///
    /// # Errors
    /// With helm's words.
    pub async fn install(&self, verb: &str, args: &[&str]) -> Result<()> {
        self.install_images(verb, "dev", args).await
    }

    /// The same with images of another tag, which [`TestEnv::tag_images`] gave them.
    ///
    /// # Errors
    /// With helm's words.
    pub async fn install_images(&self, verb: &str, tag: &str, args: &[&str]) -> Result<()> {
        let short = [
            "--busy-retry-seconds=1",
            "--retry-first-seconds=1",
            "--retry-most-seconds=5",
            "--pod-start-wait-seconds=10",
            "--pod-stop-wait-seconds=15",
            "--record-wait-seconds=30",
            "--record-poll-seconds=2",
            "--recover-retry-seconds=1",
            "--recover-deadline-seconds=30",
            "--deletion-bound-seconds=60",
        ];
        // a flag is given once: a test's own takes the place of the short one
        let flag = |arg: &str| arg.split('=').next().unwrap_or_default().to_owned();
        let own: Vec<String> = args.iter().copied().map(flag).collect();
        let kept = short.iter().filter(|arg| !own.contains(&flag(arg)));
        let all: Vec<&str> = kept.chain(args).copied().collect();
        let image = |name: &str| json!({ "repository": name, "tag": tag, "pullPolicy": "Never" });
        let mut values = json!({
            "image": { "operator": image("localhost/tidemark-operator"), "worker": image("localhost/tidemark") },
            "extractNamespaces": [self.namespace],
            "tracking": {
                "table": self.source.table, "tables": ["*"], "region": TestEnv::REGION,
                "endpoint": TestEnv::DYNAMODB,
            },
            "aws": { "secretName": "aws" },
            "extraArgs": all,
            "worker": { "resources": {
                "requests": { "cpu": "10m", "memory": "64Mi" },
                "limits": { "cpu": "1", "memory": "256Mi" },
            }},
        });
        for (key, value) in self.values.as_object().into_iter().flatten() {
            match (values[key].as_object_mut(), value.as_object()) {
                (Some(known), Some(more)) => known.extend(more.clone()),
                _ => values[key] = value.clone(),
            }
        }
        let file = self.source.file("values.json");
        fs::write(&file, values.to_string())?;
        let file = file.display().to_string();
        let chart = chart("tidemark");
        let installed = self
            .env()
            .helm(&[
                verb,
                "tidemark",
                &chart,
                "-n",
                &self.namespace,
                "-f",
                &file,
                "--wait",
                "--timeout",
                "90s",
            ])
            .await;
        if installed.is_err() {
            bail!("{:?}\n{}", installed, self.env().describe(&self.namespace).await);
        }
        Ok(())
    }

    /// `kubectl` in the release's namespace.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let args: Vec<&str> = ["-n", &self.namespace].iter().chain(args).copied().collect();
        self.env().kubectl(&args).await
    }

    /// Applies an object.
    ///
    /// # Errors
    /// With the API server's words.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let args = ["-n", &self.namespace, "apply", "-f", "-"];
        self.env().kubectl_with(&args, &object.to_string()).await.map(|_| ())
    }

    /// Any objects, as JSON.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn get(&self, args: &[&str]) -> Result<Value> {
        self.env().get(&self.namespace, args).await
    }

    /// Waits until the object's condition is True, and returns the object.
    ///
    /// # Errors
    /// After the deadline, with the object's status and what the namespace shows.
    pub async fn condition(&self, job: &str, name: &str, deadline: Duration) -> Result<Value> {
        let seen = wait_until(&format!("{name} of {job}"), deadline, async || {
            let object = self.get(&["extractjob", job]).await?;
            let met = condition(&object, name)["status"] == "True";
            ensure!(met, "status {}", object["status"]);
            Ok(object)
        })
        .await;
        match seen {
            Ok(object) => Ok(object),
            Err(error) => bail!("{error:#}\n{}", self.env().describe(&self.namespace).await),
        }
    }

    /// Applies a job and waits until it is Complete.
    ///
    /// # Errors
    /// As [`Self::condition`].
    pub async fn complete(&self, job: &Value) -> Result<Value> {
        self.apply(job).await?;
        let name = job["metadata"]["name"].as_str().context("name")?;
        self.condition(name, "Complete", Duration::from_mins(3)).await
    }

    /// Asks for another run of a job that has an outcome; the time by which it asks.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn request(&self, job: &str) -> Result<String> {
        let at = jiff::Timestamp::now().to_string();
        let annotation = format!("tidemark.dev/requested-at={at}");
        self.kubectl(&["annotate", "--overwrite", "extractjob", job, &annotation]).await?;
        Ok(at)
    }

    /// Asks for another run and waits until that is Complete.
    ///
    /// # Errors
    /// As [`Self::condition`].
    pub async fn again(&self, job: &str) -> Result<Value> {
        let at = self.request(job).await?;
        self.honoured(job, &at).await
    }

    /// Waits until the run that was requested at this time is Complete.
    ///
    /// # Errors
    /// As [`Self::condition`].
    pub async fn honoured(&self, job: &str, at: &str) -> Result<Value> {
        let seen = wait_until(&format!("run {at} of {job}"), Duration::from_mins(3), async || {
            let object = self.get(&["extractjob", job]).await?;
            let met = condition(&object, "Complete")["status"] == "True"
                && object["status"]["outcome"]["requestedAt"] == at;
            ensure!(met, "status {}", object["status"]);
            Ok(object)
        })
        .await;
        match seen {
            Ok(object) => Ok(object),
            Err(error) => bail!("{error:#}\n{}", self.env().describe(&self.namespace).await),
        }
    }

    /// Names of the pods of a job by role (`coordinator`, `extract`, `recover`) that are running.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn running_pods(&self, job: &str, role: &str) -> Result<Vec<String>> {
        let labels = format!("tidemark.dev/extract-job={job},tidemark.dev/role={role}");
        let pods = self.get(&["pods", "-l", &labels]).await?;
        let names = pods["items"].as_array().context("items")?.iter().filter_map(|pod| {
            let running = pod["status"]["phase"] == "Running";
            pod["metadata"]["name"].as_str().filter(|_| running).map(Into::into)
        });
        Ok(names.collect())
    }

    /// Kills a pod at once, as a lost node would: no signal that it could answer.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn kill_pod(&self, pod: &str) -> Result<()> {
        self.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"]).await.map(|_| ())
    }

    /// How many reconciles the operator has started since its own start.
    ///
    /// # Errors
    /// If its metrics cannot be read.
    pub async fn reconciles(&self) -> Result<u64> {
        self.metric("reconciles_total").await
    }

    /// A metric of the operator without labels, as a whole number.
    ///
    /// # Errors
    /// If its metrics cannot be read, or this one is not among them.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let path = format!(
            "/api/v1/namespaces/{}/services/tidemark:metrics/proxy/metrics",
            self.namespace
        );
        let text = self.env().kubectl(&["get", "--raw", &path]).await?;
        let line = text.lines().find_map(|line| {
            let value = line.strip_prefix(&format!("tidemark_operator_{name}"))?;
            value.strip_prefix(' ')?.trim().parse().ok()
        });
        line.with_context(|| format!("no {name} in {text}"))
    }

    /// Waits until the run of a table's source has that state.
    ///
    /// # Errors
    /// With what the cluster shows, once the deadline is over.
    pub async fn run_reaches(&self, table: &str, state: &str, deadline: Duration) -> Result<()> {
        let what = format!("state {state}");
        let seen = wait_until(&what, deadline, async || {
            let run = self.source.run_item(table).await?.context("no run yet")?;
            ensure!(run["state"] == state, "{run}");
            Ok(())
        });
        match seen.await {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.env().describe(&self.namespace).await),
        }
    }

    /// How many runs the prefix of a table has published: the chain that `current.json` ends, and
    /// what its runs replaced.
    ///
    /// # Errors
    /// If there is none.
    pub async fn published(&self, table: &str) -> Result<u64> {
        let read = async |key: String| {
            let body = self.env().object(&self.source.bucket, &key).await?;
            serde_json::from_slice::<Value>(&body).context("parse a control object")
        };
        let pointer = read(format!("{table}/_tidemark/current.json")).await?;
        let mut runs = std::collections::BTreeSet::new();
        let mut next = pointer["run"].as_str().map(String::from);
        let mut walked = std::collections::BTreeSet::new();
        while let Some(run) = next.filter(|run| walked.insert(run.clone())) {
            let manifest = read(format!("{table}/_tidemark/{run}/manifest.json")).await?;
            let replaced = manifest["replaces"].as_array().context("replaces")?;
            runs.extend(replaced.iter().filter_map(|run| run.as_str().map(String::from)));
            runs.insert(run);
            next = manifest["parent"].as_str().map(String::from);
        }
        Ok(u64::try_from(runs.len())?)
    }
}

/// A condition of an object; null where it has none of that name.
pub fn condition(object: &Value, name: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|one| one["type"] == name));
    found.cloned().unwrap_or(Value::Null)
}
