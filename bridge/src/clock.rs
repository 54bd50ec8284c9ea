//! Clock: moments as people read them, and the one place that asks what time it is.
//!
//! Takes microseconds since the Unix epoch, or RFC 3339 text in UTC. Gives the other.
//! Touches the system's clocks, at the rim only: the rules get time as an argument.
//! Never used to decide whether a record is a duplicate: clocks are for display.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const SECOND_US: u64 = 1_000_000;
const DAY_S: i64 = 86_400;

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
        let Rfc3339(us) = *self;
        let seconds = i64::try_from(us / SECOND_US).unwrap_or(i64::MAX);
        let (y, m, d) = civil(seconds.div_euclid(DAY_S));
        let s = seconds.rem_euclid(DAY_S);
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:06}Z", s / 3600, s / 60 % 60, s % 60, us % SECOND_US)
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

/// Reads what [`rfc3339`] writes; the fraction may be missing or shorter, the day alone will do, and the zone must be `Z`.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00Z"));
    let mut ymd = date.splitn(3, '-').map(str::parse::<i64>);
    let (y, m, d) = (ymd.next()?.ok()?, ymd.next()?.ok()?, ymd.next()?.ok()?);
    if !(1970..=9999).contains(&y) || !(1..=12).contains(&m) || !(1..=31).contains(&d) {
        return None;
    }
    let time = time.strip_suffix(['Z', 'z'])?;
    let (hms, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = hms.splitn(3, ':').map(str::parse::<u64>);
    let (h, min, s) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if h > 23 || min > 59 || s > 60 || fraction.len() > 6 {
        return None;
    }
    let fraction = if fraction.is_empty() { 0 } else { format!("{fraction:0<6}").parse::<u64>().ok()? };
    let days = u64::try_from(days_from_civil(y, m, d)).ok()?;
    Some(((days * 24 + h) * 3600 + min * 60 + s) * SECOND_US + fraction)
}

/// Days since 1970-01-01 to year, month and day (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + d - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
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
        for bad in ["", "2000-02-29T00:00:00", "2000-13-01", "x", "2000-02-29T25:00:00Z"] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_comes_back(us in 0u64..200_000_000_000_000_000) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(us)), Some(us));
        }
    }
}
