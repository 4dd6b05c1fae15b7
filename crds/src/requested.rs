//! `tidemark.dev/requested-at`: a time that asks for another run of an object that has an outcome.
//!
//! Operator and worker compare the values with the functions of this file and nowhere else. Values are
//! compared as instants: time zone and form of the text do not count.

use std::time::Duration;

use jiff::Timestamp;

use crate::condition::{Reason, Report};
use crate::task::REQUESTED_AT;

/// How far a value may lie ahead of the clock: clocks differ, but not by more than a day.
pub const AHEAD_MAX: Duration = Duration::from_hours(24);

/// Characters of an invalid value that a message repeats.
const SHOWN_MAX: usize = 64;

/// The instant that `text` names; `None` if it is not an RFC 3339 time with at most nine digits of a
/// second.
pub fn instant(text: &str) -> Option<Timestamp> {
    if has_form(text) { text.parse().ok() } else { None }
}

/// Whether the text has the form of RFC 3339, `YYYY-MM-DDThh:mm:ss`, a fraction, and a zone. The parser
/// takes other forms too.
fn has_form(text: &str) -> bool {
    let bytes = text.as_bytes();
    let time = |at: &[u8], form: &[u8]| {
        at.len() == form.len()
            && at.iter().zip(form).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't' | b' '),
                _ => byte == wanted,
            })
    };
    let (Some(start), Some(rest)) = (bytes.get(..19), bytes.get(19..)) else { return false };
    let zone = match rest.split_first() {
        Some((b'.', rest)) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            rest.get(digits..).unwrap_or_default()
        }
        _ => rest,
    };
    time(start, b"0000-00-00T00:00:00")
        && match zone.split_first() {
            Some((b'Z' | b'z', rest)) => rest.is_empty(),
            Some((b'+' | b'-', rest)) => time(rest, b"00:00"),
            _ => false,
        }
}

/// Whether `asked` asks for a run that `honoured` has not started: it is a later instant. A value that is
/// not a time asks for nothing, and every time is later than none.
pub fn is_later(asked: Option<&str>, honoured: Option<&str>) -> bool {
    asked.and_then(instant) > honoured.and_then(instant)
}

/// The latest of these values that are times; of equal instants the first.
pub fn latest<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Option<&'a str> {
    let times = values.into_iter().flatten().filter(|text| instant(text).is_some());
    times.reduce(|latest, text| if is_later(Some(text), Some(latest)) { text } else { latest })
}

/// Checks the annotation by a clock that shows `now`.
///
/// # Errors
/// `InvalidRequest` for a value that is not a time, or lies more than [`AHEAD_MAX`] ahead.
pub fn check(text: &str, now: Timestamp) -> Result<(), Report> {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let Some(at) = instant(text) else {
        return Err(Report::new(
            Reason::InvalidRequest,
            format!("annotation {REQUESTED_AT} is not an RFC 3339 time: {shown:?}"),
            format!("Set it to the present time, {REQUESTED_AT}=\"$(date -Is)\"."),
        ));
    };
    if now.checked_add(AHEAD_MAX).is_ok_and(|most| at > most) {
        return Err(Report::new(
            Reason::InvalidRequest,
            format!(
                "annotation {REQUESTED_AT} is more than one day ahead of the operator: {shown}"
            ),
            format!(
                "Set it to the present time, {REQUESTED_AT}=\"$(date -Is)\". If it is the present \
                 time, correct the clock of the operator's node."
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        instant(text).unwrap_or_else(|| unreachable!("{text} is a time"))
    }

    #[test]
    fn only_rfc_3339_times_are_instants() {
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01t00:00:00z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.5+01:00",
            "2026-01-01T00:00:00.123456789-11:30",
            "2016-12-31T23:59:60Z",
            "2026-01-01T00:00:00-00:00",
        ] {
            assert!(instant(text).is_some(), "{text}");
        }
        for text in [
            "",
            "again",
            "1767225600",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00Z",
            "20260101T000000Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+01",
            "2026-01-01T00:00:00Z[UTC]",
            "2026-02-30T00:00:00Z",
            "2026-01-01T24:00:01Z",
            "2026-01-01T00:00:00+01:00é",
            " 2026-01-01T00:00:00Z",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn value_is_later_by_its_instant_and_not_by_its_text() {
        let (early, late) = ("2026-01-01T23:00:00+14:00", "2026-01-01T12:00:00Z");
        assert!(early > late, "as text the other way round");
        assert!(is_later(Some(late), Some(early)) && !is_later(Some(early), Some(late)));
        let same = ["2026-01-01T12:00:00Z", "2026-01-01T13:00:00.000+01:00"];
        assert!(!is_later(Some(same[0]), Some(same[1])) && !is_later(Some(same[1]), Some(same[0])));
        let nearly = "2026-01-01T12:00:00.000000001Z";
        assert!(is_later(Some(nearly), Some(late)));
        assert!(is_later(Some(late), None) && !is_later(None, Some(late)) && !is_later(None, None));
        assert!(!is_later(Some("again"), None), "a text that is not a time starts no run");
        assert!(is_later(Some(late), Some("again")));
    }

    #[test]
    fn latest_is_the_first_of_the_latest_times() {
        let (zone, utc) = ("2026-01-01T13:00:00+01:00", "2026-01-01T12:00:00Z");
        let early = "2026-01-01T23:00:00+14:00";
        assert_eq!(latest([Some(early), None, Some("zz"), Some(zone), Some(utc)]), Some(zone));
        assert_eq!(latest([None, Some("again")]), None);
    }

    #[test]
    fn a_day_ahead_is_the_most_that_is_valid() {
        let now = at("2026-01-01T12:00:00Z");
        for text in ["2026-01-02T12:00:00Z", "1970-01-01T00:00:00Z", "2026-01-02T13:00:00+01:00"] {
            assert_eq!(check(text, now), Ok(()), "{text}");
        }
        for text in ["2026-01-02T12:00:00.000000001Z", "9999-12-31T00:00:00Z", "again", ""] {
            let report = check(text, now).err().unwrap_or_else(|| unreachable!("{text}"));
            assert_eq!(report.reason, Reason::InvalidRequest);
            assert!(!report.remedy.is_empty() && report.message.contains(REQUESTED_AT));
        }
        let long = check(&"x".repeat(10_000), now).err().map(|report| report.message.len());
        assert!(long.is_some_and(|length| length < 200), "{long:?}");
    }
}
