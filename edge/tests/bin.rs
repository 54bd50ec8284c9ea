//! The program from outside: what it prints, what it writes, and how it ends.
//!
//! Inputs are the built program and files made here, in temporary directories. No network is used; tests/e2e has the brokers.

// A test that cannot go on panics, which shows where.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn edge(args: &[&str]) -> Output {
    edge_with(args, b"")
}

fn edge_with(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends with `code` and has all of `words` on standard error, without a panic.
#[track_caller]
fn fails(args: &[&str], want: i32, words: &[&str]) -> Output {
    let output = edge(args);
    let err = text(&output.stderr);
    assert_eq!(code(&output), want, "{args:?}: {err}");
    assert!(words.iter().all(|w| err.contains(w)) && !err.contains("panicked"), "{args:?}: {err}");
    output
}

fn png(path: &Path, width: u32, height: u32, rgb: &[u8]) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(rgb).unwrap();
}

fn read_png(path: &Path) -> (png::ColorType, Vec<u8>) {
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap())).read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut data).unwrap();
    (reader.info().color_type, data)
}

fn scene(width: usize, height: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        let noise = (i.wrapping_mul(2_654_435_761) >> 13) & 7;
        match (x * 3 / width, y * 2 / height) {
            (0, _) => [200 + noise, 40, 40],
            (1, 0) => [40, 180 + noise, 60 + x % 9],
            (1, _) => [30, 30 + noise, 190],
            _ => [230, 220, 120 + noise],
        }
    };
    (0..width * height).flat_map(pixel).map(|v| v as u8).collect()
}

fn json(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn y4m(frames: usize) -> Vec<u8> {
    let mut clip = b"YUV4MPEG2 W64 H48 F30:1 C420jpeg\n".to_vec();
    for n in 0..frames {
        clip.extend(b"FRAME\n");
        clip.extend((0..64 * 48).map(|i| (40 + (i / 100 + n) % 160) as u8));
        clip.extend((0..2 * 32 * 24).map(|i| (90 + i / 40) as u8));
    }
    clip
}

#[test]
fn the_json_is_true_of_picture_labels_and_centroids() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let rgb = scene(160, 120);
    png(&dir.path().join("a.png"), 160, 120, &rgb);
    let output =
        edge(&["cluster", &at("a.png"), "--json", "--out", &at("out"), "--labels", &at("labels"), "--repeat", "3"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let line = json(&output).remove(0);
    let (kind, labels) = read_png(&dir.path().join("labels/000000.png"));
    assert_eq!(kind, png::ColorType::Grayscale);
    let palette: Vec<([f64; 3], u64)> = line["palette"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (std::array::from_fn(|i| s["rgb"][i].as_f64().unwrap()), s["pixels"].as_u64().unwrap()))
        .collect();
    let (mut sse, mut max, mut counts) = (0.0, 0.0f64, vec![0; palette.len()]);
    for (px, &label) in rgb.chunks(3).zip(&labels) {
        let distance2 = |c: &[f64; 3]| (0..3).map(|i| (f64::from(px[i]) - c[i]).powi(2)).sum::<f64>();
        let own = distance2(&palette[usize::from(label)].0);
        assert!(palette.iter().all(|(c, _)| distance2(c) >= own), "not the nearest centroid");
        sse += own;
        max = max.max(own);
        counts[usize::from(label)] += 1;
    }
    assert_eq!(line["sse"].as_f64().unwrap(), sse);
    assert_eq!(line["max_distance"].as_f64().unwrap(), max.sqrt());
    assert!((line["rms"].as_f64().unwrap() - (sse / 19_200.0).sqrt()).abs() < 1e-9);
    assert_eq!(counts, palette.iter().map(|p| p.1).collect::<Vec<_>>());
    assert_eq!(line["clusters"].as_u64().unwrap() as usize, palette.len());
    assert!(palette.len() >= 4 && line["converged"] == true && line["saturated"] == false);
    assert!(line["micros"]["total"].as_f64().unwrap() > 0.0);
    for key in
        ["frame", "width", "height", "pixels", "lambda", "coreset_size", "coreset_points", "iterations", "sweeps"]
    {
        assert!(line[key].is_number(), "{key}");
    }
    for key in ["beyond_px", "missed"] {
        assert!(line.get(key).is_some_and(|v| v.is_u64() || v.is_null()), "{key}");
    }
    let (_, picture) = read_png(&dir.path().join("out/000000.png"));
    for (px, &label) in picture.chunks(3).zip(&labels) {
        let want = palette[usize::from(label)].0.map(|c| (c + 0.5).floor() as u8);
        assert_eq!(px, want);
    }
}

#[test]
fn frames_are_numbered_over_all_inputs_and_each_input_is_a_stream_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, still) = (dir.path().join("c.y4m"), dir.path().join("s.png"));
    std::fs::write(&clip, y4m(3)).unwrap();
    png(&still, 160, 120, &scene(160, 120));
    let (clip, still) = (clip.display().to_string(), still.display().to_string());
    let run = || edge(&["cluster", &still, &clip, &still, "--json"]);
    let lines = json(&run());
    let frames: Vec<_> = lines.iter().map(|l| l["frame"].as_u64().unwrap()).collect();
    assert_eq!(frames, [0, 1, 2, 3, 4]);
    assert_eq!(lines[0]["palette"], lines[4]["palette"]);
    let same = |a: &serde_json::Value, b: &serde_json::Value| a["palette"] == b["palette"] && a["sse"] == b["sse"];
    assert!(lines.iter().zip(&json(&run())).all(|(a, b)| same(a, b)), "not the same for the same seed");
}

#[test]
fn one_pixel_one_colour_and_too_many_colours_are_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.png");
    let name = path.display().to_string();
    // Low bits all ones: sums over a cell are as large as they can be.
    for (width, height) in [(1, 1), (640, 480), (1920, 1080)] {
        png(&path, width, height, &vec![255; (width * height * 3) as usize]);
        for preset in ["none", "tutorial"] {
            let output = edge(&["cluster", &name, "--json", "--preset", preset]);
            assert_eq!(code(&output), 0, "{}", text(&output.stderr));
            let line = json(&output).remove(0);
            assert_eq!(line["clusters"], 1);
            assert_eq!(line["sse"], 0.0);
            assert_eq!(line["palette"][0]["rgb"][0], 255.0);
            assert_eq!(line["palette"][0]["pixels"], width * height);
            assert!(line["silhouette_estimate"].is_null());
        }
    }
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..320 * 300 * 3).map(|_| random()).collect();
    png(&path, 320, 300, &noise);
    let output = edge(&["cluster", &name, "--json", "--lambda", "1"]);
    let line = json(&output).remove(0);
    assert_eq!((code(&output), &line["clusters"], &line["saturated"]), (0, &255.into(), &true.into()));
    assert!(text(&output.stderr).contains("saturated"));
    let output = edge(&["cluster", &name, "--json", "--coreset-size", "78141"]);
    assert_eq!(json(&output)[0]["coreset_size"], 78141, "{}", text(&output.stderr));
    let output = edge(&["cluster", &name, "--json", "--coreset-size", "78141", "--method", "uniform"]);
    assert_eq!(json(&output)[0]["coreset_points"], 78141, "{}", text(&output.stderr));
}

#[test]
fn a_picture_of_65536_rows_is_reported_with_all_of_them_and_one_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    // A third of the rows black, the others white.
    let rgb: Vec<u8> = (0..65_536).flat_map(|y| [if y % 3 == 0 { 0 } else { 255 }; 3]).collect();
    png(&dir.path().join("tall.png"), 1, 65_536, &rgb);
    let output = edge(&["cluster", &at("tall.png"), "--json", "--out", &at("out"), "--labels", &at("labels")]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let line = json(&output).remove(0);
    assert_eq!((&line["width"], &line["height"], &line["pixels"]), (&1.into(), &65_536.into(), &65_536.into()));
    let pixels: Vec<_> = line["palette"].as_array().unwrap().iter().map(|s| s["pixels"].as_u64().unwrap()).collect();
    assert!(pixels == [21_846, 43_690] || pixels == [43_690, 21_846], "{pixels:?}");
    assert!(read_png(&dir.path().join("out/000000.png")).1 == rgb);
    assert_eq!(read_png(&dir.path().join("labels/000000.png")).1.len(), 65_536);
    png(&dir.path().join("wide.png"), 8_193, 1, &[9; 8_193 * 3]);
    fails(&["cluster", &at("wide.png")], 74, &["8,192"]);
}

#[test]
fn swap_is_still_understood_and_is_now_called_mse() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.png");
    png(&path, 160, 120, &scene(160, 120));
    let of = |refine: &str| {
        let output = edge(&["cluster", &path.display().to_string(), "--json", "--refine", refine]);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        let mut line = json(&output).remove(0);
        line["micros"] = serde_json::Value::Null;
        line
    };
    assert_eq!(of("swap"), of("mse"));
}

#[test]
fn wrong_command_lines_end_with_2_and_name_the_range() {
    for lambda in ["0", "nan", "-1", "inf", "443", "x"] {
        fails(&["cluster", "x.png", "--lambda", lambda], 2, &["lambda", "442"]);
        fails(&["run", "--lambda", lambda], 2, &["lambda", "442"]);
    }
    for size in ["0", "131073", "-1"] {
        fails(&["cluster", "x.png", "--coreset-size", size], 2, &["coreset_size", "131072"]);
    }
    fails(&["run", "--nonsense"], 2, &["--nonsense"]);
    fails(&["cluster"], 2, &[]);
    fails(&["run", "--source", "nowhere"], 2, &["camera.source", "synthetic:"]);
    fails(&["run", "--mqtt", "mqtts://u:p@h", "--device", "d"], 2, &["mqtt.url", "mqtts:// for TLS"]);
    fails(&["run", "--mqtt", "mqtt://h:1", "--device", "a/b"], 2, &["mqtt.device"]);
    assert_eq!(code(&edge(&["--help"])), 0);
    assert_eq!(code(&edge(&["--version"])), 0);
}

#[test]
fn wrong_configurations_end_with_78_and_name_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    let name = file.display().to_string();
    std::fs::write(&file, "[clustering]\nlamda = 3\n").unwrap();
    fails(&["check-config", "--config", &name], 78, &["clustering.lamda", "edge.toml", "clustering.lambda"]);
    std::fs::write(&file, "[clustering]\nlambda = 900\n").unwrap();
    fails(&["run", "--config", &name], 78, &["clustering.lambda", "900", "442"]);
    std::fs::write(&file, "not toml").unwrap();
    fails(&["check-config", "--config", &name], 78, &["TOML"]);
    fails(&["check-config", "--config", "/nonexistent.toml"], 78, &["/nonexistent.toml"]);
    std::fs::write(&file, "[clustering]\nlambda = 20\n").unwrap();
    let output = edge(&["check-config", "--config", &name]);
    assert_eq!((code(&output), output.stderr.len()), (0, 0));
    assert!(text(&output.stdout).contains("is sound; memory: "), "{}", text(&output.stdout));
    let printed = text(&edge(&["print-config", "--config", &name, "--seed", "4"]).stdout);
    assert!(printed.contains("lambda = 20  # ") && printed.contains("edge.toml"), "{printed}");
    assert!(printed.contains("seed = \"4\"  # --seed"), "{printed}");
    assert!(printed.parse::<toml::Table>().is_ok(), "{printed}");
}

#[test]
fn inputs_that_are_missing_or_damaged_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let at = |name: &str| path(name).display().to_string();
    fails(&["cluster", &at("none.png")], 66, &["none.png"]);
    fails(&["run", "--source", &format!("y4m:{}", at("none")), "--spool", &at("spool")], 66, &["none"]);
    fails(&["cluster", &dir.path().display().to_string()], 66, &["directory"]);
    png(&path("cut.png"), 160, 120, &scene(160, 120));
    let whole = std::fs::read(path("cut.png")).unwrap();
    std::fs::write(path("cut.png"), &whole[..whole.len() / 2]).unwrap();
    fails(&["cluster", &at("cut.png")], 74, &["cut.png", "truncated"]);
    std::fs::write(path("empty.png"), b"").unwrap();
    fails(&["cluster", &at("empty.png")], 74, &["empty"]);
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 80).encode(&scene(160, 120), 160, 120, jpeg_encoder::ColorType::Rgb).unwrap();
    std::fs::write(path("ok.jpg"), &jpeg).unwrap();
    assert_eq!(code(&edge(&["cluster", &at("ok.jpg"), "--json"])), 0);
    std::fs::write(path("cut.jpg"), &jpeg[..jpeg.len() - 40]).unwrap();
    fails(&["cluster", &at("cut.jpg")], 74, &["cut.jpg", "frame 0"]);
    std::fs::write(path("cut.mjpeg"), [&jpeg[..], &jpeg[..jpeg.len() / 2]].concat()).unwrap();
    let output = fails(&["cluster", &at("cut.mjpeg"), "--json"], 74, &["frame 1"]);
    assert_eq!(json(&output).len(), 1);
}

#[test]
fn a_y4m_cut_mid_frame_gives_its_whole_frames_and_then_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let clip = y4m(3);
    std::fs::write(dir.path().join("c.y4m"), &clip[..clip.len() - 100]).unwrap();
    let output = fails(&["cluster", &at("c.y4m"), "--json"], 74, &["frame 2"]);
    assert_eq!(json(&output).len(), 2);
    let out = format!("png:{}", at("out"));
    let args = ["run", "--source", "y4m:-", "--fast", "--display", &out, "--spool", &at("spool")];
    let output = edge_with(&args, &clip[..clip.len() - 100]);
    assert_eq!(code(&output), 74, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("frame 2"));
    assert!(dir.path().join("out/000001.png").exists() && !dir.path().join("out/000002.png").exists());
}

#[test]
fn a_run_without_broker_spools_shows_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(dir.path().join("c.y4m"), y4m(5)).unwrap();
    let source = format!("y4m:{}", at("c.y4m"));
    let (plain, both) = (format!("png:{}", at("plain")), format!("png:{}", at("both")));
    let run = |display: &str, view: &str| {
        let spool = at("spool");
        let args = ["run", "--source", &source, "--fast", "--loop", "--frames", "12", "--video", "all", "--display"];
        edge(&[&args[..], &[display, "--view", view, "--spool", &spool, "--log-frames"]].concat())
    };
    let output = run(&plain, "clustered");
    let err = text(&output.stderr);
    assert!(code(&output) == 0 && output.stdout.is_empty(), "{err}");
    assert_eq!(err.matches("colours detected at lambda 50, DCDP took").count(), 12, "{err}");
    assert!(err.contains("12 frames in") && err.contains(" held") && !err.contains("refused"), "{err}");
    let names: Vec<_> = (0..12).map(|n| dir.path().join(format!("plain/{n:06}.png"))).collect();
    assert!(names.iter().all(|n| n.exists()));
    // Clustered by `cluster`, the same frames have the same pictures.
    let clustered = edge(&["cluster", &at("c.y4m"), "--out", &at("cluster")]);
    assert_eq!(code(&clustered), 0);
    for n in 0..5 {
        let name = format!("{n:06}.png");
        assert_eq!(read_png(&dir.path().join("cluster").join(&name)), read_png(&dir.path().join("plain").join(name)));
    }
    // A second run finds the first one's records: 12 reports, 12 pictures, a census.
    let output = run(&both, "side-by-side");
    assert!(text(&output.stderr).contains("holds 25 records of 1 earlier runs"), "{}", text(&output.stderr));
    assert_eq!(read_png(&dir.path().join("both/000003.png")).1.len(), 128 * 48 * 3);
}

#[test]
fn an_unreachable_broker_stops_nothing_and_is_mentioned_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool").display().to_string();
    // Nobody listens on port 1.
    let args = "run --source synthetic:64x48@200 --frames 200 --no-drain --mqtt mqtt://127.0.0.1:1 --device d --spool";
    let output = edge(&[&args.split(' ').collect::<Vec<_>>()[..], &[&spool]].concat());
    let err = text(&output.stderr);
    assert_eq!(code(&output), 0, "{err}");
    assert_eq!(err.matches("no connection to the broker").count(), 1, "{err}");
    assert!(err.contains("201 held") || err.contains("200 frames"), "{err}");
}

#[test]
fn without_a_display_or_ffmpeg_it_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let bare = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"));
        command.args(args).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env("PATH", "/nonexistent");
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = bare(&["run", "--display", "window", "--spool", &at("spool")]);
    assert_eq!(code(&output), 69, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("window"));
    std::fs::write(dir.path().join("x.mp4"), b"not a video at all").unwrap();
    let output = bare(&["cluster", &at("x.mp4")]);
    assert_eq!(code(&output), 69, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("install ffmpeg"));
}

#[test]
fn the_tutorials_coreset_size() {
    let args = "coreset-size --points 96000 --clusters 13 --dims 3 --epsilon 0.5 --delta 0.5";
    let output = edge(&args.split(' ').collect::<Vec<_>>());
    let out = text(&output.stdout);
    assert_eq!((code(&output), out.lines().next()), (0, Some("78141")));
    assert!(out.contains("1000") && out.contains("1.6"), "{out}");
    fails(&args.replace("0.5", "0").split(' ').collect::<Vec<_>>(), 2, &["epsilon"]);
}

#[test]
fn a_silent_pipe_does_not_keep_a_stop_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .args(["run", "--source", "y4m:-", "--fast", "--log-frames", "--spool"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Half a frame more than two, and then nothing, with the pipe left open.
    let clip = y4m(3);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&clip[..clip.len() - 2000]).unwrap();
    let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut all) = (String::new(), String::new());
    while !line.contains("frame 1:") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut err, &mut line).unwrap() > 0, "{all}");
        all.push_str(&line);
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    std::io::Read::read_to_string(&mut err, &mut all).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{all}");
    assert!(all.contains("2 frames in") && all.contains("stream interrupted"), "{all}");
}
