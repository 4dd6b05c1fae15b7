//! Coordinator, extract and recovery as their pods run them, without a cluster: each finds its files where a
//! pod has them, in a mount namespace of its own.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Access, SourceFixture, TestEnv, binary, unique};

/// Lays the pod's files over `/etc`, and an empty `/run`, which nobody else sees.
const MOUNTS: &str = "mount -t overlay overlay -o lowerdir=/etc,upperdir=$POD/etc,workdir=$POD/work /etc && \
    mount -t tmpfs tmpfs /run && mkdir /run/tidemark && exec \"$0\" \"$@\"";

impl SourceFixture {
    /// The task of an attempt at a job.
    pub fn task(&self, job: &Value, uid: &str, attempt: u32) -> Value {
        let spec = &job["spec"];
        let tracking = &spec["tracking"];
        let table = spec["extract"]["table"].as_str().unwrap_or_default();
        json!({
            "version": 1,
            "spec": spec,
            "tracking": {
                "table": tracking["table"],
                "region": tracking["region"],
                "endpoint": tracking["endpoint"],
                "key": self.key(table),
            },
            "owner": { "uid": uid, "request": "request", "hashVersion": 1, "generation": 1 },
            "attempt": attempt,
            "retry": 0,
            "name": "local/pod",
        })
    }

    /// `tidemark <sub-command>` as in a pod with this task.
    ///
    /// # Errors
    /// If its files cannot be laid out.
    pub fn pod(&self, sub_command: &str, task: &Value) -> Result<Command> {
        let pod = self.file(&unique("pod"));
        let files = pod.join("etc/tidemark");
        for folder in [files.join("credentials"), files.join("ca"), pod.join("work")] {
            fs::create_dir_all(folder)?;
        }
        for name in ["username", "password"] {
            let from = self.file("credentials").join(name);
            fs::copy(from, files.join("credentials").join(name))?;
        }
        fs::copy(self.env.ca(), files.join("ca/ca.crt"))?;
        let (id, secret) = Access::Admin.keys();
        let mut command = self.env.command("unshare");
        command
            .args(["--mount", "sh", "-c", MOUNTS])
            .arg(binary("tidemark")?)
            .arg(sub_command)
            .env("POD", pod)
            .env("TIDEMARK_TASK", task.to_string())
            .env("TIDEMARK_POLL_MS", "100")
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", TestEnv::REGION);
        Ok(command)
    }

    /// An extract pod of one partition of a run.
    ///
    /// # Errors
    /// As [`Self::pod`].
    pub fn extract_pod(&self, task: &Value, run: &str, index: u32) -> Result<Command> {
        let mut command = self.pod("extract", task)?;
        command.env("TIDEMARK_RUN", run).env("JOB_COMPLETION_INDEX", index.to_string());
        Ok(command)
    }

    /// A recovery pod for what the coordinator of this task left.
    ///
    /// # Errors
    /// As [`Self::pod`].
    pub fn recover_pod(&self, task: &Value, last: bool) -> Result<Command> {
        let mut command = self.pod("recover", task)?;
        let report = json!({ "reason": "Stopped", "message": "for a test", "remedy": "" });
        let order = json!({ "last": last, "aborted": false, "report": report });
        command.env("TIDEMARK_RECOVER", order.to_string());
        Ok(command)
    }
}
