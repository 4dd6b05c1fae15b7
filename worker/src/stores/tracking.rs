//! The tracking table: consistent reads of its items, and the protocol's transactions on them.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update};
use crds::Reason;
use crds::tracking::WatermarkItem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::protocol::{Expect, Item, ItemWrite, Reply, Transaction};

/// How often a transaction that met another one in flight is sent again.
const CONFLICTS_MAX: u32 = 20;

/// One tracking table.
#[derive(Debug, Clone)]
pub struct TrackingTable {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl TrackingTable {
    /// The table `table`, through `client`.
    pub fn new(client: aws_sdk_dynamodb::Client, table: String) -> Self {
        Self { client, table }
    }

    /// Reads one item, consistently.
    ///
    /// # Errors
    /// As [`tracking_failure`]; `TrackingUnreadable` for an item of another shape.
    pub async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        let reply = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("source", AttributeValue::S(key.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| tracking_failure("read", &self.table, &error))?;
        let Some(item) = reply.item else { return Ok(None) };
        serde_dynamo::from_item(item).map(Some).map_err(|error| {
            Failure::permanent(
                Reason::TrackingUnreadable,
                format!(
                    "item {key} of tracking table {} cannot be parsed: {error}",
                    self.table
                ),
                "Restore the types of the item's attributes. All attributes of the legacy job are strings.",
            )
        })
    }

    /// Account and region of the table, by its ARN: the same with every endpoint.
    ///
    /// # Errors
    /// As [`tracking_failure`].
    pub async fn place(&self) -> Result<String, Failure> {
        let request = self.client.describe_table().table_name(&self.table);
        let reply = Box::pin(request.send())
            .await
            .map_err(|error| tracking_failure("describe", &self.table, &error))?;
        let arn = reply.table.and_then(|table| table.table_arn).unwrap_or_default();
        // arn:<partition>:dynamodb:<region>:<account>:table/<name>
        let parts: Vec<&str> = arn.split(':').collect();
        let [_, partition, _, region, account, _] = parts[..] else {
            return Err(Failure::transient(
                Reason::TrackingUnreadable,
                format!("tracking table {} has no ARN", self.table),
                "Check that tracking.endpoint is a DynamoDB endpoint.",
            ));
        };
        Ok(format!("{partition}:{region}:{account}"))
    }

    /// Writes all of a transaction or nothing. A lost reply is repeated under the same token by
    /// the SDK; an unclear result is returned as `Refused`, and the caller reads.
    ///
    /// # Errors
    /// As [`tracking_failure`].
    pub async fn write(&self, transaction: &Transaction) -> Result<Reply, Failure> {
        let items = transaction
            .writes
            .iter()
            .map(|write| self.item(write))
            .collect::<Result<Vec<_>, Failure>>()?;
        for attempt in 0..CONFLICTS_MAX {
            let request =
                self.client.transact_write_items().set_transact_items(Some(items.clone()));
            let Err(error) = request.send().await else { return Ok(Reply::Done) };
            match cancelled(&error) {
                Some(Cancelled::Condition) => return Ok(Reply::Refused),
                Some(Cancelled::Conflict) => {
                    tokio::time::sleep(Duration::from_millis(20 << attempt.min(6))).await;
                }
                None => return Err(tracking_failure("write", &self.table, &error)),
            }
        }
        Err(Failure::transient(
            Reason::TrackingUnreachable,
            format!("tracking table {}: too many concurrent writes to one item", self.table),
            "Reduce the number of processes that write this item.",
        ))
    }

    fn watermark_item(
        &self,
        key: &str,
        item: &WatermarkItem,
        condition: Condition,
    ) -> Result<TransactWriteItem, Failure> {
        let assignments = Assignments::of(item);
        let (mut names, mut values) = (condition.names, condition.values.unwrap_or_default());
        names.extend(assignments.names);
        values.extend(assignments.values);
        Update::builder()
            .table_name(&self.table)
            .key("source", AttributeValue::S(key.to_owned()))
            .update_expression(assignments.expression)
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build())
            .map_err(|error| defect(&error))
    }

    fn item(&self, write: &ItemWrite) -> Result<TransactWriteItem, Failure> {
        let condition = render(&write.expect)?;
        let built = match &write.put {
            Some(Item::Watermark(item)) => {
                return self.watermark_item(&write.key, item, condition);
            }
            Some(item) => Put::builder()
                .table_name(&self.table)
                .set_item(Some(attributes(item)?))
                .condition_expression(condition.expression)
                .set_expression_attribute_names(Some(condition.names))
                .set_expression_attribute_values(condition.values)
                .build()
                .map(|put| TransactWriteItem::builder().put(put).build()),
            None => ConditionCheck::builder()
                .table_name(&self.table)
                .key("source", AttributeValue::S(write.key.clone()))
                .condition_expression(condition.expression)
                .set_expression_attribute_names(Some(condition.names))
                .set_expression_attribute_values(condition.values)
                .build()
                .map(|check| TransactWriteItem::builder().condition_check(check).build()),
        };
        built.map_err(|error| defect(&error))
    }
}

/// Sets the attributes of the watermark item and no others: what people added to it stays.
struct Assignments {
    expression: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Assignments {
    fn of(item: &WatermarkItem) -> Self {
        let mut made =
            Self { expression: String::new(), names: HashMap::new(), values: HashMap::new() };
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for (name, value) in item.attributes() {
            made.names.insert(format!("#{name}"), name.to_owned());
            match value {
                Some(value) => {
                    set.push(format!("#{name} = :new_{name}"));
                    let value = AttributeValue::S(value.to_owned());
                    made.values.insert(format!(":new_{name}"), value);
                }
                None => remove.push(format!("#{name}")),
            }
        }
        let clauses = [("SET", set), ("REMOVE", remove)].into_iter();
        let written = clauses.filter(|(_, terms)| !terms.is_empty());
        let written = written.map(|(word, terms)| format!("{word} {}", terms.join(", ")));
        made.expression = written.collect::<Vec<_>>().join(" ");
        made
    }
}

fn defect(error: &dyn std::fmt::Display) -> Failure {
    Failure::transient(
        Reason::Internal,
        format!("cannot build a write to the tracking table: {error}"),
        REPORT,
    )
}

fn attributes(item: &Item) -> Result<HashMap<String, AttributeValue>, Failure> {
    let made = match item {
        Item::Watermark(item) => serde_dynamo::to_item(&**item),
        Item::Run(item) => serde_dynamo::to_item(&**item),
        Item::Outcome(item) => serde_dynamo::to_item(&**item),
    };
    made.map_err(|error| defect(&error))
}

fn value<T: Serialize>(value: &T) -> Result<AttributeValue, Failure> {
    serde_dynamo::to_attribute_value(value).map_err(|error| defect(&error))
}

struct Condition {
    expression: String,
    names: HashMap<String, String>,
    values: Option<HashMap<String, AttributeValue>>,
}

/// A condition as DynamoDB's expression; `source` and `state` are reserved words, so every name
/// stands behind a `#`.
fn render(expect: &Expect) -> Result<Condition, Failure> {
    let mut terms: Vec<(&str, Option<AttributeValue>)> = Vec::new();
    match expect {
        Expect::Absent => terms.push(("source", None)),
        Expect::Run { run, state, revision } => {
            terms.push(("run", Some(value(run)?)));
            terms.push(("state", Some(value(state)?)));
            terms.push(("revision", Some(value(revision)?)));
        }
        Expect::Watermark(read) => {
            terms.push(("source", Some(AttributeValue::S(read.source.clone()))));
            let text = |text: &str| AttributeValue::S(text.to_owned());
            terms.extend(read.attributes().map(|(name, value)| (name, value.map(text))));
        }
        Expect::WatermarkLow(low) => {
            terms.push(("lwm_value", Some(AttributeValue::S(low.clone()))));
        }
        Expect::Outcome(read) => {
            terms.push(("attempt", Some(value(&read.attempt)?)));
            terms.push(("result", read.result.as_ref().map(value).transpose()?));
        }
    }
    let names = terms.iter().map(|(name, _)| (format!("#{name}"), (*name).to_owned())).collect();
    let expression = terms
        .iter()
        .map(|(name, value)| match value {
            Some(_) => format!("#{name} = :{name}"),
            None => format!("attribute_not_exists(#{name})"),
        })
        .collect::<Vec<_>>()
        .join(" AND ");
    let values: HashMap<String, AttributeValue> =
        terms.into_iter().filter_map(|(name, value)| Some((format!(":{name}"), value?))).collect();
    Ok(Condition { expression, names, values: (!values.is_empty()).then_some(values) })
}

enum Cancelled {
    Condition,
    Conflict,
}

fn cancelled(error: &SdkError<TransactWriteItemsError>) -> Option<Cancelled> {
    let SdkError::ServiceError(service) = error else { return None };
    match service.err() {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            let has = |code: &str| {
                cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code))
            };
            if has("ConditionalCheckFailed") {
                return Some(Cancelled::Condition);
            }
            let passing =
                ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
            passing.into_iter().any(has).then_some(Cancelled::Conflict)
        }
        TransactWriteItemsError::TransactionInProgressException(_) => Some(Cancelled::Conflict),
        _ => None,
    }
}

/// What a failed request to DynamoDB means to people.
pub fn tracking_failure<E, R>(action: &str, table: &str, error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata,
{
    let code = match error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or("unknown"),
        _ => {
            return Failure::transient(
                Reason::TrackingUnreachable,
                format!("{action} tracking table {table}: no response from DynamoDB"),
                "Check tracking.endpoint and tracking.region, and the network policies of the namespace.",
            );
        }
    };
    match code {
        "ResourceNotFoundException" => Failure::permanent(
            Reason::TrackingTableNotFound,
            format!("tracking table {table} does not exist"),
            "Create the table with the hash key source of type string, or correct tracking.table and tracking.region.",
        ),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException" => Failure::permanent(
            Reason::TrackingDenied,
            format!("{action} tracking table {table}: DynamoDB denies access ({code})"),
            "Allow DescribeTable, GetItem, PutItem, UpdateItem and ConditionCheckItem on the table, and \
             check the credentials.",
        ),
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "ThrottlingError"
        | "RequestLimitExceeded"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "unknown" => Failure::transient(
            Reason::TrackingUnreachable,
            format!("{action} tracking table {table}: DynamoDB returned {code}"),
            "Wait for the next attempt. If the error returns, raise the capacity of the table.",
        ),
        code => Failure::permanent(
            Reason::TrackingUnreachable,
            format!("{action} tracking table {table}: DynamoDB returned {code}"),
            "Check that the table has the hash key source of type string, and that tracking.endpoint is the right DynamoDB endpoint.",
        ),
    }
}
