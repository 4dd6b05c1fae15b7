//! Where the Parquet files go, and where the watermark is kept: `spec.output`, `spec.tracking`.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::source::SecretRef;

/// Where the Parquet files go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// `s3://<bucket>/<prefix>`. A prefix belongs to one source.
    #[schemars(length(min = 6, max = 900))]
    #[x_kube(validation = (
        "self.matches('^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/].*[^/]$|^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/]$')",
        "uri must be s3://<bucket>/<prefix>: a prefix is needed, without a slash at its end"
    ))]
    #[x_kube(validation = (
        "!self.contains('..') && !self.matches('[[:cntrl:]]') && !self.substring(5).contains('//')",
        "uri must not hold '..', '//' or control characters"
    ))]
    pub uri: String,
    /// Endpoint of an S3 server other than AWS, such as `http://s3.example:8333`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    #[x_kube(validation = ("self.matches('^https?://[^/]+$')", "endpoint must be http(s)://<host>[:<port>]"))]
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the path and not in the host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// AWS region of the bucket; the pod's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
    /// Seconds that files replaced by a full extract or reingest are kept, for readers that follow
    /// `current.json` and are still at work; readers that list the prefix see both until then. 0
    /// when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 31_536_000))]
    pub retain_replaced: Option<u64>,
    /// A Secret of this namespace with the keys `accessKeyId` and `secretAccessKey`;
    /// the pod's own identity when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// The DynamoDB table that holds the watermark. The chart's values stand in for what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracking {
    /// Name of the table; its hash key is the text attribute `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 255))]
    pub table: Option<String>,
    /// AWS region of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
    /// Endpoint of a DynamoDB server other than AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    #[x_kube(validation = ("self.matches('^https?://[^/]+$')", "endpoint must be http(s)://<host>[:<port>]"))]
    pub endpoint: Option<String>,
    /// A Secret of this namespace with the keys `accessKeyId` and `secretAccessKey`, for the
    /// pods; the pod's own identity when left out. The operator uses its own rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Key of the source in the table; `<database>.<table>` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    #[x_kube(validation = ("!self.contains('#')", "key must not hold '#', which separates our own items from the source's"))]
    pub key: Option<String>,
}
