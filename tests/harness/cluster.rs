//! Kubernetes, Helm and images.

use std::fs;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use serde_json::Value;

use crate::env::script;
use crate::source::binaries;
use crate::{TestEnv, unique};

/// How long an import of the images may take, their build included.
const IMAGES_DEADLINE: Duration = Duration::from_mins(5);

impl TestEnv {
    /// Runs `kubectl` and returns what it printed.
    ///
    /// # Errors
    /// With its exit code and words.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with(args, "").await
    }

    /// The same with standard input, for `apply -f -`.
    ///
    /// # Errors
    /// With its exit code and words.
    pub async fn kubectl_with(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(self.tool("kubectl")?);
        command.env("KUBECONFIG", self.kubeconfig()).args(args);
        self.succeed(command, input).await
    }

    /// An object, or a list of them: `kubectl get ... -o json`.
    ///
    /// # Errors
    /// With `kubectl`'s words, among them those for an object that is absent.
    pub async fn get(&self, namespace: &str, args: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["-n", namespace, "get", "-o", "json"], args].concat()).await?;
        serde_json::from_str(&text).context("parse what kubectl printed")
    }

    /// Runs `helm` and returns what it printed.
    ///
    /// # Errors
    /// With its exit code and words.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command(self.tool("helm")?);
        let home = self.state.join("helm");
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HELM_CACHE_HOME", &home)
            .env("HELM_CONFIG_HOME", &home)
            .env("HELM_DATA_HOME", &home)
            .args(args);
        self.succeed(command, "").await
    }

    /// A new namespace in which only pods of the `restricted` security standard start. It is deleted by a later test
    /// program after this one has ended in any way, so that failures can be examined for a while.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = unique(prefix);
        let owner = process_name(std::process::id()).context("name this process")?;
        fs::create_dir_all(self.state.join("owners"))?;
        fs::write(self.state.join("owners").join(&name), owner)?;
        let manifest = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
            },
        });
        self.kubectl_with(&["create", "-f", "-"], &manifest.to_string()).await?;
        let default = ["-n", &name, "get", "serviceaccount", "default", "-o", "name"];
        crate::wait_until("the namespace's account", Duration::from_secs(30), async || {
            self.kubectl(&default).await
        })
        .await?;
        Ok(name)
    }

    /// Builds the product's images from the binaries of this workspace, if they changed, and imports them:
    /// `localhost/tidemark-operator:dev` and `localhost/tidemark:dev`, with `imagePullPolicy: Never`.
    /// The binaries are taken as `cargo build` left them.
    ///
    /// # Errors
    /// If a binary is missing or the build fails.
    pub async fn load_images(&self) -> Result<()> {
        let folder = binaries()?;
        let mut command = tokio::process::Command::new(script("images.sh"));
        command.arg(&self.state).arg(folder);
        let output = self.output(command, "", IMAGES_DEADLINE).await?;
        ensure!(output.code == Some(0), "images.sh: {}", output.stderr);
        Ok(())
    }

    /// Gives the imported images a second tag, as those of another release have.
    ///
    /// # Errors
    /// With the runtime's words.
    pub async fn tag_images(&self, tag: &str) -> Result<()> {
        for name in ["localhost/tidemark-operator", "localhost/tidemark"] {
            let mut command = tokio::process::Command::new("ctr");
            command
                .arg("-a")
                .arg(self.state.join("containerd.sock"))
                .args(["-n", "k8s.io", "images", "tag", "--force"])
                .args([format!("{name}:dev"), format!("{name}:{tag}")]);
            self.succeed(command, "").await?;
        }
        Ok(())
    }

    /// What a failed test wants to see: pods, Jobs and events of a namespace.
    pub async fn describe(&self, namespace: &str) -> String {
        let mut text = String::new();
        for args in [
            &["-n", namespace, "get", "pods,jobs", "-o", "wide"][..],
            &["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"][..],
        ] {
            text += &self.kubectl(args).await.unwrap_or_else(|error| format!("{error:#}\n"));
        }
        text
    }

    /// A program of the test environment's own cache, as `inner.sh` found it.
    pub(crate) fn tool(&self, name: &str) -> Result<PathBuf> {
        let path = self.state.join("tools").join(name);
        ensure!(
            path.exists(),
            "{} is missing: the test environment is half up or of another release",
            path.display()
        );
        Ok(path)
    }

    /// Deletes the namespaces of test programs that have ended.
    pub(crate) fn forget_dead_owners(&self) -> Result<()> {
        let Ok(owners) = fs::read_dir(self.state.join("owners")) else {
            return Ok(());
        };
        let mut dead = Vec::new();
        for entry in owners {
            let path = entry?.path();
            let owner = fs::read_to_string(&path).unwrap_or_default();
            let pid = owner.split(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
            if process_name(pid).as_deref() != Some(owner.as_str())
                && fs::remove_file(&path).is_ok()
            {
                dead.extend(path.file_name().map(std::ffi::OsStr::to_os_string));
            }
        }
        if dead.is_empty() {
            return Ok(());
        }
        let status = Program::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.pid))
            .arg(self.tool("kubectl")?)
            .env("KUBECONFIG", self.kubeconfig())
            .args(["delete", "namespace", "--ignore-not-found", "--wait=false"])
            .args(&dead)
            .stdout(Stdio::null())
            .status()
            .context("delete what ended tests left")?;
        ensure!(status.success(), "delete what ended tests left: {status}");
        Ok(())
    }
}

/// Pid and start time: a pid alone may be another process by now.
fn process_name(pid: u32) -> Option<String> {
    let pid = Pid::from_raw(pid.try_into().ok()?);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let start = stat.rsplit(") ").next()?.split(' ').nth(19)?;
    Some(format!("{pid} {start}"))
}
