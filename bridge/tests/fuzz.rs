//! Plays the fuzz targets over their corpus and a fixed number of mutations, as an ordinary test.
//!
//! With `HUEFLOW_BLESS=1` the encoders' part of `tests/fuzz/corpus` is written anew. Nothing is random; `tests/fuzz/run` is
//! the search that is guided by coverage.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../tests/fuzz/targets/feed.rs"]
mod feed;
#[path = "../../tests/fuzz/targets/play.rs"]
mod play;
#[path = "../../tests/fuzz/targets/bridge.rs"]
mod targets;

use firmware::custody::Envelope;
use firmware::frame::Frame;
use firmware::wire::census::Census;
use firmware::wire::label_map;
use firmware::wire::{self, CensusHead, Method, Micros, PictureHead, Refine, Report, Swatch};
use hueflow_bridge::config::{BRIDGE_KEYS, METRICS_KEYS};
use hueflow_bridge::json::ReportJson;
use hueflow_bridge::settings::Settings;
use play::play;

fn report() -> Report {
    let palette = [([16_320, 0, 33], 60), ([64, 128, 1], 36)];
    Report {
        frame: 3,
        dropped: 2,
        width: 12,
        height: 8,
        method: Method::Octree,
        lambda_q6: 3_200,
        coreset_size: 1_000,
        w_open: 4,
        refine: Refine::Cover,
        seed: u64::MAX,
        warm: true,
        coreset_points: 90,
        scatter_q12: Some(4_096),
        iterations: 36,
        converged: true,
        sweeps: 0,
        saturated: false,
        beyond_px: Some(0),
        missed: Some(0),
        sse_q12: 96 * 4_096 * 4,
        max_distance2_q12: 4_096 * 25,
        births: [7].into_iter().collect(),
        deaths: [3].into_iter().collect(),
        regions: Default::default(),
        colorimetry: Default::default(),
        silhouette_ppm: Some(500_000),
        micros: Micros { coreset: 1, cluster: 2, label: 3, total: 4_100 },
        palette: palette.iter().zip(7..).map(|(&(rgb_q6, pixels), id)| Swatch { id, rgb_q6, pixels }).collect(),
    }
}

fn report_bytes() -> Vec<u8> {
    let mut buf = [0; 512];
    let n = wire::encode(&report(), &mut buf).unwrap();
    buf[..n].to_vec()
}

/// The parts of a small picture and of its census.
fn payloads() -> [Vec<Vec<u8>>; 2] {
    let labels: Vec<u8> = (0..96).map(|i| (i % 12 / 6) as u8).collect();
    let mut packed = [0; 256];
    let n = label_map::pack(12, &labels, &mut packed).unwrap();
    let mut buf = vec![0; 32 * 1024];
    let halves = packed[..n].chunks(n.div_ceil(2)).enumerate().map(|(part, body)| {
        let head = PictureHead {
            frame: 3,
            part: part as u16,
            parts: 2,
            width: 12,
            height: 8,
            packed_bytes: n as u32,
            palette: [[255, 0, 0], [1, 2, 3]].into_iter().collect(),
        };
        let n = wire::encode(&head, &mut buf).unwrap();
        [&buf[..n], body].concat()
    });
    let pictures = halves.collect();
    let rgb: Vec<u8> = labels.iter().flat_map(|&l| [l * 90, 7, 200 - l]).collect();
    let head = CensusHead {
        frame: 3,
        part: 0,
        parts: 1,
        pixels: 0,
        colours: 0,
        in_part: 0,
        centroids_q6: [[0, 448, 12_800], [5_760, 448, 12_736]].into_iter().collect(),
        ids: [7, 8].into_iter().collect(),
        space: Default::default(),
    };
    let mut scratch = [0; 96];
    let mut census = Census::take(&Frame::rgb(12, 8, &rgb).unwrap(), head, &mut scratch, &mut []).unwrap();
    let n = census.next_part(&mut buf).unwrap().unwrap();
    [pictures, vec![buf[..n].to_vec()]]
}

fn stretch(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A delivery to be sealed: kind, topic, device, version, synchronised, stream, seq, captured at.
fn delivery(kind: u8, version: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 11, 0, version, 1, 10, 9, 163][..], payload].concat()
}

fn all() -> Vec<Vec<u8>> {
    let [pictures, census] = payloads();
    let mut all = vec![delivery(1, 3, &report_bytes()), delivery(4, 1, &[10, 1, 9, 0])];
    all.extend(census.iter().map(|p| delivery(2, 1, p)));
    all.extend(pictures.iter().map(|p| delivery(3, 1, p)));
    all
}

fn json() -> Vec<u8> {
    let e = Envelope { kind: 1, payload_version: 3, clock_synced: true, stream: 10, seq: 9, captured_at_us: 5 };
    serde_json::to_vec(&ReportJson::new("pi", &e, &report())).unwrap()
}

const WINDOW: &[u8] =
    br#"{"boot":"10","n":2,"journal":null,"streams":[{"stream":"10","since":0,"floor":3,"next":90}]}"#;
const LOSS: &[u8] = br#"{"stream":"10","from":1,"to":9,"reason":"full"}"#;

#[test]
fn no_delivery_makes_the_bridge_panic_and_each_dead_letter_has_one_reason() {
    let mut seeds: Vec<Vec<u8>> = all().into_iter().map(|d| [&[1], &d[..]].concat()).collect();
    seeds.push(b"\0hueflow/home/pi/status\n{\"state\":\"online\",\"boot\":\"10\"}".to_vec());
    let control = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/control.hex");
    let text = std::fs::read_to_string(control).unwrap();
    let hex: String = text.lines().skip(1).take_while(|l| *l != "ack").collect();
    let window = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
    seeds.push(b"\0hueflow/home/pi/window\n".iter().copied().chain(window).collect());
    play("verdict", targets::verdict, seeds, 400);
}

#[test]
fn no_entry_of_the_journal_makes_the_metrics_program_panic_or_count_twice() {
    let relayed = |d: &Vec<u8>| [&[0], &stretch(d)[..]].concat();
    let mut seeds = vec![all().iter().flat_map(relayed).collect::<Vec<u8>>()];
    // Topic, flags, schema and version; stream 10, seq 4 and bytes as numbers; content type; captured at; time; key; value.
    let foreign = |topic: u8, schema: u8, value: &[u8]| {
        let head = [1, topic, 0, schema, 3, 99, 10, 99, 4, 99, 1, 0, 1];
        [&head[..], &stretch(b"2026-11-24T10:11:12.5Z"), &[224, 1, 0, 0], &stretch(value)].concat()
    };
    seeds.push([foreign(0, 0, &json()), foreign(3, 5, WINDOW), foreign(3, 4, LOSS)].concat());
    seeds.push([foreign(3, 6, br#"{"state":"offline"}"#), foreign(0, 0, b"{}"), foreign(1, 1, b"x")].concat());
    play("journal", targets::journal, seeds, 400);
    play("json", targets::json, vec![json(), WINDOW.to_vec(), LOSS.to_vec(), report_bytes()], 4_000);
}

#[test]
fn no_parts_make_a_picture_or_a_census_that_is_not_whole() {
    let part = |p: &Vec<u8>| [&[1], &stretch(p)[..]].concat();
    play("parts", targets::parts, payloads().iter().map(|k| k.iter().flat_map(part).collect()).collect(), 3_000);
}

#[test]
fn no_configuration_makes_the_programs_panic_and_what_they_print_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let print = |keys| {
        let file = dir.path().join("none.toml");
        Settings::gather(keys, &file, false, "H", std::iter::empty(), &[]).unwrap().print().into_bytes()
    };
    let texts = [
        "site = 'a.b'\n[mqtt]\nurl = 'mqtt://u:p@[::1]:1'\n[journal]\nurl = 'kafka+ssl://me@a:9092,b:1'\nsasl = 'plain'",
        "[web]\nlisten = '0.0.0.0:1'\ntoken_file = 'none'\0JOURNAL__PARTITIONS=9\nSTORE__KEEP_DAYS=1",
        "kafka://me@a:9092,b:9093",
        "mqtts://u:p@h:1/",
    ];
    let seeds = [print(BRIDGE_KEYS), print(METRICS_KEYS)].into_iter();
    play("settings", targets::config, seeds.chain(texts.map(|t| t.as_bytes().to_vec())).collect(), 600);
}
