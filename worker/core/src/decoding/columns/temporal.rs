//! `date`, `time`, `timestamp` and `timestamptz`: from Postgres' epoch to Unix', and their text.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::faults::Fault;

/// 1970-01-01 to 2000-01-01, Postgres' epoch, in days.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// A day in microseconds.
const DAY_MICROS: i64 = 86_400_000_000;
/// Years that the texts of the tracking table (Python's `datetime`) can name.
const YEARS: std::ops::RangeInclusive<i16> = 1..=9999;

/// Days since 1970 of a `date`.
pub(super) fn days(bytes: &[u8]) -> Result<i32, Fault> {
    let days = i32::from_be_bytes(bytes.try_into().map_err(|_| Fault::Length)?);
    if days == i32::MAX || days == i32::MIN {
        return Err(Fault::NotFinite);
    }
    days.checked_add(EPOCH_DAYS).ok_or(Fault::Year)
}

/// Microseconds since midnight of a `time`. Postgres has 24:00:00, which no clock shows.
pub(super) fn of_day(bytes: &[u8]) -> Result<i64, Fault> {
    match i64::from_be_bytes(bytes.try_into().map_err(|_| Fault::Length)?) {
        micros @ 0..DAY_MICROS => Ok(micros),
        DAY_MICROS => Err(Fault::EndOfDay),
        _ => Err(Fault::Malformed),
    }
}

/// Microseconds since 1970 of a `timestamp` or `timestamptz`.
pub(super) fn micros(bytes: &[u8]) -> Result<i64, Fault> {
    let micros = i64::from_be_bytes(bytes.try_into().map_err(|_| Fault::Length)?);
    if micros == i64::MAX || micros == i64::MIN {
        return Err(Fault::NotFinite);
    }
    // the last moment of 64 bits is infinity to DuckDB
    micros.checked_add(EPOCH_MICROS).filter(|micros| *micros < i64::MAX).ok_or(Fault::Year)
}

/// `2023-01-31`.
pub(super) fn days_text(days: i32) -> Result<String, Fault> {
    let date = Date::constant(1970, 1, 1)
        .checked_add(jiff::SignedDuration::from_hours(i64::from(days) * 24))
        .map_err(|_| Fault::Year)?;
    if !YEARS.contains(&date.year()) {
        return Err(Fault::Year);
    }
    Ok(format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
}

/// `2023-01-31 10:00:00`, and six digits more where there are any: Python's `str(datetime)`.
pub(super) fn micros_text(micros: i64) -> Result<String, Fault> {
    let time = Timestamp::from_microsecond(micros)
        .map_err(|_| Fault::Year)?
        .to_zoned(TimeZone::UTC)
        .datetime();
    if !YEARS.contains(&time.year()) {
        return Err(Fault::Year);
    }
    let (date, clock) = (time.date(), time.time());
    let mut text = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        // writing to a String cannot fail
        let _ = write!(text, ".{fraction:06}");
    }
    Ok(text)
}
