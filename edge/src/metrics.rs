//! A local page of metrics for Prometheus: `/metrics`, off unless `metrics.listen` names an address.
//!
//! One thread serves one client at a time. Counters, the state of each child and the machine's vitals are read for each request.
//! Anyone who can reach the address can read the page, so the address is on loopback by default.

use crate::counters::{Counters, get};
use crate::event::EventSpec;
use crate::health::{ChildReport, State};
use crate::http::{answer, head, is_meant};
use crate::spec::{Colour, Region};
use crate::vitals::Vitals;
use firmware::wire::Pattern;
use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

/// How long a client may take to ask, or to take the answer. A scraper on the same machine takes milliseconds.
const CLIENT_LIMIT: Duration = Duration::from_secs(2);
/// The content type of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves what `page` gives at `wanted`, a host and a port (0: a free one), until the process ends. Gives the address.
///
/// # Errors
/// Why the address cannot be had.
pub fn serve(wanted: &(String, u16), page: impl Fn() -> String + Send + 'static) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(&wanted.to_socket_addrs()?.collect::<Vec<_>>()[..])?;
    let address = listener.local_addr()?;
    let run = move || {
        for mut client in listener.incoming().flatten() {
            // A client that goes away is no failure.
            let _ = client.set_read_timeout(Some(CLIENT_LIMIT)).and(client.set_write_timeout(Some(CLIENT_LIMIT)));
            let _ = serve_one(&mut client, &page);
        }
    };
    Builder::new().name("metrics".into()).spawn(run)?;
    log::info!("metrics are at http://{address}/metrics");
    if !address.ip().is_loopback() {
        log::warn!("anyone who can reach {address} can read the metrics of this device");
    }
    Ok(address)
}

fn serve_one(client: &mut TcpStream, page: &impl Fn() -> String) -> io::Result<()> {
    let Some(head) = head(client, CLIENT_LIMIT)? else { return Ok(()) };
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if !is_meant(&head, client.local_addr()?.ip()) {
        return answer(client, "421 Misdirected", "text/plain", b"These metrics are for localhost.\n");
    }
    match (method, target.split('?').next().unwrap_or("")) {
        ("GET", "/metrics") => answer(client, "200 OK", TEXT_FORMAT, page().as_bytes()),
        ("GET", _) => answer(client, "404 Not Found", "text/plain", b"There is /metrics.\n"),
        _ => answer(client, "405 Method Not Allowed", "text/plain", b"Only GET.\n"),
    }
}

/// The page, in Prometheus's text format.
pub fn page(
    counters: &Counters,
    (regions, colours, events): (&[Region], &[Colour], &[EventSpec]),
    children: &[ChildReport],
    vitals: &Vitals,
    is_clock_synchronised: bool,
) -> String {
    let mut page = Page::default();
    let c = counters;
    let ordered = |counter| counter as f64;
    for (name, help, value) in [
        ("frames_total", "Frames clustered.", get(&c.frames)),
        ("frames_lost_total", "Frames that the camera lost.", get(&c.lost)),
        ("frames_late_total", "Frames that came late.", get(&c.late)),
        ("frames_refused_total", "Frames whose records were refused: the disk was full.", get(&c.refused)),
        ("frames_saturated_total", "Frames with more colours than clusters are possible.", get(&c.saturated)),
        ("frames_with_missed_colours_total", "Frames with a colour that the palette misses.", get(&c.missing)),
        (
            "frames_uncorrected_total",
            "Frames whose colours were not corrected because a reference patch was clipped, hidden or far from its colour.",
            get(&c.uncorrected),
        ),
        ("records_evicted_total", "Records that a full spool gave up, each declared lost.", get(&c.evicted)),
        ("records_damaged_total", "Records found damaged, each declared lost.", get(&c.damaged)),
        (
            "records_too_large_total",
            "Records larger than the broker takes, each declared lost.",
            get(&c.records_too_large),
        ),
        ("loss_records_total", "Records that declare others lost.", get(&c.losses)),
        ("pictures_sent_total", "Pictures sent without custody.", get(&c.pictures_sent)),
        ("pictures_dropped_total", "Pictures that could not leave at once.", get(&c.pictures_unsent)),
        ("pictures_too_large_total", "Pictures larger than the broker takes.", get(&c.pictures_too_large)),
    ] {
        page.metric(name, "counter", help, &[("", ordered(value))]);
    }
    let flag = |is_so: bool| f64::from(u8::from(is_so));
    let is_connected = c.connected.load(Ordering::Relaxed);
    let has_bridge = is_connected && !c.is_bridge_missing.load(Ordering::Relaxed);
    for (name, help, value) in [
        ("records_held", "Records that the journal has not acknowledged.", ordered(get(&c.held))),
        ("broker_connected", "The broker is connected.", flag(is_connected)),
        (
            "bridge_heard",
            "The broker is connected, and a bridge is there or awaited for a short time.",
            flag(has_bridge),
        ),
        (
            "broker_packet_bytes_max",
            "The largest packet that the broker takes; 0: every one.",
            ordered(get(&c.packet_bytes_max)),
        ),
        ("clock_synchronised", "The clock is synchronised.", flag(is_clock_synchronised)),
    ] {
        page.metric(name, "gauge", help, &[("", value)]);
    }
    page.regions(counters, regions, colours);
    page.events(counters, events);
    page.children(children);
    page.vitals(vitals);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str, values: &[(&str, f64)]) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP hueflow_edge_{name} {help}\n# TYPE hueflow_edge_{name} {kind}\n");
        for (labels, value) in values {
            let _ = writeln!(self.text, "hueflow_edge_{name}{labels} {value}");
        }
    }

    fn children(&mut self, children: &[ChildReport]) {
        let labels = |c: &ChildReport| format!("name=\"{}\",what=\"{}\"", c.name, escaped(&c.what));
        let states = [State::Starting, State::Running, State::Waiting, State::Ended];
        let state = |c: &ChildReport| {
            states.map(|state| {
                (format!("{{{},state=\"{}\"}}", labels(c), state.word()), f64::from(u8::from(c.state == state)))
            })
        };
        let samples: Vec<(String, f64)> = children.iter().flat_map(state).collect();
        self.labelled("child_state", "gauge", "The state of the camera, of each display and of custody.", &samples);
        let failures = |c: &ChildReport| (format!("{{{}}}", labels(c)), c.failures as f64);
        let samples: Vec<_> = children.iter().map(failures).collect();
        self.labelled(
            "child_failures_total",
            "counter",
            "Failures of a child since the start, failed attempts to open it included.",
            &samples,
        );
        let displays = children.iter().filter(|c| c.name == "display");
        let samples: Vec<_> =
            displays.map(|c| (format!("{{what=\"{}\"}}", escaped(&c.what)), c.skipped as f64)).collect();
        self.labelled("pictures_skipped_total", "counter", "Pictures that a display had no time for.", &samples);
    }

    /// The events after the last frame. Names need no escapes.
    fn events(&mut self, counters: &Counters, events: &[EventSpec]) {
        let (mut active, mut rates) = (Vec::new(), Vec::new());
        for (event, state) in events.iter().zip(&counters.last_events()) {
            let labels = format!("{{event=\"{}\"}}", event.name);
            active.push((labels.clone(), f64::from(u8::from(state.is_active))));
            let rate_hz = |pattern: Pattern| f64::from(pattern.rate_millihz().unwrap_or(0)) / 1e3;
            rates.extend(state.pattern.map(|pattern| (labels, rate_hz(pattern))));
        }
        self.labelled("event_active", "gauge", "1 while an event is active.", &active);
        self.labelled("event_blink_hertz", "gauge", "How fast an event blinks; 0: steady or off.", &rates);
    }

    /// The last frame's regions. Names need no escapes.
    fn regions(&mut self, counters: &Counters, regions: &[Region], colours: &[Colour]) {
        let (mut pixels, mut shares, mut apart) = (Vec::new(), Vec::new(), Vec::new());
        for share in &counters.last_regions() {
            let Some(region) = regions.get(usize::from(share.region)) else { continue };
            pixels.push((format!("{{region=\"{}\"}}", region.name), f64::from(share.pixels)));
            for (colour, n) in colours.iter().zip(0u8..) {
                let labels = format!("{{region=\"{}\",colour=\"{}\"}}", region.name, colour.name);
                let found = share.named.iter().find(|named| named.colour == n);
                let part = found.map_or(0.0, |named| f64::from(named.pixels) / f64::from(share.pixels.max(1)));
                apart.extend(found.map(|named| (labels.clone(), f64::from(named.de00_q6) / 64.0)));
                shares.push((labels, part));
            }
        }
        self.labelled("region_pixels", "gauge", "Pixels of a region that are counted.", &pixels);
        self.labelled("region_colour_share", "gauge", "The part of a region that has a named colour, 0 to 1.", &shares);
        self.labelled(
            "region_colour_de00",
            "gauge",
            "Delta E 2000 of the mean of a region's pixels of a named colour to it.",
            &apart,
        );
    }

    fn vitals(&mut self, v: &Vitals) {
        for (name, kind, help, value) in [
            ("temperature_celsius", "gauge", "The hottest thermal zone.", v.temperature_c),
            ("cpu_seconds_total", "counter", "CPU that this process has used.", v.cpu_s),
            ("resident_bytes", "gauge", "Memory that this process has.", v.resident_bytes.map(|b| b as f64)),
            ("disk_free_bytes", "gauge", "Room on the spool's disk.", v.disk_free_bytes.map(|b| b as f64)),
        ] {
            if let Some(value) = value {
                self.metric(name, kind, help, &[("", value)]);
            }
        }
        let of_kind = |(kind, now, since): (&str, bool, bool)| {
            [("now", now), ("since_start", since)]
                .map(|(when, is_so)| (format!("{{kind=\"{kind}\",when=\"{when}\"}}"), f64::from(u8::from(is_so))))
        };
        let samples: Vec<_> = v.throttled.iter().flat_map(|t| t.kinds()).flat_map(of_kind).collect();
        self.labelled("throttled", "gauge", "Power and heat flags of a Raspberry Pi's firmware.", &samples);
    }

    fn labelled(&mut self, name: &str, kind: &str, help: &str, values: &[(String, f64)]) {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
            self.metric(name, kind, help, &values);
        }
    }
}

/// A label's value as the text format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventState;
    use crate::health::Child;
    use firmware::reference::{Correct, Fault, Outcome};
    use firmware::wire::{NamedShare, RegionShare};
    use std::io::{Read, Write as _};

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_scraper_gets_every_metric_once_with_help_type_and_value() {
        let counters = Counters { frames: 7.into(), held: 3.into(), ..Counters::default() };
        for outcome in [Outcome::Fault(Fault::Clipped, 0), Outcome::Done(Correct::Gain), Outcome::Fault(Fault::Far, 1)]
        {
            counters.see_correction(Some(outcome));
        }
        let camera = Child::alone("camera", "file:a \"b\"\\c");
        camera.waiting("gone");
        let display = Child::alone("display", "kms");
        display.skipped();
        let vitals = Vitals { temperature_c: Some(48.5), ..Vitals::default() };
        let region = |name: &str| Region { name: name.into(), polygon: Vec::new() };
        let colour = |name: &str| Colour { name: name.into(), named: Default::default() };
        let named = [NamedShare { colour: 1, pixels: 50, de00_q6: 96 }].into_iter().collect();
        counters.see_regions(&[RegionShare { region: 1, pixels: 200, named }].into_iter().collect());
        let watched = ([region("door"), region("stack-1")], [colour("red"), colour("green")]);
        let event = |name: &str| EventSpec { name: name.try_into().unwrap(), ..EventSpec::default() };
        let blinking = Some(Pattern::Blinking { rate_millihz: 1_250 });
        let states = [EventState::default(), EventState { is_active: true, pattern: blinking }];
        counters.see_events(&states.into_iter().collect());
        let events = [event("moved"), event("lamp")];
        let text =
            page(&counters, (&watched.0, &watched.1, &events), &[camera.report(), display.report()], &vitals, true);
        for line in [
            "hueflow_edge_frames_total 7",
            "hueflow_edge_frames_uncorrected_total 2",
            "hueflow_edge_records_held 3",
            "hueflow_edge_clock_synchronised 1",
            "hueflow_edge_temperature_celsius 48.5",
            r#"hueflow_edge_region_pixels{region="stack-1"} 200"#,
            r#"hueflow_edge_region_colour_share{region="stack-1",colour="red"} 0"#,
            r#"hueflow_edge_region_colour_share{region="stack-1",colour="green"} 0.25"#,
            r#"hueflow_edge_region_colour_de00{region="stack-1",colour="green"} 1.5"#,
            r#"hueflow_edge_event_active{event="moved"} 0"#,
            r#"hueflow_edge_event_active{event="lamp"} 1"#,
            r#"hueflow_edge_event_blink_hertz{event="lamp"} 1.25"#,
            r#"hueflow_edge_child_state{name="camera",what="file:a \"b\"\\c",state="waiting"} 1"#,
            r#"hueflow_edge_pictures_skipped_total{what="kms"} 1"#,
            r#"hueflow_edge_child_failures_total{name="camera",what="file:a \"b\"\\c"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
        assert!(!text.contains("throttled") && !text.contains("disk_free"), "what is not known is left out");
        let mut types: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert!(types.len() == all && all > 15, "{types:?}");
    }

    #[test]
    fn only_the_page_is_there_and_only_for_those_who_mean_this_machine() {
        let address = serve(&("127.0.0.1".into(), 0), || "x 1\n".into()).unwrap();
        let get = |target: &str, host: &str| ask(address, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let page = get("/metrics", "localhost:9");
        assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("\r\n\r\nx 1\n"), "{page}");
        assert!(get("/", "127.0.0.1").starts_with("HTTP/1.1 404"));
        assert!(get("/metrics", "evil.example").starts_with("HTTP/1.1 421"));
        assert!(ask(address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(serve(&("127.0.0.1".into(), address.port()), String::new).is_err(), "the port is taken");
    }
}
