//! The configuration of every client of AWS: region, credentials, timeouts and retries.

use std::path::Path;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use crds::Reason;
use worker_core::errors::failure::Failure;

/// How often the SDK itself repeats a request that was throttled or met a 5xx.
const ATTEMPTS_MAX: u32 = 8;
/// How patient requests to AWS are.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// One attempt takes no longer.
    pub attempt: Duration,
    /// One attempt at DynamoDB takes no longer: a claim must be renewed while it lasts.
    pub tracking_attempt: Duration,
    /// Before the second attempt, at most; twice as long before each further one.
    pub pause: Duration,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            attempt: Duration::from_mins(2),
            tracking_attempt: Duration::from_secs(5),
            pause: Duration::from_secs(1),
        }
    }
}

/// The settings of all clients of AWS: region, and credentials from the folder if it exists.
///
/// # Errors
/// `CredentialsMissing` when the folder lacks a file.
pub(crate) async fn shared(
    region: Option<&str>,
    dir: &Path,
    what: &str,
    requests: Requests,
) -> Result<SdkConfig, Failure> {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(requests.attempt)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS_MAX)
                .with_initial_backoff(requests.pause),
        )
        .timeout_config(timeouts);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(credentials) = credentials(dir, what)? {
        loader = loader.credentials_provider(credentials);
    }
    let config = loader.load().await;
    if config.region().is_some() {
        return Ok(config);
    }
    // a server other than AWS takes any region, and AWS names the right one in its refusal
    Ok(config.into_builder().region(Region::new("us-east-1")).build())
}

fn credentials(dir: &Path, what: &str) -> Result<Option<Credentials>, Failure> {
    if !dir.exists() {
        return Ok(None);
    }
    let read = |name: &str| {
        std::fs::read_to_string(dir.join(name)).map(|text| text.trim().to_owned()).map_err(|_| {
            Failure::permanent(
                Reason::CredentialsMissing,
                format!("the Secret of {what}.secretRef has no readable key {name}"),
                "Add the keys accessKeyId and secretAccessKey to the Secret.",
            )
        })
    };
    let (id, secret) = (read("accessKeyId")?, read("secretAccessKey")?);
    Ok(Some(Credentials::new(id, secret, None, None, "tidemark-secret")))
}
