//! The column that grows, and how a window over it is bounded: `spec.extract.watermark`.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Column by which Tidemark finds new rows, and the start and end of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (rules::INT_ENDS, "watermark.low and .high must be whole numbers, because watermark.type is int"))]
#[x_kube(validation = (rules::NUMBER_ENDS, "watermark.low and .high must be numbers, because watermark.type is decimal or double"))]
#[x_kube(validation = (rules::DATE_ENDS, "watermark.low and .high must be dates (2023-01-31), because watermark.type is date"))]
#[x_kube(validation = (rules::TIMESTAMP_ENDS, "watermark.low and .high must be timestamps (2023-01-31 10:00:00), because watermark.type is timestamp"))]
#[x_kube(validation = (
    rules::SECONDS_OF_TIMES,
    "watermark.lagSeconds and .lookbackSeconds are for the types timestamp and date: set lagUnits and lookbackUnits"
))]
#[x_kube(validation = (
    rules::UNITS_OF_NUMBERS,
    "watermark.lagUnits and .lookbackUnits are for the types int, decimal and double: set lagSeconds and lookbackSeconds"
))]
#[x_kube(validation = (rules::ENDS_ASCEND, "watermark.low must not be greater than watermark.high: swap them"))]
pub struct Watermark {
    /// Name of the column.
    #[schemars(length(min = 1, max = 64))]
    pub column: String,
    /// Type of the values of the column.
    #[serde(rename = "type")]
    pub value_type: WatermarkType,
    /// Start of the window, exclusive for PE and inclusive for FE. For PE it applies to the first run only. Later
    /// runs start where the last run ended. Defaults to the beginning of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub low: Option<String>,
    /// End of the window, inclusive. `-1` means no end. Defaults to `-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub high: Option<String>,
    /// Who writes the values of the column. The guards `exact` and `waited` need `database`. Defaults to
    /// `application`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamped_by: Option<StampedBy>,
    /// Number of seconds between the end of the window and the clock, for the types `timestamp` and `date`. Applies
    /// only if the guard is neither `exact` nor `waited`. Defaults to 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub lag_seconds: Option<i64>,
    /// Distance between the end of the window and the maximum of the column, in the unit of the column, for the types
    /// `int`, `decimal` and `double`. Applies only if the guard is not `waited`. Defaults to none: the guard is then
    /// `unguarded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub lag_units: Option<i64>,
    /// Maximum number of seconds that a run waits for open transactions to end, for the guard `waited`. Defaults to
    /// 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub wait_seconds: Option<i64>,
    /// Number of seconds below the stored watermark from which rows are read again, for the types `timestamp` and
    /// `date`. The run then also extracts rows that were committed late. The stored watermark never moves back.
    /// Readers must remove duplicate rows by their key. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub lookback_seconds: Option<i64>,
    /// Distance below the stored watermark from which rows are read again, in the unit of the column, for the types
    /// `int`, `decimal` and `double`. It has the same effect as `lookbackSeconds`. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub lookback_units: Option<i64>,
    /// Time zone of the values in a column without a time zone, such as `Europe/Berlin`. Defaults to the time zone of
    /// the server. On Postgres, the guard is `unguarded` if this field is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// What happens to rows whose watermark is NULL. Defaults to `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_policy: Option<NullPolicy>,
}

impl Watermark {
    /// The lag that fits the type: seconds for times, units of the column for numbers.
    pub fn lag(&self) -> Option<i64> {
        if self.value_type.is_time() { self.lag_seconds } else { self.lag_units }
    }

    /// The lookback that fits the type, like [`Self::lag`].
    pub fn lookback(&self) -> Option<i64> {
        if self.value_type.is_time() { self.lookback_seconds } else { self.lookback_units }
    }

    /// Whether a distance is given in the unit of another type: the rule of the schema, for manifests that the
    /// API server does not check.
    pub fn has_other_unit(&self) -> bool {
        let other = if self.value_type.is_time() {
            [self.lag_units, self.lookback_units]
        } else {
            [self.lag_seconds, self.lookback_seconds]
        };
        other.iter().any(Option::is_some)
    }
}

/// Type of the values of a watermark column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WatermarkType {
    /// Whole numbers of up to 64 bits.
    #[serde(rename = "int", alias = "IntegerType", alias = "LongType")]
    Int,
    /// Exact decimals.
    #[serde(rename = "decimal", alias = "DecimalType")]
    Decimal,
    /// Binary floating-point numbers.
    #[serde(rename = "double", alias = "FloatType", alias = "DoubleType")]
    Double,
    /// Points in time, with or without time zone, to the microsecond.
    #[serde(rename = "timestamp", alias = "TimestampType")]
    Timestamp,
    /// Dates.
    #[serde(rename = "date", alias = "DateType")]
    Date,
}

impl WatermarkType {
    /// The word written to manifests and to the tracking table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Double => "double",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
        }
    }

    /// Reads the words of both the manifest and the legacy job; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "int" | "IntegerType" | "LongType" => Some(Self::Int),
            "decimal" | "DecimalType" => Some(Self::Decimal),
            "double" | "FloatType" | "DoubleType" => Some(Self::Double),
            "timestamp" | "TimestampType" => Some(Self::Timestamp),
            "date" | "DateType" => Some(Self::Date),
            _ => None,
        }
    }

    /// The text below every value of the type: a first run without `low` starts there, and reads
    /// it as "no lower bound".
    pub const fn minimum_text(self) -> &'static str {
        match self {
            Self::Int => "-9223372036854775808",
            Self::Decimal => "-99999999999999999999999999999999999999",
            Self::Double => "-1.7976931348623157e+308",
            Self::Timestamp => "0001-01-01 00:00:00",
            Self::Date => "0001-01-01",
        }
    }

    /// Where the legacy job began with `IntegerType`.
    pub const INTEGER_MINIMUM_TEXT: &str = "-2147483648";
    /// Where it began with `FloatType`.
    pub const FLOAT_MINIMUM_TEXT: &str = "-3.4028234663852886e+38";

    /// Whether a start of this text takes all rows: the least value of the type itself, or of the
    /// narrower type that the legacy job knew, or nothing, as its Python wrote it.
    pub fn is_beginning(self, text: &str) -> bool {
        let narrower = match self {
            Self::Int => text == Self::INTEGER_MINIMUM_TEXT,
            Self::Double => text == Self::FLOAT_MINIMUM_TEXT,
            // no value of these types, and the database would refuse it
            Self::Timestamp | Self::Date => text == "-1",
            Self::Decimal => false,
        };
        narrower || text == self.minimum_text() || matches!(text, "" | "None")
    }

    /// The field of [`Watermark`] that keeps the end of a window behind rows that are committed late.
    pub const fn lag_field(self) -> &'static str {
        if self.is_time() { "lagSeconds" } else { "lagUnits" }
    }

    /// Whether the values are points in time.
    pub const fn is_time(self) -> bool {
        matches!(self, Self::Timestamp | Self::Date)
    }
}

/// Who sets the values of a watermark column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StampedBy {
    /// An application, by its own clock or counter.
    #[default]
    Application,
    /// The database server, by a default or a trigger with its clock or sequence.
    Database,
}

/// What happens to rows whose watermark is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NullPolicy {
    /// The run fails.
    #[default]
    Fail,
    /// Each window contains them.
    Include,
    /// They are left out.
    Exclude,
}

/// What CLAIM wrote into the stored watermark, as long as no run has published with it: a correction in
/// the manifest takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provisional {
    /// The whole item.
    Item,
    /// Column and type; the rest was there before.
    Column,
}
