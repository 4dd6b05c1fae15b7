//! AWS Secrets Manager, played by moto.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Child;

use crate::{TestEnv, wait_until};

/// Where it listens: pods reach it there, too.
const ADDRESS: &str = TestEnv::IP;
const PORT: &str = "5005";

/// A server of its own, empty at first. It ends when dropped; one test at a time has it.
#[derive(Debug)]
pub struct SecretsManager {
    env: &'static TestEnv,
    _child: Child,
}

impl SecretsManager {
    /// Where it answers, in the test environment and its pods.
    pub const ENDPOINT: &str = "http://198.18.0.1:5005";

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(env: &'static TestEnv) -> Result<Self> {
        let mut command = env.command(env.state.join("venv/bin/moto_server"));
        command.args(["-H", ADDRESS, "-p", PORT]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("start moto")?;
        wait_until("Secrets Manager", Duration::from_mins(1), async || {
            tokio::net::TcpStream::connect((ADDRESS, 5005)).await?;
            Ok(())
        })
        .await?;
        Ok(Self { env, _child: child })
    }

    /// Keeps a secret.
    ///
    /// # Errors
    /// With boto3's words.
    pub async fn put(&self, name: &str, text: &str) -> Result<()> {
        const CODE: &str = "import boto3, sys\n\
            client = boto3.client('secretsmanager', endpoint_url=sys.argv[1], region_name='us-east-1',\n\
              aws_access_key_id='a', aws_secret_access_key='b')\n\
            client.create_secret(Name=sys.argv[2], SecretString=sys.argv[3])\n";
        let mut command = self.env.command(self.env.state.join("venv/bin/python"));
        command.args(["-c", CODE, Self::ENDPOINT, name, text]);
        self.env.succeed(command, "").await.map(drop)
    }
}
