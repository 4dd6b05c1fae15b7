//! Exact decimals of up to 38 digits that keep the scale they were written with.

use std::cmp::Ordering;
use std::fmt;

/// Most digits, before and after the point together.
const DIGITS_MAX: u32 = 38;

/// `unscaled * 10^-scale`. Equal by value: `1.0` equals `1.00`.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    unscaled: i128,
    scale: u32,
}

impl Decimal {
    /// Reads `-12.50`, also with an exponent. `None`: not a decimal, or too many digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let trimmed = digits.trim_start_matches('0');
        let magnitude: i128 = if trimmed.is_empty() { 0 } else { trimmed.parse().ok()? };
        let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
        let (magnitude, scale) = match u32::try_from(scale) {
            Ok(scale) => (magnitude, scale),
            Err(_) => {
                let zeros = u32::try_from(-scale).ok().filter(|zeros| *zeros <= DIGITS_MAX)?;
                (magnitude.checked_mul(10_i128.pow(zeros))?, 0)
            }
        };
        let fits = scale <= DIGITS_MAX && magnitude < 10_i128.pow(DIGITS_MAX);
        fits.then_some(Self { unscaled: if negative { -magnitude } else { magnitude }, scale })
    }

    /// The number less a whole distance; stays as it is where that has too many digits.
    #[must_use]
    pub fn less(self, distance: i64) -> Self {
        let moved = i128::from(distance)
            .checked_mul(10_i128.pow(self.scale))
            .and_then(|distance| self.unscaled.checked_sub(distance))
            .filter(|unscaled| unscaled.abs() < 10_i128.pow(DIGITS_MAX));
        moved.map_or(self, |unscaled| Self { unscaled, ..self })
    }

    /// Digits after the point, as it was written.
    pub const fn scale(self) -> u32 {
        self.scale
    }

    /// How many times `10^-scale` it is; `None` where that has too many digits, or it is no whole
    /// number of them.
    pub fn units(self, scale: u32) -> Option<i128> {
        let zeros = scale.checked_sub(self.scale)?;
        let units = self.unscaled.checked_mul(10_i128.checked_pow(zeros)?)?;
        (units.abs() < 10_i128.pow(DIGITS_MAX)).then_some(units)
    }

    /// So many times `10^-scale`; `None`: too many digits.
    pub fn of_units(unscaled: i128, scale: u32) -> Option<Self> {
        let fits = scale <= DIGITS_MAX && unscaled.unsigned_abs() < 10_u128.pow(DIGITS_MAX);
        fits.then_some(Self { unscaled, scale })
    }

    /// Whole part, rounded down, and what is left in units of `10^-scale`.
    fn parts(self) -> (i128, i128) {
        let unit = 10_i128.pow(self.scale);
        (self.unscaled.div_euclid(unit), self.unscaled.rem_euclid(unit))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((whole, fraction), (other_whole, other_fraction)) = (self.parts(), other.parts());
        let scale = self.scale.max(other.scale);
        // a fraction is below its unit, so that it fits at the greater scale too
        let left = fraction * 10_i128.pow(scale - self.scale);
        let right = other_fraction * 10_i128.pow(scale - other.scale);
        whole.cmp(&other_whole).then(left.cmp(&right))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = self.unscaled.unsigned_abs().to_string();
        let scale = self.scale as usize;
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}
