//! Alert rules and dashboard: what they name exists, in the endpoints' texts and in both databases' tables.
//!
//! The endpoints' texts are also checked against the rules of Prometheus' text format, version 0.0.4.

use super::common::{event, record, window};
use super::ground::{Ground, begin};
use super::{batch, frames};
use firmware::wire::EventChange;
use hueflow_bridge::metrics::http::exposition;
use hueflow_bridge::metrics::http::live::Live;
use hueflow_bridge::relay::stats::Stats;
use std::collections::{BTreeMap, BTreeSet};

const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/hueflow.json");

/// Families of a text: their labels. Panics where the text breaks a rule of the format.
fn families(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    assert!(text.ends_with('\n'), "the last line ends too");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut help, mut kind, mut samples) = (None, None, BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split_once(' ').unwrap().0.to_owned();
            assert!(!found.contains_key(&name), "{name} is there twice");
            help = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert_eq!(help.as_deref(), Some(name), "HELP comes before TYPE");
            assert!(matches!(of, "counter" | "gauge"), "{line}");
            assert_eq!(of == "counter", name.ends_with("_total"), "{line}");
            found.insert(name.to_owned(), BTreeSet::new());
            kind = Some(name.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|e| panic!("{line}: {e}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            assert_eq!(kind.as_deref(), Some(name), "a sample stands behind its family's TYPE: {line}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{line}");
            assert!(samples.insert(series.to_owned()), "{series} is there twice");
            found.get_mut(name).unwrap().extend(label_names(labels));
        }
    }
    found
}

/// The names of `a="x",b="y"}`, also of values with escapes.
fn label_names(labels: &str) -> Vec<String> {
    let (mut names, mut rest) = (Vec::new(), labels.trim_end_matches('}'));
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = value.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        rest = &value[end.unwrap() + 1..];
    }
    assert!(rest.is_empty(), "{labels}");
    names
}

/// All families of bridge and metrics, with a sample each.
fn served() -> BTreeMap<String, BTreeSet<String>> {
    let ground = Ground::sqlite();
    let (live, mut store) = (Live::default(), ground.open());
    begin(&mut store, "j");
    let mut all = frames(0, 2);
    all.push(("event", event(8, 2, "door", EventChange::Begin)));
    all.push(("window", window(8, 1, None, &[(8, 0, 0, 4), (9, 0, 0, 0)])));
    all.push(("status", br#"{"state":"online"}"#.to_vec()));
    for event in store.apply(&batch(1, &all)).unwrap() {
        live.take(event);
    }
    live.set_ledger(store.ledger().unwrap());
    live.set_health(|h| h.lag = Some(3));
    let stats = Stats::default();
    stats.dead_letter("crc");
    let mut served = families(&exposition::text(&live));
    served.extend(families(&stats.text()));
    served
}

/// Every use of our metrics in an expression, with the labels that it selects by.
fn uses(expression: &str) -> Vec<(String, Vec<String>)> {
    let starts = expression.match_indices("hueflow_").map(|(at, _)| &expression[at..]);
    let named = starts.map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let selector = rest.strip_prefix('{').and_then(|r| r.split_once('}'));
        (name.to_owned(), selector.map(|(labels, _)| label_names(labels)).unwrap_or_default())
    });
    named.collect()
}

fn check_uses(of: &str, expression: &str, served: &BTreeMap<String, BTreeSet<String>>) {
    for (name, labels) in uses(expression) {
        let has = served.get(&name).unwrap_or_else(|| panic!("{of}: nothing serves {name}"));
        assert!(labels.iter().all(|l| has.contains(l)), "{of}: {name} has the labels {has:?}");
    }
}

#[test]
fn texts_keep_the_rules_of_the_format_and_alerts_name_what_is_served() {
    let served = served();
    assert!(served["hueflow_metrics_event_active"].contains("event"));
    let alerts: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 8);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let expression = alert.lines().find_map(|l| l.trim().strip_prefix("expr: ")).unwrap();
        assert!(alert.contains("severity: ") && alert.contains("summary: ") && alert.contains("action: "), "{name}");
        check_uses(name, expression, &served);
        assert!(!uses(expression).is_empty() || name == "HueflowTargetDown", "{name}");
        // A summary that names a label of the metric.
        for (_, rest) in alert.match_indices("$labels.").map(|(at, _)| alert[at..].split_at("$labels.".len())) {
            let label = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            let known = |(name, _): &(String, Vec<String>)| served[name].contains(label);
            assert!(label == "instance" || uses(expression).iter().any(known), "{name}: {label}");
        }
    }
    let planted = std::panic::catch_unwind(|| check_uses("planted", "rate(hueflow_bridge_nothing_total[1m])", &served));
    assert!(planted.is_err(), "a name that nothing serves is found");
}

/// What ends an alert about the last frame of a device that goes offline.
const NOT_OFFLINE: &str = " unless on (instance, device) hueflow_metrics_device_online == 0";

#[test]
fn an_alert_of_a_device_ends_when_the_device_goes_offline() {
    let ground = Ground::sqlite();
    let (live, mut store) = (Live::default(), ground.open());
    begin(&mut store, "j");
    let mut take = |offset, kind, bytes| {
        for event in store.apply(&batch(offset, &[(kind, bytes)])).unwrap() {
            live.take(event);
        }
        exposition::text(&live)
    };
    let online = |text: String| {
        let value = |l: &str| Some(l.strip_prefix("hueflow_metrics_device_online{device=\"pi\"} ")?.to_owned());
        text.lines().find_map(value)
    };
    let status = |state: &str| format!("{{\"state\":\"{state}\",\"boot\":\"8\"}}").into_bytes();
    assert_eq!(online(take(1, "metrics", record(8, 0))), None, "not known yet");
    assert_eq!(online(take(2, "status", status("online"))).as_deref(), Some("1"));
    let text = take(3, "status", status("offline"));
    // What is still served of a device that is offline is in no alert on its own.
    let left: Vec<String> = families(&text).into_iter().filter(|f| f.1.contains("device")).map(|f| f.0).collect();
    assert!(left.iter().any(|name| name == "hueflow_metrics_missed_colours"), "{left:?}");
    let mut checked = 0;
    for alert in ALERTS.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let expression = alert.lines().find_map(|l| l.trim().strip_prefix("expr: ")).unwrap();
        if uses(expression).iter().any(|(name, _)| left.contains(name)) {
            assert!(expression.ends_with(NOT_OFFLINE), "{name}: {expression}");
            checked += 1;
        }
    }
    assert!(checked > 1, "{checked}");
    assert_eq!(online(text).as_deref(), Some("0"));
    assert_eq!(online(take(4, "status", status("online"))).as_deref(), Some("1"));
}

#[test]
fn every_panel_of_the_dashboard_names_what_is_served_and_its_queries_run_on_both_databases() {
    let served = served();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            match (target["expr"].as_str(), target["rawSql"].as_str()) {
                (Some(expression), None) => {
                    check_uses(title, expression, &served);
                    assert!(!uses(expression).is_empty(), "{title}");
                }
                (None, Some(sql)) => queries.push((title, sql)),
                other => panic!("{title}: {other:?}"),
            }
        }
    }
    assert!(queries.len() > 4);
    for ground in [Ground::sqlite(), Ground::postgres()] {
        let mut store = ground.open();
        begin(&mut store, "j");
        let mut all = vec![("metrics", record(8, 0)), ("event", event(8, 1, "door", EventChange::Begin))];
        all.push(("metrics", b"nonsense that is longer than an envelope, by a little".to_vec()));
        store.apply(&batch(1, &all)).unwrap();
        for (title, sql) in &queries {
            // Grafana puts its range in, in milliseconds. Dead letters have the journal's time, which tests set to 1970.
            let from = if sql.contains("FROM dead") { "0" } else { "1690000000000" };
            let sql = sql.replace("${__from}", from).replace("${__to}", "1790000000000");
            assert!(!sql.contains('$'), "{title}: {sql}");
            assert_eq!(ground.number(&format!("SELECT count(*) FROM ({sql}) AS q")), 1, "{title}: {sql}");
        }
    }
}
