//! Times as people read them, and the one place that reads the system's clocks.
//!
//! Times are microseconds since the Unix epoch, or RFC 3339 text in UTC. Rules get time as an argument, and no clock decides
//! whether a record is a duplicate: clocks are for display and retention.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fmt;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch, now.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Microseconds of a clock that never goes back, from an arbitrary start.
pub fn steady_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since the Unix epoch, shown as RFC 3339 in UTC: `2026-11-23T10:11:12.131415Z`.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = i64::try_from(self.0).unwrap_or(i64::MAX);
        // The year 9999 ends before u64 does.
        let moment = Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX);
        write!(f, "{moment:.6}")
    }
}

/// The same as a text of its own.
pub fn rfc3339(us: u64) -> String {
    Rfc3339(us).to_string()
}

/// The time of day of [`rfc3339`], with milliseconds.
pub fn time_of_day(us: u64) -> String {
    rfc3339(us).get(11..23).unwrap_or("").to_owned()
}

/// Reads RFC 3339, or a day alone, which begins in UTC. None for what is neither, and for times before 1970.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    // A date's own parser would take a time without a zone and leave the time out.
    let day = || {
        let date: Date = text.parse().ok().filter(|_| !text.contains(['T', 't', ' ', ':']))?;
        date.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp())
    };
    let moment = text.parse::<Timestamp>().ok().or_else(day)?;
    u64::try_from(moment.as_microsecond()).ok()
}

/// Reads what a user types: an RFC 3339 time or a day in UTC, seconds since the epoch, or how long ago (90s, 10m, 2h, 1d).
pub fn parse_moment(text: &str, now_us: u64) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000);
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return parse_rfc3339(text),
    };
    let ago = number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000)?;
    Some(now_us.saturating_sub(ago))
}

/// The same for the value of a flag.
///
/// # Errors
/// A sentence that names the flag, its value and what it must be.
pub fn parse_flag(flag: &str, text: &str, now_us: u64) -> Result<u64, String> {
    parse_moment(text, now_us).ok_or_else(|| {
        format!(
            "{flag}: `{text}` must be an RFC 3339 time in UTC, seconds since the epoch, or how long ago: 90s, 10m, 2h, 1d"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
        assert_eq!(parse_rfc3339("2000-02-29"), Some(951_782_400_000_000));
        assert_eq!(parse_rfc3339("2000-02-29T00:00:00.5Z"), Some(951_782_400_500_000));
        assert_eq!(parse_rfc3339("2000-02-29T01:00:00+01:00"), Some(951_782_400_000_000));
        assert_eq!(rfc3339(u64::MAX), "9999-12-30T22:00:00.999999Z");
        for bad in ["", "2000-02-29T00:00:00", "2000-13-01", "1969-12-31", "x", "2000-02-29T25:00:00Z"] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_that_a_user_types() {
        assert_eq!(parse_moment("5", 0), Some(5_000_000));
        assert_eq!(parse_moment("2m", 200_000_000), Some(80_000_000));
        assert_eq!(parse_moment("1970-01-02", 0), Some(86_400_000_000));
        for bad in ["", "x", "m", "1.5h", "yesterday"] {
            assert_eq!(parse_moment(bad, 0), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_comes_back(us in 0u64..200_000_000_000_000_000) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(us)), Some(us));
        }
    }
}
