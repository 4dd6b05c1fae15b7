//! Reads the items of the tracking table: strongly consistent, bounded in time, never written.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use crds::task::TaskTracking;
use crds::tracking::{ITEM_VERSION, WatermarkItem, outcome_key, run_key};
use crds::{Reason, Report};
use operator_core::mirror::Batch;
use operator_core::observed::TrackingRead;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

/// Region of servers that are not AWS, where none is named.
const REGION: &str = "us-east-1";
/// Clients that are kept; there is one for each region and endpoint in use.
const CLIENTS_MAX: usize = 64;
/// The hash key.
const KEY: &str = "source";
/// Requests for one batch: DynamoDB may answer for a part of it.
const BATCH_TRIES: u32 = 5;
/// Pause before the next of them; it doubles.
const BATCH_PAUSE: Duration = Duration::from_millis(100);

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
        let (run, item, outcome) = futures::try_join!(
            get(&client, at, run_key(&at.key)),
            get(&client, at, at.key.clone()),
            get(&client, at, outcome_key(&at.key, uid)),
        )?;
        Ok(TrackingRead {
            run: parse(run)?,
            watermark_item: item.as_ref().map(watermark_item),
            outcome: parse(outcome)?,
        })
    }

    /// The watermark items of a batch, by key; eventually consistent. A key that DynamoDB does not answer
    /// for is left out, and one without an item has `None`.
    ///
    /// # Errors
    /// A report with a remedy.
    pub(crate) async fn watermarks(
        &self,
        batch: &Batch,
    ) -> Result<HashMap<String, Option<WatermarkItem>>, Report> {
        let client = self.client(&batch.at).await;
        let table = &batch.at.table;
        let mut read: HashMap<_, _> = batch.keys.iter().map(|key| (key.clone(), None)).collect();
        let mut left = batch.keys.clone();
        for round in 0..BATCH_TRIES {
            if left.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(BATCH_PAUSE * (1 << round)).await;
            }
            let keys = left.iter().map(|key| Item::from([(KEY.to_owned(), text(key))])).collect();
            let keys = KeysAndAttributes::builder().set_keys(Some(keys)).build();
            let keys = keys.map_err(|_| unanswered(table))?;
            let request = client.batch_get_item().request_items(table, keys);
            let reply = Box::pin(request.send()).await;
            let reply = reply.map_err(|error| report(table, "BatchGetItem", &error))?;
            for item in reply.responses.unwrap_or_default().into_values().flatten() {
                let item = watermark_item(&item);
                read.insert(item.source.clone(), Some(item));
            }
            let unprocessed = reply.unprocessed_keys.unwrap_or_default().into_values();
            let unprocessed = unprocessed.flat_map(|keys| keys.keys);
            left = unprocessed.filter_map(|key| key.get(KEY)?.as_s().ok().cloned()).collect();
        }
        read.retain(|key, _| !left.contains(key));
        Ok(read)
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

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn unanswered(table: &str) -> Report {
    Report::new(Reason::Internal, format!("no keys to read in the tracking table {table}"), "")
}

/// The watermark item. Other programs write it too: what is not a text is left out.
fn watermark_item(item: &Item) -> WatermarkItem {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    WatermarkItem {
        source: text(KEY).unwrap_or_default(),
        hwm_value: text("hwm_value"),
        lwm_value: text("lwm_value"),
        hwm_col_name: text("hwm_col_name"),
        hwm_column_type: text("hwm_column_type"),
        extract_type: text("extract_type"),
        updated_at: text("updated_at"),
        extract_successful: text("extract_successful"),
        extract_metadata: text("extract_metadata"),
    }
}

async fn get(client: &Client, at: &TaskTracking, key: String) -> Result<Option<Item>, Report> {
    let request = client
        .get_item()
        .table_name(&at.table)
        .key(KEY, AttributeValue::S(key))
        .consistent_read(true);
    match Box::pin(request.send()).await {
        Ok(reply) => Ok(reply.item),
        Err(error) => Err(report(&at.table, "GetItem", &error)),
    }
}

fn report<E>(table: &str, action: &str, error: &SdkError<E>) -> Report
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
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
                format!(
                    "Allow dynamodb:{action} on the table for the AWS identity of the operator."
                ),
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
