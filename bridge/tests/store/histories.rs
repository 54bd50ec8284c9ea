//! Histories: what the database sums of the reports is what a plain fold of all of them gives.
//!
//! The reports of two boots overlap in time, one of them lacks numbers, and some have values that cannot be.

use super::batch;
use super::common::envelope;
use super::ground::{Ground, begin};
use firmware::custody::{Envelope, Kind};
use firmware::wire::{Micros, Report};
use hueflow_bridge::json::ReportJson;
use hueflow_bridge::metrics::store::history::{HistoryPoint, history};
use hueflow_bridge::metrics::store::reader::Page;
use hueflow_bridge::relay::verdict::seal;
use std::collections::BTreeMap;

on_both!(the_steps_of_a_history_are_a_plain_fold_of_its_reports);

const FRAME_US: u64 = 33_333;
const BEGIN_US: u64 = 1_700_000_000_000_000;

/// A report whose numbers all change from one to the next.
fn varied(stream: u64, seq: u64, captured_at_us: u64) -> Vec<u8> {
    let n = seq as u32;
    let report = Report {
        sse_q12: 4_096 * (1_000 + seq * seq % 7_001),
        silhouette_ppm: (!n.is_multiple_of(5)).then_some(300_000 + n as i32 % 991),
        missed: (!n.is_multiple_of(3)).then_some(n % 4),
        beyond_px: (!n.is_multiple_of(7)).then_some(n % 11),
        micros: Micros {
            coreset: 1_000 + n % 301,
            cluster: 500 + n % 97,
            label: 2_000 + n % 13,
            total: if n.is_multiple_of(50) { u32::MAX } else { 3_500 + n % 401 },
        },
        ..super::common::report(seq)
    };
    let envelope = Envelope { captured_at_us, ..envelope(Kind::Report, stream, seq) };
    seal(&envelope, &report, &[]).unwrap()
}

/// The oracle: all reports one by one.
fn folded(g: &Ground, (from_us, to_us): (u64, u64), step_us: u64) -> Vec<HistoryPoint> {
    let reader = g.reader();
    let mut steps: BTreeMap<u64, Vec<ReportJson>> = BTreeMap::new();
    for stream in reader.streams("pi").unwrap().iter().rev() {
        let page = Page { from_seq: 0, times_us: from_us..to_us, rows_max: 100_000 };
        for (at_us, report) in reader.report_page(stream, &page).unwrap() {
            steps.entry((at_us - from_us) / step_us).or_default().push(report);
        }
    }
    let point = |(step, of): (u64, Vec<ReportJson>)| {
        let mean = |value: &dyn Fn(&ReportJson) -> f64| of.iter().map(value).sum::<f64>() / of.len() as f64;
        let silhouettes: Vec<f64> = of.iter().filter_map(|r| r.silhouette_estimate).collect();
        HistoryPoint {
            t: (from_us + step * step_us) / 1000,
            n: of.len() as u64,
            k: mean(&|r| f64::from(r.clusters)),
            k_min: of.iter().map(|r| r.clusters).min().unwrap(),
            k_max: of.iter().map(|r| r.clusters).max().unwrap(),
            rms: mean(&|r| r.rms),
            rms_max: of.iter().map(|r| r.rms).fold(0.0, f64::max),
            missed: of.iter().filter_map(|r| r.missed).map(u64::from).sum(),
            coreset: Some(mean(&|r| f64::from(r.micros.coreset)) / 1000.0),
            cluster: Some(mean(&|r| f64::from(r.micros.cluster)) / 1000.0),
            label: Some(mean(&|r| f64::from(r.micros.label)) / 1000.0),
            total: mean(&|r| f64::from(r.micros.total)) / 1000.0,
            total_max: of.iter().map(|r| f64::from(r.micros.total) / 1000.0).fold(0.0, f64::max),
            silhouette: (!silhouettes.is_empty()).then(|| silhouettes.iter().sum::<f64>() / silhouettes.len() as f64),
        }
    };
    steps.into_iter().map(point).collect()
}

/// Numbers with their means rounded to a billionth of themselves: a sum's order may differ.
fn rounded(points: &[HistoryPoint]) -> Vec<String> {
    let r = |x: f64| format!("{x:.8e}");
    let all = |p: &HistoryPoint| {
        let means =
            [Some(p.k), Some(p.rms), p.coreset, p.cluster, p.label, Some(p.total), p.silhouette].map(|x| x.map(r));
        format!("{} {} {} {} {} {} {} {means:?}", p.t, p.n, p.k_min, p.k_max, r(p.rms_max), p.missed, r(p.total_max))
    };
    points.iter().map(all).collect()
}

fn the_steps_of_a_history_are_a_plain_fold_of_its_reports(g: &Ground) {
    let mut store = g.open();
    begin(&mut store, "j");
    let at = |seq: u64| BEGIN_US + seq * FRAME_US;
    let first: Vec<_> = (0..900).map(|seq| ("metrics", varied(8, seq, at(seq)))).collect();
    store.apply(&batch(1, &first)).unwrap();
    // The clock was set back: the second boot begins before the first one's last reports.
    let second: Vec<_> = (0..400).map(|seq| ("metrics", varied(10, seq, at(seq + 850)))).collect();
    store.apply(&batch(1_000, &second)).unwrap();
    let reader = g.reader();
    for (from_us, to_us, points) in [
        (at(0), at(1_300), 40),
        (at(100) + 1, at(1_200) - 1, 600),
        (at(855), at(895), 7),
        (at(300), at(301), 1),
        (BEGIN_US - 60_000_000, BEGIN_US + 600_000_000, 100),
    ] {
        let (from_ms, to_ms) = (from_us / 1000, to_us / 1000);
        let found = history(reader.as_ref(), "pi", (from_ms, to_ms), points).unwrap();
        assert_eq!(found.unit, "reports");
        let step_us = ((to_ms - from_ms) * 1000 / u64::from(points)).max(1);
        let want = folded(g, (from_ms * 1000, to_ms * 1000), step_us);
        assert!(!want.is_empty());
        assert_eq!(rounded(&found.points), rounded(&want), "{from_us} to {to_us}");
    }
    // What anybody may write to a topic: an RMS whose sum is no number is left out of the sum, as in roll-ups.
    g.execute("UPDATE report_rows SET rms = 1e308, silhouette_estimate = 1e308 WHERE seq IN (10, 11, 12)");
    let found = history(reader.as_ref(), "pi", (at(0) / 1000, at(60) / 1000), 1).unwrap();
    assert!(
        found.points.iter().all(|p| p.rms < 442.0 && p.rms_max < 442.0 && p.silhouette.unwrap() < 1.0),
        "{found:?}"
    );
    assert!(!found.points.is_empty());
}
