//! How a table is divided into partitions, as a user writes it: `spec.extract.partition`.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// How the table is divided into partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.column) || (has(self.strategy) && self.strategy in ['auto', 'ctid', 'hash', 'none'])",
    "partition.column is missing: name the column to divide by, or set strategy to auto, ctid, hash or none"
))]
#[x_kube(validation = (
    "!has(self.rebalance) || !self.rebalance || !has(self.strategy) || self.strategy == 'quantile'",
    "partition.rebalance needs strategy quantile: leave strategy out, or set it to quantile"
))]
#[x_kube(validation = (
    "!has(self.strategy) || !(self.strategy in ['ctid', 'none']) || !has(self.column)",
    "partition.strategy ctid and none use no column: leave partition.column out"
))]
#[x_kube(validation = (
    "!has(self.strategy) || self.strategy != 'none' || !has(self.count) || self.count == 1",
    "partition.strategy none is one partition: leave count out, or set another strategy"
))]
#[x_kube(validation = (
    rules::BOUNDS_OF_STRIDES,
    "partition.lowerBound and upperBound apply to strategy range only: leave them out, or set strategy to range"
))]
#[x_kube(validation = (
    rules::BOUNDS_ALIKE,
    "partition.lowerBound and upperBound must be two whole numbers, two dates (2023-01-31) or two timestamps (2023-01-31 10:00:00)"
))]
#[x_kube(validation = (rules::BOUNDS_ASCEND, "partition.lowerBound must not be greater than upperBound: swap them"))]
pub struct Partition {
    /// Column to divide by. For `range` an integer, decimal, date or timestamp; for `quantile` also a uuid or
    /// text; for `hash` any type. Defaults to the primary key for `auto` and `hash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub column: Option<String>,
    /// Lower bound of the column. Together with `upperBound` it sets the stride of strategy `range`. Rows below
    /// it are read too. Ignored for type PE. Defaults to the minimum of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (
        "self.matches('^(-?[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?)?)$')",
        "partition.lowerBound must be a whole number, a date or a timestamp"
    ))]
    pub lower_bound: Option<String>,
    /// Upper bound of the column. Together with `lowerBound` it sets the stride of strategy `range`. Rows above
    /// it are read too. Ignored for type PE. Defaults to the maximum of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (
        "self.matches('^(-?[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?)?)$')",
        "partition.upperBound must be a whole number, a date or a timestamp"
    ))]
    pub upper_bound: Option<String>,
    /// Number of partitions. Defaults to one for each 5 million rows or 1 GiB of the estimated size, at most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: Option<u32>,
    /// How the table is divided. Defaults to `range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Whether partitions have equal row counts instead of equal strides. The same as `strategy: quantile`.
    /// Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<bool>,
}

/// How the table is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// Tidemark chooses the strategy. `tidemark plan` and the status show the choice and its reason.
    Auto,
    /// Equal strides between the minimum and the maximum of the column. One partition also has the rows in which the
    /// column is NULL.
    Range,
    /// Equal row counts, estimated by the statistics of the server or by a sample.
    Quantile,
    /// Equal numbers of table blocks. Only for plain tables and materialized views of Postgres. Needs no column.
    Ctid,
    /// Equal shares of the hash values of the column or of the primary key. Each partition reads the whole table.
    Hash,
    /// One partition.
    None,
}

impl Strategy {
    /// The word used in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Range => "range",
            Self::Quantile => "quantile",
            Self::Ctid => "ctid",
            Self::Hash => "hash",
            Self::None => "none",
        }
    }
}
