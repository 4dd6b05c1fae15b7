//! Reads the items of the tracking table: strongly consistent, bounded in time, never written.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use crds::task::TaskTracking;
use crds::tracking::{ITEM_VERSION, outcome_key, run_key};
use crds::{Reason, Report};
use operator_core::observed::TrackingRead;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

/// Region of servers that are not AWS, where none is named.
const REGION: &str = "us-east-1";
/// Clients that are kept; there is one for each region and endpoint in use.
const CLIENTS_MAX: usize = 64;

type Item = HashMap<String, AttributeValue>;
type Place = (Option<String>, Option<String>);

/// Clients for the tables that objects name.
#[derive(Debug)]
pub(crate) struct TrackingTables {
    config: SdkConfig,
    clients: Mutex<HashMap<Place, Client>>,
}

impl TrackingTables {
    /// Reads the operator's own AWS configuration.
    pub(crate) async fn new(timeout: Duration) -> Self {
        let http =
            Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(timeout.min(Duration::from_secs(2)))
            .operation_attempt_timeout(timeout)
            .operation_timeout(timeout)
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .load()
            .await;
        Self { config, clients: Mutex::new(HashMap::new()) }
    }

    /// The items of one source, and the outcome for one object.
    ///
    /// # Errors
    /// A report with a remedy.
    pub(crate) async fn read(&self, at: &TaskTracking, uid: &str) -> Result<TrackingRead, Report> {
        let client = self.client(at).await;
        let (r, o) = futures::try_join!(
            get(&client, at, run_key(&at.key)),
            get(&client, at, outcome_key(&at.key, uid)),
        )?;
        Ok(TrackingRead { r: parse(r)?, l: None, o: parse(o)? })
    }

    async fn client(&self, at: &TaskTracking) -> Client {
        let place = (at.region.clone(), at.endpoint.clone());
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&place) {
            return client.clone();
        }
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        if let Some(endpoint) = &at.endpoint {
            config = config.endpoint_url(endpoint);
        }
        if let Some(region) = &at.region {
            config = config.region(Region::new(region.clone()));
        } else if self.config.region().is_none() {
            config = config.region(Region::from_static(REGION));
        }
        let client = Client::from_conf(config.build());
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(place, client.clone());
        client
    }
}

async fn get(client: &Client, at: &TaskTracking, key: String) -> Result<Option<Item>, Report> {
    let request = client
        .get_item()
        .table_name(&at.table)
        .key("source", AttributeValue::S(key))
        .consistent_read(true);
    match Box::pin(request.send()).await {
        Ok(reply) => Ok(reply.item),
        Err(error) => Err(report(&at.table, &error)),
    }
}

fn report(table: &str, error: &SdkError<GetItemError>) -> Report {
    let code = error.code().unwrap_or_default();
    match code {
        "ResourceNotFoundException" => Report::new(
            Reason::TrackingTableNotFound,
            format!("tracking table {table} does not exist"),
            "Create a DynamoDB table with the hash key source of type string, or correct tracking.table and tracking.region.",
        ),
        "AccessDeniedException" | "UnrecognizedClientException" | "InvalidSignatureException" => {
            Report::new(
                Reason::TrackingDenied,
                format!("DynamoDB denies the operator access to tracking table {table}: {code}"),
                "Allow dynamodb:GetItem on the table for the AWS identity of the operator.",
            )
        }
        "ValidationException" => Report::new(
            Reason::TrackingUnreadable,
            format!("tracking table {table} has another hash key"),
            "Use a table whose only key is the hash key source of type string.",
        ),
        _ => {
            tracing::debug!(table, error = %DisplayErrorContext(error), "cannot read the tracking table");
            let kind = match error {
                SdkError::TimeoutError(_) => "no answer in time",
                SdkError::DispatchFailure(_) => "no connection or no credentials",
                _ => code,
            };
            Report::new(
                Reason::TrackingUnreachable,
                format!("tracking table {table} cannot be read: {kind}"),
                "Check the endpoint, the network and the AWS credentials of the operator. The operator tries again by itself.",
            )
        }
    }
}

fn parse<T: DeserializeOwned>(item: Option<Item>) -> Result<Option<T>, Report> {
    let Some(item) = item else { return Ok(None) };
    let schema = item.get("schema").and_then(|value| value.as_n().ok());
    if schema
        .and_then(|number| number.parse().ok())
        .is_some_and(|schema: u32| schema > ITEM_VERSION)
    {
        return Err(Report::new(
            Reason::NewerRelease,
            "a newer release of Tidemark wrote the tracking item",
            "Upgrade the operator to that release.",
        ));
    }
    serde_dynamo::from_item(item).map(Some).map_err(|error| {
        tracing::debug!(%error, "cannot parse the tracking item");
        Report::new(
            Reason::TrackingUnreadable,
            "a tracking item of Tidemark cannot be parsed",
            "Restore the item from a backup of the tracking table, or delete the item and the files of the extract that it describes.",
        )
    })
}
