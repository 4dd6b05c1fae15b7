//! Days and microseconds since 1970 to text and back, in the proleptic Gregorian calendar, for
//! all years that Postgres knows (a calendar library stops at 9999).

/// Microseconds of a day.
pub(super) const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a civil date (H. Hinnant, `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The civil date of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `2023-01-31`; years before 1 have ` BC` as in Postgres, which `suffix` returns apart.
fn date_parts(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days);
    let (shown, suffix) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    (format!("{shown:04}-{month:02}-{day:02}"), suffix)
}

/// A date as text.
pub(super) fn date_text(days: i32) -> String {
    let (text, suffix) = date_parts(i64::from(days));
    text + suffix
}

/// A timestamp as text, `.ffffff` only where there is a fraction.
pub(super) fn timestamp_text(micros: i64) -> String {
    let (date, suffix) = date_parts(micros.div_euclid(DAY_US));
    let of_day = micros.rem_euclid(DAY_US);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}{suffix}")
}

/// Reads a date, or the date of a timestamp. `None`: not a date.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let (micros, has_time) = parse(text)?;
    // a zone would move the day, so only the day as written counts
    let days = if has_time { parse(text.get(..date_len(text)?)?)?.0 } else { micros } / DAY_US_WIDE;
    i32::try_from(days).ok()
}

/// Reads a timestamp; a date is its midnight, a zone moves it to UTC.
pub(super) fn parse_timestamp(text: &str) -> Option<i64> {
    i64::try_from(parse(text)?.0).ok()
}

const DAY_US_WIDE: i128 = DAY_US as i128;

fn date_len(text: &str) -> Option<usize> {
    let dash = text.find('-')?;
    Some(dash + "-MM-DD".len())
}

/// Microseconds, exact multiples of a day for a bare date, and whether a time was there.
fn parse(text: &str) -> Option<(i128, bool)> {
    let (text, before_christ) = match text.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let date_end = date_len(text)?;
    let days = civil(text.get(..date_end)?, before_christ)?;
    let midnight = i128::from(days) * DAY_US_WIDE;
    let rest = text.get(date_end..)?;
    if rest.is_empty() {
        return Some((midnight, false));
    }
    let time = rest.strip_prefix('T').or_else(|| rest.strip_prefix(' '))?;
    let zone_at = time.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'));
    let (clock, zone) = time.split_at(zone_at.unwrap_or(time.len()));
    Some((midnight + i128::from(clock_micros(clock)? - zone_micros(zone)?), true))
}

fn civil(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if !(4..=6).contains(&year.len()) || parts.next().is_some() {
        return None;
    }
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    let year = if before_christ { 1 - year } else { year };
    let days = days_from_civil(year, month, day);
    // the 31st of June comes back as the 1st of July
    ((1..=12).contains(&month) && civil_from_days(days) == (year, month, day)).then_some(days)
}

fn clock_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let (hour, minute) = (digits2(parts.next()?)?, digits2(parts.next()?)?);
    let second = parts.next().map_or(Some(0), digits2)?;
    let valid = parts.next().is_none() && hour <= 23 && minute <= 59 && second <= 59;
    if !valid || fraction.len() > 9 {
        return None;
    }
    let fraction = if fraction.is_empty() { 0 } else { digits(&format!("{fraction:0<9}"))? / 1000 };
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction)
}

/// `Z`, `+02`, `+0230`, `+02:30`, `-05:30:15`.
fn zone_micros(text: &str) -> Option<i64> {
    let (sign, rest) = match text.trim_start() {
        "" | "Z" | "z" | "UTC" => return Some(0),
        zone => match zone.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        },
    };
    let plain = rest.replace(':', "");
    if !matches!(plain.len(), 2 | 4 | 6) {
        return None;
    }
    let all = digits(&format!("{plain:0<6}"))?;
    let seconds = (all / 10_000) * 3600 + (all / 100 % 100) * 60 + all % 100;
    (seconds < 86_400).then_some(sign * seconds * 1_000_000)
}

fn digits2(text: &str) -> Option<i64> {
    (text.len() == 2).then(|| digits(text))?
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}
