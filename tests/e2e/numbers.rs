//! The same still gives the same score from files and through the whole chain.
//!
//! The still is a golden one; its diagram is left in `target/test-output`. The definition is exact, so only the order of
//! sums may make a difference.

use harness::browser::get;
use harness::services::{Kafka, Mosquitto};
use harness::{House, media, output, root};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn json(out: &std::process::Output) -> Value {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stdout)))
}

#[test]
fn a_stills_silhouette_is_the_same_from_its_files_and_from_its_census_through_kafka() {
    let mut house = House::new("", "");
    let mosquitto = Mosquitto::start(house.dir());
    let kafka = Kafka::start("4", house.dir());
    (house.mqtt, house.journal) = (mosquitto.url(), kafka.url());
    let bridge = house.bridge(&[]);
    let (metrics, _) = house.metrics();
    let still = root().join("tests/golden/china.png");
    let still = still.to_string_lossy();
    let labels = house.path("labels");
    let clustered =
        json(&house.run("hueflow-edge", &["cluster", &still, "--json", "--labels", &labels.to_string_lossy()]));
    let mut edge = house.edge("pi-1", &["--source", &format!("file:{still}"), "--frames", "1"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    house.settled_ledger(1, LIMIT);

    let label_file = labels.join("000000.png");
    let from_files = json(&house.run(
        "hueflow-metrics",
        &["silhouette", "--image", &still, "--labels", &label_file.to_string_lossy(), "--json"],
    ));
    let store = house.store();
    let (store, knife) = (store.to_string_lossy(), output("knife.png"));
    let args = ["silhouette", "--device", "pi-1", "--store", &store, "--json", "--out", &knife.to_string_lossy()];
    let from_census = json(&house.run("hueflow-metrics", &args));
    let number = |v: &Value| v.as_f64().unwrap();
    assert!((number(&from_files["score"]) - number(&from_census["score"])).abs() < 1e-9, "{from_files} {from_census}");
    assert_eq!(from_files["pixels"], from_census["pixels"]);
    let (a, b) = (from_files["clusters"].as_array().unwrap(), from_census["clusters"].as_array().unwrap());
    assert_eq!(a.len(), b.len());
    assert_eq!(a.len() as u64, clustered["clusters"].as_u64().unwrap());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((&a["label"], &a["pixels"]), (&b["label"], &b["pixels"]));
        assert!((number(&a["mean"]) - number(&b["mean"])).abs() < 1e-9);
    }
    let estimate = number(&clustered["silhouette_estimate"]);
    assert!((estimate - number(&from_files["score"])).abs() < 0.03, "estimate {estimate}");
    let (w, h, _) = media::png(&knife);
    assert!(w > 300 && h > 300);
    drop((bridge, metrics));
}

#[test]
fn a_silhouette_in_cielab_is_the_same_from_files_from_a_census_and_on_the_page() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let still = root().join("tests/golden/china.png");
    let (still, labels) = (still.to_string_lossy().into_owned(), house.path("labels"));
    json(&house.run(
        "hueflow-edge",
        &["cluster", &still, "--space", "cielab", "--json", "--labels", &labels.to_string_lossy()],
    ));
    let source = format!("file:{still}");
    let mut edge = house.edge("lab", &["--source", &source, "--frames", "1", "--space", "cielab"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    house.settled_ledger(1, LIMIT);

    let (labels, store) = (labels.join("000000.png").to_string_lossy().into_owned(), house.store());
    let files = ["silhouette", "--json", "--image", &still, "--labels", &labels];
    let run = |args: &[&str]| json(&house.run("hueflow-metrics", args));
    let in_rgb = run(&files);
    let from_files = run(&[&files[..], &["--space", "cielab"]].concat());
    let from_census = run(&["silhouette", "--json", "--device", "lab", "--store", &store.to_string_lossy()]);
    let (status, body) = get(&page, "/api/devices/lab/silhouette");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let on_the_page: Value = serde_json::from_slice(&body).unwrap();
    let number = |v: &Value| v["score"].as_f64().unwrap();
    assert!((number(&from_files) - number(&from_census)).abs() < 1e-9, "{from_files} {from_census}");
    assert!((number(&from_files) - number(&on_the_page)).abs() < 1e-9, "{from_files} {on_the_page}");
    assert!((number(&from_files) - number(&in_rgb)).abs() > 1e-3, "{from_files} {in_rgb}");
    assert_eq!((&from_files["space"], &from_census["space"]), (&"cielab".into(), &"cielab".into()));
    drop((bridge, metrics));
}

#[test]
fn the_clusters_of_a_still_add_up_to_what_its_json_says() {
    let house = House::new("", "");
    let still = root().join("tests/golden/astronaut.png");
    let (out, labels) = (house.path("out"), house.path("labels"));
    let args = [
        "cluster",
        &still.to_string_lossy(),
        "--lambda",
        "50",
        "--json",
        "--out",
        &out.to_string_lossy(),
        "--labels",
        &labels.to_string_lossy(),
    ];
    let j = json(&house.run("hueflow-edge", &args));
    let (w, h, rgb) = media::png(&still);
    let (_, _, labels) = media::png(&labels.join("000000.png"));
    let (ow, oh, recoloured) = media::png(&out.join("000000.png"));
    assert_eq!((w * h, ow, oh), (labels.len(), w, h));
    let palette: Vec<[f64; 3]> =
        j["palette"].as_array().unwrap().iter().map(|p| [0, 1, 2].map(|i| p["rgb"][i].as_f64().unwrap())).collect();
    let (mut sse, mut pixels) = (0.0, vec![0u64; palette.len()]);
    for ((px, &label), out) in rgb.chunks(3).zip(&labels).zip(recoloured.chunks(3)) {
        let c = palette[usize::from(label)];
        sse += px.iter().zip(c).map(|(&p, c)| (f64::from(p) - c).powi(2)).sum::<f64>();
        pixels[usize::from(label)] += 1;
        assert!(out.iter().zip(c).all(|(&o, c)| (f64::from(o) - c).abs() <= 0.5));
    }
    assert_eq!(sse, j["sse"].as_f64().unwrap(), "all terms are multiples of 1/4096: no rounding anywhere");
    let printed: Vec<u64> = j["palette"].as_array().unwrap().iter().map(|p| p["pixels"].as_u64().unwrap()).collect();
    assert_eq!(pixels, printed);
    assert_eq!((j["width"].as_u64(), j["height"].as_u64(), j["pixels"].as_u64()), (Some(320), Some(300), Some(96_000)));
}
