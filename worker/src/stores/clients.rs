//! The clients of S3 and DynamoDB: endpoints and regions from the task, credentials from mounted
//! files or from the SDK's own chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::config::RequestChecksumCalculation;
use crds::extract_job::ExtractJobSpec;
use crds::task::TaskTracking;
use crds::tracking::ObjectStore;
use tokio::sync::Mutex;
use worker_core::errors::failure::Failure;

use crate::base::aws::{Requests, shared};
use crate::stores::checksums::{Checksum, Checksums};
use crate::stores::encryption::Encryption;

/// How often the SDK repeats a request to a store of an earlier output, where a removal is pending.
const OTHERS_ATTEMPTS_MAX: u32 = 2;

/// Where credentials lie, if they are files.
#[derive(Debug, Clone, Copy)]
pub struct SecretDirs<'a> {
    /// `accessKeyId` and `secretAccessKey` for S3.
    pub output: &'a Path,
    /// The same for DynamoDB.
    pub tracking: &'a Path,
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
    checksum: Checksum,
    clients: Mutex<Vec<(ObjectStore, aws_sdk_s3::Client)>>,
}

impl Stores {
    /// A client of another object store, with the credentials of this process.
    ///
    /// # Errors
    /// `CredentialsMissing` when the folder of credentials lacks a file.
    pub async fn s3_at(&self, store: &ObjectStore) -> Result<aws_sdk_s3::Client, Failure> {
        let Others { credentials, requests, checksum, clients } = &*self.others;
        let mut clients = clients.lock().await;
        if let Some((_, client)) = clients.iter().find(|(made, _)| made == store) {
            return Ok(client.clone());
        }
        let shared = shared(store.region.as_deref(), credentials, "output", *requests).await?;
        // the source left this store, so no run waits for it
        let retries = RetryConfig::standard().with_max_attempts(OTHERS_ATTEMPTS_MAX);
        let config = s3(&shared, store, *checksum).retry_config(retries);
        let client = aws_sdk_s3::Client::from_conf(config.build());
        clients.push((store.clone(), client.clone()));
        Ok(client)
    }
}

fn s3(shared: &SdkConfig, store: &ObjectStore, checksum: Checksum) -> aws_sdk_s3::config::Builder {
    let s3 = aws_sdk_s3::config::Builder::from(shared)
        .force_path_style(store.path_style.unwrap_or(store.endpoint.is_some()))
        .request_checksum_calculation(match checksum {
            Checksum::Off => RequestChecksumCalculation::WhenRequired,
            Checksum::Crc64Nvme | Checksum::Sha256 => RequestChecksumCalculation::WhenSupported,
        })
        .interceptor(Checksums(checksum));
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
    (requests, checksum): (Requests, Checksum),
) -> Result<Stores, Failure> {
    let output = shared(spec.output.region.as_deref(), dirs.output, "output", requests).await?;
    let mut s3 = s3(&output, &ObjectStore::of(&spec.output), checksum);
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
            checksum,
            clients: Mutex::default(),
        }),
    })
}
