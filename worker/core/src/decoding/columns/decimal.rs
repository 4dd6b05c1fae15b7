//! `numeric`: its type modifier, its wire form in base 10,000, and its text.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::faults::Fault;
use crate::decoding::columns::target::Target;

/// Most digits of a 128-bit decimal.
const PRECISION_MAX: u8 = 38;
/// Type modifiers include this offset (`VARHDRSZ`).
const MODIFIER_OFFSET: i32 = 4;
/// The sign word of a negative number; 0 is positive, all others are NaN and the infinities.
const NEGATIVE: u16 = 0x4000;
/// The sign words of NaN and of the infinities.
const NOT_FINITE: [u16; 3] = [0xC000, 0xD000, 0xF000];

/// First groups of at most this exponent sum up within a `u64`: 10,000 * 10^14 < 2^63.
const SMALL_EXPONENT: i32 = 14;

/// Powers of ten that a `u128` holds and a decimal of 38 digits needs.
const POWERS: [u128; 39] = {
    let mut powers = [1_u128; 39];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// A decimal where precision and scale are given and fit.
///
/// The modifier is `(precision << 16 | scale in 11 bits, signed) + 4` (`numerictypmodin`).
pub(super) fn target(type_modifier: i32) -> Option<Target> {
    if type_modifier < MODIFIER_OFFSET {
        return None;
    }
    let packed = type_modifier - MODIFIER_OFFSET;
    let precision = (packed >> 16) & 0xFFFF;
    let scale = ((packed & 0x7FF) ^ 1024) - 1024;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=PRECISION_MAX), Ok(scale))
            if 0 <= scale && scale.cast_unsigned() <= precision =>
        {
            Some(Target::Decimal { precision, scale })
        }
        _ => None,
    }
}

/// Reads the wire form as an integer of `scale` digits after the point.
///
/// Wire: `i16` groups, `i16` weight of the first group, `u16` sign, `u16` display scale, then the
/// groups, each 0 to 9,999; the value is the sum of `group[i] * 10,000^(weight - i)`.
pub(super) fn decode(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    let Some((head, groups)) = bytes.split_first_chunk::<8>() else {
        return Err(Fault::Length);
    };
    let count = usize::from(u16::from_be_bytes([head[0], head[1]]));
    let weight = i32::from(i16::from_be_bytes([head[2], head[3]]));
    let sign = u16::from_be_bytes([head[4], head[5]]);
    if NOT_FINITE.contains(&sign) {
        return Err(Fault::NotFinite);
    }
    if groups.len() != count * 2 || (sign != 0 && sign != NEGATIVE) {
        return Err(Fault::Length);
    }
    let magnitude = magnitude(groups, weight * 4 + i32::from(scale))?;
    if magnitude >= POWERS[usize::from(precision.min(PRECISION_MAX))] {
        return Err(Fault::Precision);
    }
    let value = i128::try_from(magnitude).map_err(|_| Fault::Precision)?;
    Ok(if sign == NEGATIVE { -value } else { value })
}

/// Reads plain text of digits as an integer of `scale` digits after the point.
pub(super) fn decode_text(text: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut magnitude, mut below, mut any) = (0_u128, None::<i8>, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                let digit = u128::from(byte - b'0');
                if below == Some(scale) {
                    // beyond the scale nothing but zeros may stand
                    if digit != 0 {
                        return Err(Fault::Precision);
                    }
                    continue;
                }
                magnitude = magnitude
                    .checked_mul(10)
                    .and_then(|number| number.checked_add(digit))
                    .ok_or(Fault::Precision)?;
                below = below.map(|count| count.saturating_add(1));
                any = true;
            }
            b'.' if below.is_none() => below = Some(0),
            _ => return Err(Fault::Malformed),
        }
    }
    let missing = u32::try_from(scale - below.unwrap_or(0)).unwrap_or(0);
    let magnitude = power(missing)
        .and_then(|power| magnitude.checked_mul(power))
        .filter(|magnitude| *magnitude < POWERS[usize::from(precision.min(PRECISION_MAX))])
        .ok_or(Fault::Precision)?;
    let value = i128::try_from(magnitude).map_err(|_| Fault::Precision)?;
    if any { Ok(if negative { -value } else { value }) } else { Err(Fault::Malformed) }
}

/// Sum of the groups, the first of which counts `10^exponent`, the next a ten-thousandth of that.
fn magnitude(groups: &[u8], mut exponent: i32) -> Result<u128, Fault> {
    if exponent <= SMALL_EXPONENT {
        return small_magnitude(groups, exponent).map(u128::from);
    }
    let mut sum = 0_u128;
    for group in groups.chunks_exact(2) {
        let digits = digits(group)?;
        let part = match u32::try_from(exponent) {
            Ok(_) if digits == 0 => 0,
            Ok(exponent) => {
                let power = power(exponent).ok_or(Fault::Precision)?;
                u128::from(digits).checked_mul(power).ok_or(Fault::Precision)?
            }
            Err(_) => u128::from(below_point(digits, exponent)?),
        };
        sum = sum.checked_add(part).ok_or(Fault::Precision)?;
        exponent -= 4;
    }
    Ok(sum)
}

/// The same in 64 bits, for the numbers that most tables are full of.
fn small_magnitude(groups: &[u8], mut exponent: i32) -> Result<u64, Fault> {
    let mut sum = 0_u64;
    for group in groups.chunks_exact(2) {
        let digits = digits(group)?;
        sum += match u32::try_from(exponent) {
            Ok(exponent) => u64::from(digits) * 10_u64.pow(exponent),
            Err(_) => u64::from(below_point(digits, exponent)?),
        };
        exponent -= 4;
    }
    Ok(sum)
}

fn digits(group: &[u8]) -> Result<u16, Fault> {
    let digits = u16::from_be_bytes([group[0], group[1]]);
    if digits > 9_999 { Err(Fault::Malformed) } else { Ok(digits) }
}

/// A group that reaches below the column's scale: what is below must be zeros.
fn below_point(digits: u16, exponent: i32) -> Result<u16, Fault> {
    let power = match exponent {
        -1 => 10,
        -2 => 100,
        -3 => 1_000,
        _ => 10_000,
    };
    if digits.is_multiple_of(power) { Ok(digits / power) } else { Err(Fault::Precision) }
}

fn power(exponent: u32) -> Option<u128> {
    usize::try_from(exponent).ok().and_then(|index| POWERS.get(index)).copied()
}

/// The text of a decimal, all digits of its scale written.
pub(super) fn text(value: i128, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let mut text = String::with_capacity(digits.len() + 2);
    if value < 0 {
        text.push('-');
    }
    text.push_str(whole);
    if !fraction.is_empty() {
        // writing to a String cannot fail
        let _ = write!(text, ".{fraction}");
    }
    text
}

/// The parts of a plain decimal text, zeros that say nothing left out.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

/// Order of two decimals in the database's plain text, of any number of digits.
pub(super) fn compare_text(left: &[u8], right: &[u8]) -> Result<Ordering, Fault> {
    let (left, right) = (parts(left)?, parts(right)?);
    let size = |parts: &Parts<'_>| parts.whole.len();
    let magnitude = size(&left)
        .cmp(&size(&right))
        .then_with(|| left.whole.cmp(right.whole))
        .then_with(|| left.fraction.cmp(right.fraction));
    Ok(match (left.negative, right.negative) {
        (false, false) => magnitude,
        (true, true) => magnitude.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

/// Whether a text is a finite plain decimal.
pub(super) fn check_text(text: &[u8]) -> Result<(), Fault> {
    parts(text).map(|_| ())
}

fn parts(text: &[u8]) -> Result<Parts<'_>, Fault> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if digits.starts_with(b"NaN") || digits.starts_with(b"Infinity") {
        return Err(Fault::NotFinite);
    }
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    let plain = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return Err(Fault::Malformed);
    }
    let start = whole.iter().position(|byte| *byte != b'0').unwrap_or(whole.len());
    let end = fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |at| at + 1);
    let (whole, fraction) = (&whole[start..], &fraction[..end]);
    // there is one zero: "-0.00" equals "0"
    let negative = negative && !(whole.is_empty() && fraction.is_empty());
    Ok(Parts { negative, whole, fraction })
}
