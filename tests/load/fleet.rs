//! A fleet: many slow devices and a few fast ones over all programs, with a page open in a browser.
//!
//! [`run`] starts mosquitto, the bridge and metrics in a folder of its own over a given Kafka, publishes for so many seconds,
//! and gives figures: lag and memory at most, the page's bytes, and how many of the records are in the store. It judges
//! nothing.

use crate::contender::peak_kib;
use crate::publish::{Times, publish_paced};
use harness::browser::{Browser, get};
use harness::proxy::{Proxy, Watch};
use harness::services::{Kafka, Mosquitto};
use harness::{House, wait_for};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Devices that publish as cameras do, beside those that publish once a second.
const FAST: usize = 10;
const FAST_PER_SECOND: u64 = 30;
/// How long the store may take to have all, after the last was published.
const LIMIT: Duration = Duration::from_secs(300);
/// How often health is asked for: as often as a monitoring system would, and ten times.
const LOOK: Duration = Duration::from_secs(1);

/// What a run gives.
pub struct Figures {
    published: u64,
    stored: u64,
    /// Records that the store was behind, at most and at the median of all looks.
    lag: [u64; 2],
    /// From the last record's publishing until the store had all.
    settled: Duration,
    /// Resident KiB of metrics and of the bridge, at most.
    peak_kib: [u64; 2],
    page_bytes_per_second: [f64; 2],
    first_paint_ms: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.peak_kib.map(|kib| kib as f64 / 1024.0);
        writeln!(f, "published {}, stored {}", self.published, self.stored)?;
        writeln!(f, "lag: median {}, at most {} records; settled after {:?}", self.lag[0], self.lag[1], self.settled)?;
        writeln!(f, "resident at most: metrics {:.0} MiB, bridge {:.0} MiB", mib[0], mib[1])?;
        let [fleet, device] = self.page_bytes_per_second.map(|b| b / 1000.0);
        writeln!(
            f,
            "page: first paint after {:.0} ms; fleet {fleet:.1} KB/s, a fast device {device:.1} KB/s",
            self.first_paint_ms
        )
    }
}

/// Bytes that the page was sent.
#[derive(Default)]
struct Sent(AtomicU64);

impl Watch for Sent {
    fn passed(&self, _: u64, up: bool, bytes: &[u8]) {
        if !up {
            self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
    }

    fn closed(&self, _: u64) {}
}

/// Lag of the store as `/healthz` gives it, until `stop`.
fn watch_lag(page: &str, stop: &AtomicBool) -> [u64; 2] {
    let mut lags = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (_, body) = get(page, "/healthz");
        let text = String::from_utf8_lossy(&body).into_owned();
        lags.extend(text.lines().find_map(|l| l.strip_prefix("lag: ")?.split(' ').next()?.parse::<u64>().ok()));
        std::thread::sleep(LOOK);
    }
    lags.sort_unstable();
    [lags.get(lags.len() / 2).copied().unwrap_or(0), lags.last().copied().unwrap_or(0)]
}

/// Runs it: `devices` at one report a second and ten at thirty, for `seconds`.
pub fn run(kafka: &Kafka, devices: usize, seconds: u64) -> Figures {
    let mut house = House::new("", &kafka.url());
    let mosquitto = Mosquitto::start(house.dir());
    house.mqtt = mosquitto.url();
    let bridge = house.bridge(&[]);
    let (metrics, page) = house.metrics();
    let sent = Arc::new(Sent::default());
    let port = page.trim_end_matches('/').rsplit(':').next().and_then(|p| p.parse().ok()).expect("the page's port");
    let proxy = Proxy::start(port, Some(sent.clone()));
    let seen = format!("http://127.0.0.1:{}/", proxy.port);
    let lengths = (0..FAST + devices).map(|n| if n < FAST { seconds * FAST_PER_SECOND } else { seconds });
    let times = Times::of(lengths);
    let stop = AtomicBool::new(false);
    let (lag, first_paint_ms, rates, settled) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_paced(mosquitto.port, &times, Duration::from_secs(seconds)));
        let lag = scope.spawn(|| watch_lag(&page, &stop));
        // Once all devices have reported, the page is opened as a person would.
        wait_for("all devices in the fleet", LIMIT, || {
            let (_, body) = get(&page, "/api/fleet");
            (String::from_utf8_lossy(&body).matches("\"load-").count() >= devices + FAST).then_some(())
        });
        let mut browser = Browser::open(house.dir(), &seen, 1280, 900);
        browser.wait_until("the fleet", "document.querySelectorAll('.cards li').length > 0");
        let paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0";
        let first_paint_ms = browser.value(paint).as_f64().unwrap_or(0.0);
        let rate = |seconds: u64| {
            let (from, start) = (sent.0.load(Ordering::Relaxed), Instant::now());
            std::thread::sleep(Duration::from_secs(seconds));
            (sent.0.load(Ordering::Relaxed) - from) as f64 / start.elapsed().as_secs_f64()
        };
        let watched = (seconds / 3).max(1);
        let of_fleet = rate(watched);
        browser.go(&format!("{seen}device/load-0"));
        let of_device = rate(watched);
        publisher.join().expect("the publisher");
        let published = Instant::now();
        let all = times.messages();
        wait_for("all reports in the store", LIMIT, || {
            std::thread::sleep(LOOK);
            (house.query("SELECT count(*) FROM report_rows").first()?.parse::<u64>().ok()? >= all).then_some(())
        });
        let settled = published.elapsed();
        stop.store(true, Ordering::Relaxed);
        (lag.join().expect("lag"), first_paint_ms, [of_fleet, of_device], settled)
    });
    let stored = house.query("SELECT count(*) FROM report_rows").first().and_then(|n| n.parse().ok()).unwrap_or(0);
    Figures {
        published: times.messages(),
        stored,
        lag,
        settled,
        peak_kib: [peak_kib(metrics.pid()), peak_kib(bridge.pid())],
        page_bytes_per_second: rates,
        first_paint_ms,
    }
}
