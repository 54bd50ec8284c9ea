//! `hueflow-metrics tail`: one line a frame, as it comes, and a line when an event or a stream begins or ends.
//!
//! Reads the journal from now on, or since a time, and prints to standard output. Nothing is stored.

use crate::clock;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::intervals::Intervals;
use crate::journal::{self, Entry, Offsets, Topic};
use crate::json::{EventJson, ReportJson};
use crate::metrics::ingest::decode::read_report;
use crate::signals::until_stopped;
use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const BATCH_MAX: usize = 512;
const WAIT: Duration = Duration::from_millis(200);

/// Follows the journal until a signal comes.
///
/// # Errors
/// [`Failure`].
pub fn run(config: &MetricsConfig, device: Option<&str>, since: Option<&str>) -> Result<(), Failure> {
    let since_us = since.map(|text| clock::parse_flag("--since", text, clock::now_us())).transpose();
    let since_us = since_us.map_err(Failure::Usage)?;
    let (config, device) = (config.clone(), device.map(str::to_owned));
    until_stopped(move |stop| follow(&config, device.as_deref(), since_us, stop))
}

fn follow(
    config: &MetricsConfig,
    device: Option<&str>,
    since_us: Option<u64>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let away = |e: journal::JournalError| Failure::Unavailable(e.to_string());
    let journal = journal::open_existing(&config.journal, false)?;
    let from = match since_us {
        Some(_) => Offsets::new(),
        None => journal.end().map_err(away)?,
    };
    let since_ms = i64::try_from(since_us.unwrap_or(0) / 1000).unwrap_or(i64::MAX);
    let mut reader = journal.reader(&from).map_err(away)?;
    let (mut known, mut out) = (Known::default(), std::io::stdout().lock());
    while !stop.load(Ordering::Relaxed) {
        let batch = match reader.read(BATCH_MAX, WAIT) {
            Ok(batch) => batch,
            Err(journal::JournalError::Fatal(e)) => return Err(Failure::Unavailable(e)),
            Err(e) => {
                log::debug!("{e}");
                std::thread::sleep(WAIT);
                continue;
            }
        };
        for record in &batch.records {
            let e = &record.entry;
            let wanted = e.time_ms >= since_ms && device.is_none_or(|d| d == e.key);
            if wanted
                && let Some(line) = line(e, &mut known)
                && (writeln!(out, "{line}").is_err())
            {
                return Ok(()); // The reader has closed its end.
            }
        }
        if out.flush().is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// What has been printed already.
#[derive(Default)]
struct Known {
    states: HashMap<String, String>,
    frames: HashMap<(String, u64), Intervals>,
}

/// The line of an entry, if it has one; a record that the journal has twice is printed once.
fn line(e: &Entry, known: &mut Known) -> Option<String> {
    if e.dead {
        return None;
    }
    match e.topic {
        Topic::Metrics => {
            let (stream, seq) = (e.header_u64("stream")?, e.header_u64("seq")?);
            let new = known.frames.entry((e.key.clone(), stream)).or_default().insert(seq);
            new.then(|| read_report(e, stream, seq).map(|r| report_line(&r))).flatten()
        }
        Topic::Status if e.header("schema")?.starts_with("hueflow.status/") => {
            let status: serde_json::Value = serde_json::from_slice(&e.value).ok()?;
            let state = status.get("state")?.as_str()?.to_owned();
            let before = known.states.insert(e.key.clone(), state.clone());
            if before.as_deref() == Some(state.as_str()) {
                return None;
            }
            let time = clock::time_of_day(e.time_ms.unsigned_abs().saturating_mul(1000));
            match state.as_str() {
                "offline" => Some(format!("{time}Z {}: stream interrupted", e.key)),
                "online" => Some(format!("{time}Z {}: stream begins", e.key)),
                _ => None,
            }
        }
        Topic::Event => {
            let (stream, seq) = (e.header_u64("stream")?, e.header_u64("seq")?);
            let new = known.frames.entry((e.key.clone(), stream)).or_default().insert(seq);
            new.then(|| serde_json::from_slice::<EventJson>(&e.value).ok()).flatten().map(|e| event_line(&e))
        }
        _ => None,
    }
}

fn event_line(e: &EventJson) -> String {
    let time = clock::time_of_day(clock::parse_rfc3339(&e.captured_at).unwrap_or(0));
    let does = match e.change.as_str() {
        "begin" => "begins",
        "turn" => "turns",
        _ => "ends",
    };
    let pattern = match (&e.pattern, e.rate_hz) {
        (Some(pattern), Some(rate_hz)) => format!(", {pattern} at {rate_hz:.2} Hz"),
        (Some(pattern), None) => format!(", {pattern}"),
        (None, _) => String::new(),
    };
    let value = e.value.map_or(String::new(), |value| format!(", value {value}"));
    format!("{time}Z {}: event {} {does} with frame {}{pattern}{value}", e.device, e.event, e.frame)
}

fn report_line(r: &ReportJson) -> String {
    let time = clock::time_of_day(clock::parse_rfc3339(&r.captured_at).unwrap_or(0));
    let missed = match r.missed {
        Some(n @ 1..) => format!(", {n} missed"),
        _ => String::new(),
    };
    format!(
        "{time}Z {}: frame {}: {} colours detected{missed} at lambda {}, DCDP took {} iterations, {:.1} ms",
        r.device,
        r.frame,
        r.clusters,
        r.lambda,
        r.iterations,
        f64::from(r.micros.total) / 1000.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::report;
    use firmware::custody::Envelope;

    #[test]
    fn a_report_reads_as_in_the_tutorials_log() {
        let e = Envelope {
            kind: 1,
            payload_version: 3,
            clock_synced: true,
            stream: 2,
            seq: 9,
            captured_at_us: 3_723_004_000,
        };
        assert_eq!(
            report_line(&ReportJson::new("pi", &e, &report(5))),
            "01:02:03.004Z pi: frame 5: 2 colours detected at lambda 50, DCDP took 36 iterations, 4.1 ms"
        );
        let missing = firmware::wire::Report { missed: Some(3), beyond_px: Some(40), ..report(5) };
        assert_eq!(
            report_line(&ReportJson::new("pi", &e, &missing)),
            "01:02:03.004Z pi: frame 5: 2 colours detected, 3 missed at lambda 50, DCDP took 36 iterations, 4.1 ms"
        );
    }

    #[test]
    fn an_event_is_told_once_with_its_time_and_value() {
        let json = r#"{"device":"pi","stream":"2","seq":9,"captured_at":"1970-01-01T01:02:03.004000Z","frame":5,
                       "event":"line-stopped","change":"begin","value":0.25}"#;
        let entry = Entry {
            topic: Topic::Event,
            dead: false,
            loose: false,
            key: "pi".to_owned(),
            headers: [("schema", "hueflow.event/1"), ("stream", "2"), ("seq", "9")].into_iter().collect(),
            time_ms: 1,
            value: json.as_bytes().to_vec(),
        };
        let blinking: EventJson = serde_json::from_str(
            &json.replace("\"begin\"", "\"turn\"").replace("0.25", "0.25,\"pattern\":\"blinking\",\"rate_hz\":1.254"),
        )
        .unwrap();
        let expected = "01:02:03.004Z pi: event line-stopped turns with frame 5, blinking at 1.25 Hz, value 0.25";
        assert_eq!(event_line(&blinking), expected);
        let mut known = Known::default();
        let printed = line(&entry, &mut known);
        assert_eq!(printed.as_deref(), Some("01:02:03.004Z pi: event line-stopped begins with frame 5, value 0.25"));
        assert_eq!(line(&entry, &mut known), None);
    }

    #[test]
    fn an_interruption_is_told_once() {
        let status = |state: &str| Entry {
            topic: Topic::Status,
            dead: false,
            loose: false,
            key: "pi".to_owned(),
            headers: [("schema", "hueflow.status/1")].into_iter().collect(),
            time_ms: 1,
            value: format!(r#"{{"state":"{state}"}}"#).into_bytes(),
        };
        let mut states = Known::default();
        assert!(line(&status("online"), &mut states).unwrap().ends_with("pi: stream begins"));
        assert_eq!(line(&status("offline"), &mut states).unwrap(), "00:00:00.001Z pi: stream interrupted");
        assert_eq!(line(&status("offline"), &mut states), None);
    }
}
