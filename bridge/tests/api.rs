//! `/api/openapi.json`: it has every route that the program serves, and real answers follow it.
//!
//! A running `hueflow-metrics` has one device with reports, a census, pictures and an event. The routes are read from the
//! source of the router. An answer is checked against its schema, key by key; a word of the schema language that the check does
//! not know fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::zombie_processes)]

mod common;

use common::{envelope, event, record, window};
use firmware::custody::Kind;
use firmware::wire::{CensusHead, EventChange, OriginalHead, PictureHead, Space, label_map};
use hueflow_bridge::journal::Journal;
use hueflow_bridge::journal::local::{LocalJournal, Retention};
use hueflow_bridge::relay::verdict::{ValueFormat, Verdict, judge, seal};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const METRICS: &str = env!("CARGO_BIN_EXE_hueflow-metrics");
const ROUTER: &str = include_str!("../src/metrics/http/mod.rs");
const LIMIT: Duration = Duration::from_secs(20);

/// A journal with a device's frames.
fn fill(file: &Path) -> LocalJournal {
    let journal = LocalJournal::open(file, Retention { days: 7, video_bytes_max: 1 << 20 }, true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut deliveries: Vec<(&str, Vec<u8>)> = (0..5).map(|seq| ("metrics", record(8, seq))).collect();
    let head = CensusHead {
        space: Space::Rgb,
        frame: 4,
        part: 0,
        parts: 1,
        pixels: 6,
        colours: 3,
        in_part: 3,
        centroids_q6: heapless::Vec::from_slice(&[[0; 3], [6_400; 3]]).unwrap(),
        ids: heapless::Vec::from_slice(&[4, 5]).unwrap(),
    };
    // Blue levels of 1, 2 and 202, twice each.
    deliveries.push(("census", seal(&envelope(Kind::Census, 8, 5), &head, &[1, 2, 1, 2, 200, 1, 2]).unwrap()));
    let labels: Vec<u8> = (0..96).map(|i| (i % 3) as u8).collect();
    let mut packed = vec![0; 512];
    let n = label_map::pack(12, &labels, &mut packed).unwrap();
    let palette = heapless::Vec::from_slice(&[[1, 2, 3], [40, 50, 60], [200, 100, 9]]).unwrap();
    let head = PictureHead { frame: 4, part: 0, parts: 1, width: 12, height: 8, packed_bytes: n as u32, palette };
    deliveries.push(("video", seal(&envelope(Kind::Picture, 8, 6), &head, &packed[..n]).unwrap()));
    let head = OriginalHead { frame: 4, width: 12, height: 8 };
    deliveries.push(("video", seal(&envelope(Kind::Original, 0, 0), &head, b"\xff\xd8\xff\xd9").unwrap()));
    deliveries.push(("event", event(8, 7, "door", EventChange::Begin)));
    deliveries.push(("window", window(8, 1, None, &[(8, 0, 0, 8), (9, 0, 0, 0)])));
    deliveries.push(("status", br#"{"state":"online","version":"test"}"#.to_vec()));
    for (kind, bytes) in deliveries {
        let entry = match judge(&format!("hueflow/home/pi/{kind}"), &bytes, 5_000_000, ValueFormat::Json) {
            Verdict::Keep { entry, .. } | Verdict::Picture { entry } => entry,
            Verdict::Ignore => panic!("{kind} is ignored"),
        };
        assert!(!entry.dead, "{kind}: {entry:?}");
        runtime.block_on(journal.append(entry.into())).unwrap();
    }
    journal
}

struct Page {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
    _journal: LocalJournal,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Page {
    fn start() -> Page {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal.db");
        let journal = fill(&file);
        let mut process = Command::new(METRICS)
            .args(["run", "--listen", "127.0.0.1:0", "--journal"])
            .arg(format!("local:{}", file.display()))
            .arg("--store")
            .arg(dir.path().join("store.db"))
            // The demo's routes are there too. Nobody reads the pipe.
            .arg("--demo-outages")
            .arg(dir.path().join("outages"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|l| l.strip_prefix("http://127.0.0.1:")?.trim_end_matches('/').parse().ok());
        std::thread::spawn(move || lines.for_each(drop));
        let page = Page { process, port: port.unwrap(), _dir: dir, _journal: journal };
        // Pictures are the last that is known.
        for path in ["original.jpg", "picture.png", "latest", "silhouette"] {
            let path = format!("/api/devices/pi/{path}");
            page.until(&path, || page.ask("GET", &path).0 == 200);
        }
        page.until("the ledger", || page.json("/api/ledger")[0]["stored"] == 8);
        page
    }

    fn until(&self, what: &str, is_there: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_there() {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.ask("GET", "/api/fleet"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Status, content type and body.
    fn ask(&self, method: &str, path: &str) -> (u16, String, Vec<u8>) {
        let mut s = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(s, "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut reader = BufReader::new(s);
        let (mut line, mut kind) = (String::new(), String::new());
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-type") => kind = value.to_owned(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        if kind.starts_with("text/event-stream") {
            reader.read_until(b'\n', &mut body).unwrap(); // It never ends.
        } else {
            reader.read_to_end(&mut body).unwrap();
        }
        (status, kind, body)
    }

    fn json(&self, path: &str) -> Value {
        let (_, _, body) = self.ask("GET", path);
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

/// What is wrong with a value.
fn check(value: &Value, schema: &Value, all: &Value, at: &str) -> Result<(), String> {
    let Some(words) = schema.as_object() else { return Err(format!("{at}: {schema} is no schema")) };
    for (word, of) in words {
        match word.as_str() {
            "description" | "required" | "additionalProperties" | "format" => {}
            "$ref" => {
                let name = of.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
                let schema = all.get(name).ok_or_else(|| format!("{at}: there is no schema {name}"))?;
                check(value, schema, all, at)?;
            }
            "anyOf" => {
                let tried = of.as_array().unwrap().iter().map(|schema| check(value, schema, all, at));
                let wrong: Vec<_> = tried.map(Result::err).collect();
                if wrong.iter().all(Option::is_some) {
                    return Err(format!("{at}: {wrong:?}"));
                }
            }
            "enum" if of.as_array().unwrap().contains(value) => {}
            "type" => {
                let is = |kind: &str| match kind {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "string" => value.is_string(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("{at}: no type {other}"),
                };
                let kinds = of.as_array().cloned().unwrap_or_else(|| vec![of.clone()]);
                if !kinds.iter().any(|kind| is(kind.as_str().unwrap())) {
                    return Err(format!("{at}: {value} is not of type {of}"));
                }
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(item, of, all, &format!("{at}[{n}]"))?;
                }
            }
            "properties" => {
                let Some(object) = value.as_object() else { continue };
                for key in schema["required"].as_array().into_iter().flatten() {
                    if !object.contains_key(key.as_str().unwrap()) {
                        return Err(format!("{at}: {key} is missing"));
                    }
                }
                for (key, value) in object {
                    match of.get(key) {
                        Some(schema) => check(value, schema, all, &format!("{at}.{key}"))?,
                        None if schema["additionalProperties"] == false => {
                            return Err(format!("{at}: {key} is unknown"));
                        }
                        None => {}
                    }
                }
            }
            _ => return Err(format!("{at}: {word} {of}: {value}")),
        }
    }
    Ok(())
}

#[test]
fn the_check_finds_what_is_wrong() {
    let schema = json!({ "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": "array", "items": { "$ref": "#/components/schemas/N" } }, "b": { "enum": ["x"] } } });
    let all = json!({ "N": { "type": ["integer", "null"] } });
    for good in [json!({ "a": [] }), json!({ "a": [1, null], "b": "x" })] {
        assert_eq!(check(&good, &schema, &all, ""), Ok(()));
    }
    for bad in [
        json!([]),
        json!({}),
        json!({ "a": 1 }),
        json!({ "a": [1.5] }),
        json!({ "a": [], "c": 1 }),
        json!({ "a": [], "b": "y" }),
    ] {
        assert!(check(&bad, &schema, &all, "").is_err(), "{bad}");
    }
    assert!(check(&json!(1), &json!({ "minimum": 0 }), &all, "").is_err(), "a word that is not known");
}

/// Method and path of each route below `/api`, from the router's source.
fn routes() -> BTreeSet<(String, String)> {
    let of = |text: &str| {
        let (path, rest) = text.split_once('"').unwrap();
        let method = rest.trim_start_matches([',', ' ', '\n']).split('(').next().unwrap();
        (method.to_owned(), path.to_owned())
    };
    let source: String = ROUTER.split_whitespace().collect();
    source.split(".route(\"").skip(1).map(of).filter(|(_, path)| path.starts_with("/api")).collect()
}

#[test]
fn every_route_is_described_and_real_answers_are_as_described() {
    let page = Page::start();
    let description = page.json("/api/openapi.json");
    assert_eq!(description["openapi"], "3.1.0");
    let all = &description["components"]["schemas"];
    let mut described = BTreeSet::new();
    let (mut asked, mut named) = (0, description.to_string());
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.clone(), path.clone()));
            if method != "get" {
                continue;
            }
            let mut address = path.replace("{device}", "pi");
            for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query") {
                let (name, separator) =
                    (parameter["name"].as_str().unwrap(), if address.contains('?') { '&' } else { '?' });
                // The whole past, one lambda, and each switch on.
                let value = match name {
                    "from" => "1600000000000",
                    "to" => "1800000000000",
                    "lambda" => "50",
                    "device" => "pi",
                    _ => "1",
                };
                address.push_str(&format!("{separator}{name}={value}"));
            }
            let (status, kind, body) = page.ask("GET", &address);
            assert_eq!(status, 200, "{address}: {}", String::from_utf8_lossy(&body));
            let content = operation["responses"]["200"]["content"].as_object().unwrap();
            let (want, of) = content.iter().next().unwrap();
            assert!(kind.starts_with(want), "{address}: {kind}");
            if want == "application/json" {
                let body = serde_json::from_slice(&body).unwrap();
                assert_eq!(check(&body, &of["schema"], all, path), Ok(()), "{body}");
                assert!(body.as_array().is_none_or(|a| !a.is_empty()), "{address}: nothing was checked");
            }
            asked += 1;
            // A device that is not there is reported in the form of every refusal.
            let (status, _, body) = page.ask("GET", &address.replace("devices/pi", "devices/nobody"));
            if status >= 400 {
                let body = serde_json::from_slice(&body).unwrap();
                assert_eq!(check(&body, &all["Error"], all, path), Ok(()));
            }
        }
    }
    assert_eq!(described, routes());
    assert!(asked > 14);
    for schema in all.as_object().unwrap().keys() {
        let reference = format!("#/components/schemas/{schema}\"");
        assert!(named.contains(&reference), "nothing uses {schema}");
        named = named.replace(&reference, "");
    }
    for path in ["/api/devices/pi/command", "/api/demo/outage"] {
        let (status, _, body) = page.ask("POST", path);
        assert!(status >= 400);
        assert_eq!(check(&serde_json::from_slice(&body).unwrap(), &all["Error"], all, path), Ok(()));
    }
}
