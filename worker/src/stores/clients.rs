//! The clients of S3 and DynamoDB: endpoints and regions from the task, credentials from mounted
//! files or from the SDK's own chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use crds::Reason;
use crds::extract_job::ExtractJobSpec;
use crds::task::TaskTracking;
use crds::tracking::ObjectStore;
use tokio::sync::Mutex;
use worker_core::error::Failure;

use crate::stores::checksums::{Checksum, Checksums};
use crate::stores::encryption::Encryption;

/// How often the SDK itself repeats a request that was throttled or met a 5xx.
const ATTEMPTS_MAX: u32 = 8;
/// The same for a store of an earlier output, where a removal is pending.
const OTHERS_ATTEMPTS_MAX: u32 = 2;

/// Where credentials lie, if they are files.
#[derive(Debug, Clone, Copy)]
pub struct SecretDirs<'a> {
    /// `accessKeyId` and `secretAccessKey` for S3.
    pub output: &'a Path,
    /// The same for DynamoDB.
    pub tracking: &'a Path,
}

/// How patient requests to the stores are.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// One attempt takes no longer.
    pub attempt: Duration,
    /// One attempt at DynamoDB takes no longer: a claim must be renewed while it lasts.
    pub tracking_attempt: Duration,
    /// Sent with the bytes of an object.
    pub checksum: Checksum,
    /// Before the second attempt, at most; twice as long before each further one.
    pub pause: Duration,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            attempt: Duration::from_mins(2),
            tracking_attempt: Duration::from_secs(5),
            checksum: Checksum::default(),
            pause: Duration::from_secs(1),
        }
    }
}

/// Both clients.
#[derive(Debug, Clone)]
pub struct Stores {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Other object stores, where files of the source are still to be removed.
    others: Arc<Others>,
}

#[derive(Debug)]
struct Others {
    credentials: PathBuf,
    requests: Requests,
    clients: Mutex<Vec<(ObjectStore, aws_sdk_s3::Client)>>,
}

impl Stores {
    /// A client of another object store, with the credentials of this process.
    ///
    /// # Errors
    /// `CredentialsMissing` when the folder of credentials lacks a file.
    pub async fn s3_at(&self, store: &ObjectStore) -> Result<aws_sdk_s3::Client, Failure> {
        let Others { credentials, requests, clients } = &*self.others;
        let mut clients = clients.lock().await;
        if let Some((_, client)) = clients.iter().find(|(made, _)| made == store) {
            return Ok(client.clone());
        }
        let shared = shared(store.region.as_deref(), credentials, "output", *requests).await?;
        // the source left this store, so no run waits for it
        let retries = RetryConfig::standard().with_max_attempts(OTHERS_ATTEMPTS_MAX);
        let config = s3(&shared, store, *requests).retry_config(retries);
        let client = aws_sdk_s3::Client::from_conf(config.build());
        clients.push((store.clone(), client.clone()));
        Ok(client)
    }
}

fn s3(shared: &SdkConfig, store: &ObjectStore, requests: Requests) -> aws_sdk_s3::config::Builder {
    let s3 = aws_sdk_s3::config::Builder::from(shared)
        .force_path_style(store.path_style.unwrap_or(store.endpoint.is_some()))
        .request_checksum_calculation(match requests.checksum {
            Checksum::Off => RequestChecksumCalculation::WhenRequired,
            Checksum::Crc64Nvme | Checksum::Sha256 => RequestChecksumCalculation::WhenSupported,
        })
        .interceptor(Checksums(requests.checksum));
    // without an endpoint in the manifest, the SDK's environment variables apply
    match &store.endpoint {
        Some(endpoint) => s3.endpoint_url(endpoint),
        None => s3,
    }
}

/// Makes the clients; nothing is sent yet.
///
/// # Errors
/// `CredentialsMissing` when a folder of credentials lacks a file.
pub async fn connect(
    spec: &ExtractJobSpec,
    tracking: &TaskTracking,
    dirs: SecretDirs<'_>,
    requests: Requests,
) -> Result<Stores, Failure> {
    let output = shared(spec.output.region.as_deref(), dirs.output, "output", requests).await?;
    let mut s3 = s3(&output, &ObjectStore::of(&spec.output), requests);
    if let Some(key) = &spec.output.kms_key_id {
        s3 = s3.interceptor(Encryption::new(key.clone()));
    }
    let quick = Requests { attempt: requests.tracking_attempt, ..requests };
    let table = shared(tracking.region.as_deref(), dirs.tracking, "tracking", quick).await?;
    let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&table);
    if let Some(endpoint) = &tracking.endpoint {
        dynamodb = dynamodb.endpoint_url(endpoint);
    }
    Ok(Stores {
        s3: aws_sdk_s3::Client::from_conf(s3.build()),
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
        others: Arc::new(Others {
            credentials: dirs.output.to_owned(),
            requests,
            clients: Mutex::default(),
        }),
    })
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
                "give it the keys accessKeyId and secretAccessKey",
            )
        })
    };
    let (id, secret) = (read("accessKeyId")?, read("secretAccessKey")?);
    Ok(Some(Credentials::new(id, secret, None, None, "tidemark-secret")))
}
