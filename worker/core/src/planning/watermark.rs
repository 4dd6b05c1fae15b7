//! Watermark values: read leniently, compared exactly, and written as the tracking table has them.

mod calendar;
mod decimal;

use std::cmp::Ordering;

use crds::extract_job::WatermarkType;

pub use decimal::Decimal;

/// One watermark value.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// An exact decimal.
    Decimal(Decimal),
    /// A finite binary floating point number; never `-0.0`.
    Double(f64),
    /// Microseconds since 1970, of the UTC clock or of a clock without zone.
    Timestamp(i64),
    /// Days since 1970.
    Date(i32),
}

/// A text that is not a value of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// NaN or an infinity.
    #[error("value is NaN or infinite")]
    NotFinite,
    /// Anything else.
    #[error("value is not a {expected} or is out of range")]
    Malformed {
        /// The type that it should be of.
        expected: &'static str,
    },
}

impl Value {
    /// Reads a value.
    ///
    /// Lenient: `T` or a space before the time, fractions, a trailing zone (moved to UTC), a
    /// date for a timestamp, and the spaces around.
    ///
    /// # Errors
    /// [`BadValue`].
    pub fn parse(value_type: WatermarkType, text: &str) -> Result<Self, BadValue> {
        let text = text.trim();
        let lower = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
        if matches!(lower.as_str(), "nan" | "inf" | "infinity") {
            return Err(BadValue::NotFinite);
        }
        let value = match value_type {
            WatermarkType::Int => parse_int(text).map(Self::Int),
            WatermarkType::Decimal => Decimal::parse(text).map(Self::Decimal),
            WatermarkType::Double => {
                let parsed = text.parse::<f64>().ok().filter(|number| number.is_finite());
                parsed.map(|number| Self::Double(if number == 0.0 { 0.0 } else { number }))
            }
            WatermarkType::Timestamp => calendar::parse_timestamp(text).map(Self::Timestamp),
            WatermarkType::Date => calendar::parse_date(text).map(Self::Date),
        };
        value.ok_or(BadValue::Malformed { expected: value_type.name() })
    }

    /// The text as Python's `str()` makes it: `12`, `12.50`, `1e-05`, `2023-01-31 10:00:00.5`
    /// with six digits after the point or none, `2023-01-31`.
    pub fn to_text(&self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::Decimal(number) => number.to_string(),
            Self::Double(number) => double_text(*number),
            Self::Timestamp(micros) => calendar::timestamp_text(*micros),
            Self::Date(days) => calendar::date_text(*days),
        }
    }

    /// The type.
    pub const fn value_type(&self) -> WatermarkType {
        match self {
            Self::Int(_) => WatermarkType::Int,
            Self::Decimal(_) => WatermarkType::Decimal,
            Self::Double(_) => WatermarkType::Double,
            Self::Timestamp(_) => WatermarkType::Timestamp,
            Self::Date(_) => WatermarkType::Date,
        }
    }

    /// A clock reading (`digits` after the second; 6 for a column without precision) floored to
    /// the column's precision and taken one tick lower, since the tick that is running may still
    /// bring rows. Numbers have no clock and stay as they are.
    #[must_use]
    pub fn last_whole_tick(&self, digits: u32) -> Self {
        match self {
            Self::Timestamp(micros) => {
                let tick = 10_i64.pow(6_u32.saturating_sub(digits));
                Self::Timestamp((micros.div_euclid(tick)).saturating_sub(1).saturating_mul(tick))
            }
            Self::Date(days) => Self::Date(days.saturating_sub(1)),
            Self::Int(_) | Self::Decimal(_) | Self::Double(_) => *self,
        }
    }

    /// The value that lies so far before this one: seconds for times (whole days, rounded up, for
    /// dates), a distance for numbers.
    #[must_use]
    pub fn back(&self, distance: i64) -> Self {
        match self {
            Self::Timestamp(micros) => {
                Self::Timestamp(micros.saturating_sub(distance.saturating_mul(1_000_000)))
            }
            Self::Date(days) => {
                let back = i32::try_from(distance.saturating_add(86_399) / 86_400);
                Self::Date(days.saturating_sub(back.unwrap_or(i32::MAX)))
            }
            Self::Int(_) | Self::Decimal(_) | Self::Double(_) => self.less(distance),
        }
    }

    /// A number less a distance; times stay as they are, their distance is taken from the clock.
    #[must_use]
    pub fn less(&self, distance: i64) -> Self {
        match self {
            Self::Int(number) => Self::Int(number.saturating_sub(distance)),
            Self::Decimal(number) => Self::Decimal(number.less(distance)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a lag or lookback is at most 30 days in seconds"
            )]
            Self::Double(number) => Self::Double(number - distance as f64),
            Self::Timestamp(_) | Self::Date(_) => *self,
        }
    }
}

/// A whole number, also as `12.0`: the watermark item is shared with the legacy job and with people.
fn parse_int(text: &str) -> Option<i64> {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        Some(_) => return None,
        None => text,
    };
    whole.parse().ok()
}

/// The shortest text that reads back the same, laid out as Python's `repr`: an exponent from
/// 1e16 up and below 1e-4.
fn double_text(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        format!("{number:?}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            // never within one column; the order exists so that sorting cannot fail
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

const fn rank(value: &Value) -> u8 {
    match value {
        Value::Int(_) => 0,
        Value::Decimal(_) => 1,
        Value::Double(_) => 2,
        Value::Timestamp(_) => 3,
        Value::Date(_) => 4,
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

#[cfg(test)]
mod tests;
