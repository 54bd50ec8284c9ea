//! The JPEG sweep: every picture that cjpeg and our encoder make, decoded by us and by djpeg, and compared.
//!
//! Needs `cjpeg` and `djpeg` of libjpeg-turbo, which `./tests/run` installs; without them the test fails and reports it. Every
//! picture is decoded by `djpeg -dct int`, with its default smooth upsampling of chroma. If djpeg decodes it without a
//! warning, ours must have the same size and be within [`LEVELS_MAX`], or be refused with a reason that the table names; if
//! djpeg warns or fails, ours must be refused. The table is printed: `cargo test --test jpeg_sweep -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hueflow_edge::camera::decode::rgb::Rgb;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Largest difference from djpeg that a level may have.
const LEVELS_MAX: u8 = 2;
/// Sampling factors of each component in turn.
const FACTORS: [&str; 6] = ["1x1", "1x2", "2x1", "2x2", "4x1", "4x2"];
/// An odd size, so that the last blocks are not full.
const ODD: (usize, usize) = (37, 29);
const SIZES: [(usize, usize); 13] = [
    (1, 1),
    (2, 2),
    (1, 7),
    (7, 1),
    (8, 8),
    (16, 16),
    (17, 13),
    (33, 47),
    (3, 200),
    (200, 3),
    (1, 300),
    (1000, 1),
    (130, 66),
];
/// Places at which a picture is cut.
const CUTS: usize = 40;

/// A picture of saturated blocks with noise, which shows every mistake in sampling.
fn picture((width, height): (usize, usize)) -> Vec<u8> {
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        let [r, g, b] = [[200, 60, 40], [30, 90, 210], [60, 180, 70]][(x / 11 + y / 7) % 3];
        [r + x * 37 % 23, g + y * 29 % 19, b + (x + y) * 13 % 31].map(|c| c as u8)
    };
    (0..width * height).flat_map(pixel).collect()
}

/// Runs a program over `input`. Gives its exit code and output.
fn run(program: &str, args: &[&str], input: &[u8]) -> (i32, Vec<u8>) {
    let child =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{program} (apt install libjpeg-turbo-progs): {e}"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // djpeg ends early where a picture does.
            let _ = stdin.write_all(input);
        });
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), output.stdout)
    })
}

/// Width, height and RGB of a binary PPM or PGM.
fn netpbm(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut words = bytes.splitn(5, |b| b.is_ascii_whitespace());
    let mut word = || words.next().unwrap();
    let kind = word();
    let number = |word: &[u8]| std::str::from_utf8(word).unwrap().parse::<usize>().unwrap();
    let (width, height, most, data) = (number(word()), number(word()), number(word()), word());
    assert_eq!(most, 255);
    let rgb = if kind == b"P5" { data.iter().flat_map(|&grey| [grey; 3]).collect() } else { data.to_vec() };
    (width, height, rgb)
}

/// Everything that is decoded, each with the row of the table that it belongs to.
struct Corpus(Vec<(&'static str, String, Vec<u8>)>);

impl Corpus {
    /// What cjpeg makes of the picture, unless it cannot (more than ten blocks in an interleaved unit).
    fn cjpeg(&mut self, row: &'static str, size: (usize, usize), args: &[&str]) {
        let ppm = [format!("P6\n{} {}\n255\n", size.0, size.1).as_bytes(), &picture(size)].concat();
        let (code, bytes) = run("cjpeg", args, &ppm);
        if code == 0 && !bytes.is_empty() {
            self.0.push((row, format!("{}x{} {}", size.0, size.1, args.join(" ")), bytes));
        }
    }

    fn made() -> Corpus {
        let dir = tempfile::tempdir().unwrap();
        let scans = |name: &str, text: &str| {
            let path = dir.path().join(name).display().to_string();
            std::fs::write(&path, text).unwrap();
            path
        };
        let (apart, partly) = (scans("apart", "0;\n1;\n2;\n"), scans("partly", "0;\n1 2;\n"));
        let mut corpus = Corpus(Vec::new());
        for a in FACTORS {
            for b in FACTORS {
                for c in FACTORS {
                    let factors = [a, b, c].join(",");
                    let args = ["-quality", "90", "-sample", &factors];
                    corpus.cjpeg("sampling, one scan", ODD, &args);
                    corpus.cjpeg("sampling, a scan each", ODD, &[&args[..], &["-scans", &apart]].concat());
                    corpus.cjpeg("sampling, two scans", ODD, &[&args[..], &["-scans", &partly]].concat());
                    corpus.cjpeg("sampling, progressive", ODD, &[&args[..], &["-progressive"]].concat());
                }
            }
        }
        for size in SIZES {
            for luma in FACTORS {
                let factors = format!("{luma},1x1,1x1");
                let args = ["-sample", &factors];
                corpus.cjpeg("sizes, one scan", size, &args);
                corpus.cjpeg("sizes, progressive", size, &[&args[..], &["-progressive"]].concat());
                corpus.cjpeg("sizes, a scan each", size, &[&args[..], &["-scans", &apart]].concat());
                corpus.cjpeg("restarts each row", size, &[&args[..], &["-restart", "1"]].concat());
                corpus.cjpeg("restarts each block", size, &[&args[..], &["-restart", "1B"]].concat());
                corpus.cjpeg("restarts, progressive", size, &[&args[..], &["-restart", "2B", "-progressive"]].concat());
                corpus.cjpeg(
                    "restarts, a scan each",
                    size,
                    &[&args[..], &["-restart", "1B", "-scans", &apart]].concat(),
                );
            }
            corpus.cjpeg("grey", size, &["-grayscale"]);
            corpus.cjpeg("grey", size, &["-grayscale", "-progressive"]);
            corpus.cjpeg("RGB", size, &["-rgb"]);
            corpus.cjpeg("RGB", size, &["-rgb", "-progressive"]);
            corpus.cjpeg("arithmetic coding", size, &["-arithmetic"]);
            corpus.cjpeg("arithmetic coding", size, &["-arithmetic", "-progressive"]);
        }
        corpus.four_components();
        corpus.application_segments();
        corpus.cuts();
        corpus
    }

    /// CMYK and YCCK, which cjpeg does not write.
    fn four_components(&mut self) {
        let inks: Vec<u8> =
            picture(ODD).as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, r / 3 + 90]).collect();
        let kinds = [("CMYK", ColorType::Cmyk), ("YCCK", ColorType::CmykAsYcck), ("YCCK", ColorType::Ycck)];
        for (row, kind) in kinds {
            for factor in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2] {
                for progressive in [false, true] {
                    let mut bytes = Vec::new();
                    let mut encoder = Encoder::new(&mut bytes, 90);
                    encoder.set_sampling_factor(factor);
                    encoder.set_progressive(progressive);
                    encoder.encode(&inks, ODD.0 as u16, ODD.1 as u16, kind).unwrap();
                    self.0.push((row, format!("{kind:?} {factor:?} progressive {progressive}"), bytes));
                }
            }
        }
    }

    /// The marker with the colour space of a picture, in front of pictures of one, three and four components.
    fn application_segments(&mut self) {
        let kinds = ["-grayscale", "-rgb", "-optimize"].map(|arg| {
            run("cjpeg", &[arg], &{
                let head = format!("P6\n{} {}\n255\n", ODD.0, ODD.1);
                [head.as_bytes(), &picture(ODD)].concat()
            })
            .1
        });
        let four = self.0.iter().filter(|f| matches!(f.0, "CMYK" | "YCCK")).map(|f| f.2.clone()).take(2);
        for (i, bytes) in kinds.into_iter().chain(four.collect::<Vec<_>>()).enumerate() {
            let plain = without_application_segments(&bytes);
            self.0.push(("no APP segment", format!("kind {i}"), plain.clone()));
            for transform in 0..4 {
                let adobe = [&[0xFF, 0xEE, 0, 14][..], b"Adobe", &[0, 100, 0, 0, 0, 0, transform]].concat();
                let bytes = [&plain[..2], &adobe, &plain[2..]].concat();
                self.0.push(("APP14", format!("kind {i}, transform {transform}"), bytes));
            }
        }
    }

    /// Pictures that end too early, with and without an end marker.
    fn cuts(&mut self) {
        let rows = [
            "sizes, one scan",
            "sizes, progressive",
            "sizes, a scan each",
            "restarts each row",
            "grey",
            "arithmetic coding",
        ];
        for row in rows {
            let whole = self.0.iter().find(|f| f.0 == row && f.1.starts_with("33x47") && !f.1.contains("1x1,1x1,1x1"));
            let (_, name, bytes) = whole.unwrap().clone();
            for i in 0..CUTS {
                let at = 2 + (bytes.len() - 4) * i / CUTS;
                self.0.push(("cut", format!("{name} at {at}"), bytes[..at].to_vec()));
                self.0.push(("cut, end marker", format!("{name} at {at}"), [&bytes[..at], &[0xFF, 0xD9]].concat()));
            }
            self.0.push(("cut", format!("{name}, no end marker"), bytes[..bytes.len() - 2].to_vec()));
        }
        let files = ["nodht.jpg", "nodht2.jpg", "half-with-eoi.jpg", "panic-1x1.jpg"];
        for file in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(file);
            self.0.push(("other programs' faults", file.into(), std::fs::read(path).unwrap()));
        }
    }
}

fn without_application_segments(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (bytes[..2].to_vec(), 2);
    while bytes[at + 1] != 0xDA {
        let end = at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        if !(0xE0..=0xEF).contains(&bytes[at + 1]) {
            out.extend_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

/// One row of the table.
#[derive(Default)]
struct Row {
    pictures: usize,
    equal: usize,
    /// By the largest difference.
    levels: BTreeMap<u8, usize>,
    refused_with_djpeg: usize,
    refused_alone: usize,
    reasons: BTreeMap<String, usize>,
}

#[test]
fn every_jpeg_equals_djpegs_or_is_refused() {
    let (mut table, mut wrong) = (BTreeMap::<&str, Row>::new(), Vec::new());
    for (name, picture, bytes) in Corpus::made().0 {
        let row = table.entry(name).or_default();
        row.pictures += 1;
        let (code, out) = run("djpeg", &["-dct", "int", "-pnm"], &bytes);
        // A warning is exit code 2.
        let want = (code == 0).then(|| netpbm(&out));
        let mut ours = Rgb::default();
        match (ours.decode(&bytes), want) {
            (Ok(()), Some((width, height, rgb))) => {
                let same_size = (ours.width, ours.height, ours.data.len()) == (width, height, rgb.len());
                let most = ours.data.iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(u8::MAX);
                if same_size && most <= LEVELS_MAX {
                    row.equal += 1;
                    *row.levels.entry(most).or_default() += 1;
                } else {
                    wrong.push(format!("{name}: {picture}: up to {most} levels off"));
                }
            }
            (Ok(()), None) => wrong.push(format!("{name}: {picture}: decoded though djpeg warns or fails")),
            (Err(why), want) => {
                assert!(!why.is_empty());
                *row.reasons.entry(why).or_default() += 1;
                row.refused_with_djpeg += usize::from(want.is_none());
                row.refused_alone += usize::from(want.is_some());
            }
        }
    }
    print(&table);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let sum = |pick: fn(&Row) -> usize| table.values().map(pick).sum::<usize>();
    // What only we refuse would be a loss, except where djpeg makes up what is cut off without a warning: the scans of
    // progressive pictures, and the data of arithmetic coding. A sweep without pictures would prove nothing.
    let may_refuse = |name: &str| name.starts_with("cut") || name == "arithmetic coding";
    let alone: Vec<_> = table.iter().filter(|(name, row)| row.refused_alone > 0 && !may_refuse(name)).collect();
    assert!(alone.is_empty(), "only we refuse {:?}", alone.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(table["cut"].equal + table["cut, end marker"].equal, 0, "half a picture");
    assert!(sum(|r| r.equal) > 1_000 && sum(|r| r.refused_with_djpeg) > 300);
}

fn print(table: &BTreeMap<&str, Row>) {
    println!(
        "{:24} {:>8} {:>6} {:>22} {:>12}",
        "JPEGs against djpeg", "pictures", "equal", "refused, djpeg too", "refused alone"
    );
    for (name, row) in table {
        let Row { pictures, equal, refused_with_djpeg, refused_alone, levels, .. } = row;
        println!(
            "{name:24} {pictures:8} {equal:6} {refused_with_djpeg:22} {refused_alone:12}   by levels off: {levels:?}"
        );
    }
    let mut reasons = BTreeMap::<&str, usize>::new();
    for (why, n) in table.values().flat_map(|row| &row.reasons) {
        *reasons.entry(why).or_default() += n;
    }
    println!("refused because:");
    for (why, n) in reasons {
        println!("{n:8} {why}");
    }
}
