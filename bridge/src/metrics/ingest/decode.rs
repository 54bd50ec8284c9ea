//! Decoding of journal entries: the report of an entry, and the version of a payload.
//!
//! Both take an [`Entry`] and have no side effects.

use crate::clock;
use crate::journal::Entry;
use crate::json::ReportJson;
use firmware::custody::{Envelope, Kind};
use firmware::wire::{self, Report};

/// The report of a `metrics` entry, whether its value is JSON or postcard. None if the value cannot be read.
pub fn read_report(e: &Entry, stream: u64, seq: u64) -> Option<ReportJson> {
    if e.header("content-type") != Some("application/x-postcard") {
        return ReportJson::read(&e.value);
    }
    let report: Report = wire::decode(version(e), &e.value).ok()?;
    let captured_at_us = e.header("captured-at").and_then(clock::parse_rfc3339).unwrap_or(0);
    let envelope = Envelope {
        kind: Kind::Report as u8,
        payload_version: version(e),
        clock_synced: true,
        stream,
        seq,
        captured_at_us,
    };
    Some(ReportJson::new(&e.key, &envelope, &report))
}

/// The payload's version, from the header `schema` (`name/version`); 1 if there is none.
pub fn version(e: &Entry) -> u8 {
    e.header("schema").and_then(|s| s.rsplit_once('/')).and_then(|(_, v)| v.parse().ok()).unwrap_or(1)
}
