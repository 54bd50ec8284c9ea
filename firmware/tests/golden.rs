//! Golden bytes: what is on the wire and what the engine computes must not change unnoticed.
//!
//! The tests encode fixed values, step drawn frames and compare the results with the files in `tests/golden/`.
//! `HUEFLOW_BLESS=1` writes the files anew. A new layout gets a new payload version, and the bytes of the version before it
//! a file of its own (`report-1.hex`, `event-1.hex`), which nothing writes: they must decode for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../bare/src/digest.rs"]
mod digest;
#[path = "../bare/src/scene.rs"]
mod scene;

use firmware::custody::{Ack, Envelope, JournalId, Kind, StreamAck, StreamWindow, Window, WindowId};
use firmware::limits::CONTROL_BYTES_MAX;
use firmware::wire::{
    self, CensusHead, Colorimetry, EventChange, EventRecord, Loss, LossReason, Method, Micros, OriginalHead, Pattern,
    Payload, PictureHead, Report, Space,
};
use std::fmt::Write;
use std::path::Path;

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
    if std::env::var_os("HUEFLOW_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text, want, "{name} is not what it was");
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(32).fold(String::new(), |mut out, line| {
        line.iter().for_each(|b| write!(out, "{b:02x}").unwrap());
        out + "\n"
    })
}

fn record<T: Payload>(value: &T, behind: &[u8]) -> String {
    let mut payload = vec![0; 8_192];
    let n = wire::encode(value, &mut payload).unwrap();
    payload.truncate(n);
    payload.extend_from_slice(behind);
    let envelope = Envelope {
        kind: T::KIND as u8,
        payload_version: value.version(),
        clock_synced: true,
        stream: 0x1234_5678_9abc_def0,
        seq: 41,
        captured_at_us: 1_764_000_000_000_000,
    };
    let mut bytes = envelope.seal(&payload).to_vec();
    bytes.extend_from_slice(&payload);
    let (back, body) = Envelope::open(&bytes).unwrap();
    assert_eq!((back, body), (envelope, &payload[..]));
    hex(&bytes)
}

fn report() -> Report {
    let swatch = |id, rgb_q6, pixels| wire::Swatch { id, rgb_q6, pixels };
    let named = wire::NamedShare { colour: 2, pixels: 300, de00_q6: 777 };
    Report {
        frame: 299,
        dropped: 2,
        width: 320,
        height: 300,
        method: Method::Uniform,
        lambda_q6: 3_200,
        coreset_size: 1_000,
        w_open: 20,
        refine: wire::Refine::Cover,
        seed: 7,
        warm: true,
        coreset_points: 998,
        scatter_q12: Some(123_456_789_012),
        iterations: 36,
        converged: true,
        sweeps: 21,
        saturated: false,
        beyond_px: Some(500),
        missed: Some(1),
        sse_q12: 98_765_432_109_876,
        max_distance2_q12: 799_027_200,
        births: [300].into_iter().collect(),
        deaths: [1, 70_000].into_iter().collect(),
        regions: [wire::RegionShare { region: 3, pixels: 40_000, named: [named].into_iter().collect() }]
            .into_iter()
            .collect(),
        colorimetry: Default::default(),
        silhouette_ppm: Some(-421_337),
        micros: Micros { coreset: 300, cluster: 900, label: 400, total: 1_600 },
        palette: [swatch(0, [0, 64, 16_320], 95_999), swatch(300, [8_000, 1, 2], 1)].into_iter().collect(),
    }
}

#[test]
fn every_kind_of_record_has_the_bytes_it_had() {
    let census = CensusHead {
        frame: 299,
        part: 0,
        parts: 1,
        pixels: 5,
        colours: 2,
        in_part: 2,
        centroids_q6: [[0, 64, 128]].into_iter().collect(),
        ids: [3].into_iter().collect(),
        space: Default::default(),
    };
    let picture = PictureHead {
        frame: 299,
        part: 0,
        parts: 1,
        width: 2,
        height: 2,
        packed_bytes: 4,
        palette: [[1, 2, 3], [250, 0, 128]].into_iter().collect(),
    };
    let loss = Loss { stream: 2, from: 10, to: 300, reason: LossReason::Full };
    let original = OriginalHead { frame: 299, width: 320, height: 300 };
    let event = event(Some(Pattern::Blinking { rate_millihz: 1_250 }));
    let colorimetry = Colorimetry { space: Space::Cielab, de00_mean_q6: Some(253), reference_de00_q6: Some(77) };
    let in_cielab = Report { colorimetry, ..report() };
    let census_in_cielab = CensusHead { space: Space::Cielab, ..census.clone() };
    let all = [
        ("report", record(&report(), &[])),
        ("census", record(&census, &[5, 4, 0x80, 2, 1])),
        ("picture", record(&picture, &[1, 2, 3, 4])),
        ("loss", record(&loss, &[])),
        ("original", record(&original, &[0xFF, 0xD8])),
        ("event", record(&event, &[])),
        ("report-cielab", record(&in_cielab, &[])),
        ("census-cielab", record(&census_in_cielab, &[5, 4, 0x80, 2, 1])),
    ];
    golden("records.hex", &all.iter().map(|(name, hex)| format!("{name}\n{hex}")).collect::<String>());
    assert_eq!(Kind::from_byte(7), None, "a new kind needs its line above");
}

fn event(pattern: Option<Pattern>) -> EventRecord {
    EventRecord {
        frame: 299,
        name: "line-stopped".try_into().unwrap(),
        change: EventChange::Begin,
        value_micro: Some(-31_250),
        pattern,
    }
}

/// The value of a golden record.
fn golden_value<T: Payload>(hex: &str) -> T {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let record: Vec<u8> = digits.chunks(2).map(byte).collect();
    let (envelope, payload) = Envelope::open(&record).unwrap();
    wire::decode(envelope.payload_version, payload).unwrap()
}

#[test]
fn reports_of_every_version_say_what_they_said() {
    let unknown = Report { sweeps: 0, beyond_px: None, missed: None, regions: Default::default(), ..report() };
    let v2 = Report { refine: wire::Refine::Mse, ..unknown.clone() };
    let (births, deaths) = (Default::default(), Default::default());
    let v1 = Report { refine: wire::Refine::None, births, deaths, ..unknown };
    assert_eq!(golden_value::<Report>(include_str!("../../tests/golden/report-1.hex")), v1);
    assert_eq!(golden_value::<Report>(include_str!("../../tests/golden/report-2.hex")), v2);
    assert_eq!(golden_value::<Report>(&record(&report(), &[])), report());
    let colorimetry = Colorimetry { space: Space::Cielab, de00_mean_q6: None, reference_de00_q6: Some(0) };
    let in_cielab = Report { colorimetry, ..report() };
    assert_eq!(golden_value::<Report>(&record(&in_cielab, &[])), in_cielab);
}

#[test]
fn events_of_every_version_say_what_they_said() {
    assert_eq!(golden_value::<EventRecord>(include_str!("../../tests/golden/event-1.hex")), event(None));
}

#[test]
fn a_certificate_of_0_in_an_old_report_is_one_only_where_the_method_gives_one() {
    let uniform = golden_value::<Report>(include_str!("../../tests/golden/report-2.hex"));
    let scatter_q12 = |method, coreset_points, scatter_q12: u8| {
        // A report of version 2, field by field as postcard has it: 4 pixels in one cluster.
        let head = [0, 0, 4, 1, method as u8, 50, 100, 1, 2, 7, 0, coreset_points, scatter_q12, 5, 1, 0, 0, 0, 0];
        let rest = [1, 2, 3, 4, 1, 0, 0, 0, 0, 4, 0, 0];
        wire::decode::<Report>(2, &[&head[..], &rest[..]].concat()).unwrap().scatter_q12
    };
    assert_eq!(uniform.scatter_q12, Some(123_456_789_012));
    for method in [Method::Uniform, Method::Sensitivity, Method::Lightweight] {
        assert_eq!(scatter_q12(method, 3, 0), None);
        assert_eq!(scatter_q12(method, 4, 0), Some(0), "no pixel was moved");
    }
    for method in [Method::Octree, Method::StreamKm] {
        assert_eq!(scatter_q12(method, 3, 0), Some(0));
    }
}

#[test]
fn windows_and_acks_have_the_bytes_they_had_and_come_back() {
    let journal = JournalId::try_from("kafka-cluster:hueflow").unwrap();
    let window = Window {
        id: WindowId { boot: 0x1234_5678_9abc_def0, n: 17 },
        journal: Some(journal.clone()),
        streams: [StreamWindow { stream: 2, since: 0, floor: 128, next: 70_000 }].into_iter().collect(),
    };
    let ranges = [(128, 200), (300, 301)].into_iter().collect();
    let ack =
        Ack { journal, window: Some(window.id), streams: [StreamAck { stream: 2, ranges }].into_iter().collect() };
    let mut buf = vec![0; CONTROL_BYTES_MAX];
    let n = wire::encode_window(&window, &mut buf).unwrap();
    let mut text = format!("window\n{}", hex(&buf[..n]));
    assert_eq!(wire::decode_window(&buf[..n]), Ok(window));
    let n = wire::encode_ack(&ack, &mut buf).unwrap();
    write!(text, "ack\n{}", hex(&buf[..n])).unwrap();
    assert_eq!(wire::decode_ack(&buf[..n]), Ok(ack));
    golden("control.hex", &text);
}

#[test]
fn the_core_computes_the_golden_results() {
    // The bare images print the same lines: see firmware/bare.
    let lines = || {
        let mut text = String::new();
        let mut memory = Box::new(digest::Memory::EMPTY);
        digest::digest(&mut memory, &mut |bytes| text.push_str(std::str::from_utf8(bytes).unwrap())).unwrap();
        text
    };
    golden("engine.txt", &lines());
    #[cfg(feature = "simd")]
    {
        firmware::kernel::forbid_avx2();
        golden("engine.txt", &lines());
    }
}

#[test]
fn any_bytes_decode_to_a_value_or_an_error() {
    let mut x = 1u64;
    for len in 0..2_000 {
        let bytes: Vec<u8> = (0..len % 90)
            .map(|_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (x >> 56) as u8
            })
            .collect();
        for version in 1..=3 {
            let _ = wire::decode::<Report>(version, &bytes);
        }
        for version in 1..=2 {
            let _ = wire::decode_head::<CensusHead>(version, &bytes);
        }
        let _ = wire::decode_head::<PictureHead>(1, &bytes);
        let _ = wire::decode::<Loss>(1, &bytes);
        let _ = wire::decode::<EventRecord>(1, &bytes);
        let _ = wire::decode_window(&bytes);
        let _ = wire::decode_ack(&bytes);
    }
    for version in [0, 4] {
        assert_eq!(wire::decode::<Report>(version, &[]), Err(wire::WireError::Version(version)));
    }
}
