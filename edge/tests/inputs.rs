//! Inputs: the colours of every kind of file and pipe that `cluster` reads, against independently derived values.
//!
//! Files come from `tests/data`, which has how they were made, or are made here. Decoders are called directly where pixels
//! count, and the program is run where its words and exit codes do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmware::frame::{Frame, Stamp};
use hueflow_edge::camera::decode;
use hueflow_edge::camera::{Source, SourceError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

/// A frame as width, height and RGB.
type Rgb = (usize, usize, Vec<u8>);

fn frame(source: &dyn Source) -> Rgb {
    let p = source.picture().unwrap();
    let frame = Frame::new(p.layout, p.yuv, p.width, p.height, 0, p.data, Stamp::default()).unwrap();
    let mut row = vec![0; p.width * 3];
    (p.width, p.height, (0..p.height).flat_map(|y| frame.row(y, &mut row).to_vec()).collect())
}

fn frames(path: &Path) -> Result<Vec<Rgb>, SourceError> {
    let mut source = decode::open(path, None, &Arc::default())?;
    let mut all = Vec::new();
    while source.advance()? {
        all.push(frame(&*source));
    }
    Ok(all)
}

/// The only frame.
#[track_caller]
fn still(path: &Path) -> Rgb {
    let mut all = frames(path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(all.len(), 1, "{}", path.display());
    all.remove(0)
}

fn refusal(path: &Path) -> String {
    frames(path).expect_err(&path.display().to_string()).to_string()
}

/// A PNG by its own crate.
fn expected(path: &Path) -> Rgb {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    if info.color_type == png::ColorType::Grayscale {
        data = data.iter().flat_map(|&g| [g; 3]).collect();
    }
    assert_eq!(data.len(), (info.width * info.height * 3) as usize);
    (info.width as usize, info.height as usize, data)
}

fn largest_difference(a: &Rgb, b: &Rgb) -> u8 {
    assert_eq!((a.0, a.1, a.2.len()), (b.0, b.1, b.2.len()));
    a.2.iter().zip(&b.2).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn mean(rgb: &Rgb) -> [f64; 3] {
    let pixels = rgb.2.as_chunks::<3>().0;
    std::array::from_fn(|c| pixels.iter().map(|p| f64::from(p[c])).sum::<f64>() / pixels.len() as f64)
}

fn temporary(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

#[test]
fn jpegs_that_other_decoders_get_wrong_have_djpegs_colours() {
    for name in ["nj32x32_2x2.jpg", "nj8x16_2x2.jpg"] {
        let rgb = still(&data(name));
        let off = |px: &[u8; 3]| px.iter().zip([201, 60, 40]).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!(rgb.2.as_chunks::<3>().0.iter().all(|px| off(px) <= 2), "{name}");
    }
    let means = [("sf1x1_2x1_2x1.jpg", [128.0, 116.0, 134.0]), ("panic-1x1.jpg", [119.0, 203.0, 66.0])];
    for (name, want) in means {
        let got = mean(&still(&data(name)));
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1.0), "{name}: {got:?}");
    }
    assert_eq!(
        (still(&data("whole.jpg")).0, refusal(&data("half-with-eoi.jpg")).contains("premature end")),
        (64, true)
    );
    // The standard's tables are what a baseline picture has anyway: the same with and without.
    let (a, b) = (still(&data("nodht.jpg")), still(&data("nodht2.jpg")));
    assert_eq!((a.0, a.1), (97, 61));
    assert!(largest_difference(&a, &b) == 0 && mean(&a).iter().all(|m| (80.0..180.0).contains(m)), "{:?}", mean(&a));
}

#[test]
fn stills_have_exactly_the_pixels_of_their_reference() {
    for name in [
        "lossy.webp",
        "cmyk.tif",
        "bits.tif",
        "grey.tif",
        "alpha.tif",
        "palette.bmp",
        "rgb.bmp",
        "dot.gif",
        "stripes8.gif",
    ] {
        let (got, want) = (still(&data(name)), expected(&data(&format!("expected/{name}.png"))));
        // A lossy WebP's colours and a product of ink and black may be rounded one way or the other.
        let most = match name {
            "lossy.webp" => 2,
            "cmyk.tif" => 1,
            _ => 0,
        };
        assert!(largest_difference(&got, &want) <= most, "{name}: {}", largest_difference(&got, &want));
    }
    let dot = still(&data("dot.png"));
    assert_eq!(dot, still(&data("dot.gif")));
    assert_eq!(dot.2.as_chunks::<3>().0.iter().filter(|px| **px == [255, 0, 0]).count(), 30);
    let stripes = still(&data("stripes8.gif"));
    let count = |colour: [u8; 3]| stripes.2.as_chunks::<3>().0.iter().filter(|px| **px == colour).count();
    assert_eq!((count([255, 0, 0]), count([0, 0, 255])), (32, 32));
    let tall = still(&data("1x65536.png"));
    assert!((tall.0, tall.1) == (1, 65_536) && tall.2.as_chunks::<3>().0.iter().all(|px| *px == [1, 2, 3]));
}

#[test]
fn kinds_that_would_be_read_inexactly_are_refused_by_name() {
    for (name, word) in
        [("jpeg.tif", "JPEG inside"), ("palette.tif", "TIFF"), ("palette-of-4-bytes.png", "4 bytes of palette")]
    {
        let why = refusal(&data(name));
        assert!(why.contains(word) && why.matches(name).count() == 1, "{why}");
    }
}

#[test]
fn each_frame_of_an_animation_is_whole_and_the_first_ones_time_is_the_rate() {
    for name in ["animated.gif", "animated.png", "animated.webp"] {
        let all = frames(&data(name)).unwrap();
        assert_eq!(all.len(), 3, "{name}");
        for (i, ((width, height, rgb), ground)) in
            all.iter().zip([[200, 30, 40], [30, 160, 60], [20, 40, 210]]).enumerate()
        {
            assert_eq!((*width, *height), (12, 8), "{name}");
            for (at, px) in rgb.as_chunks::<3>().0.iter().enumerate() {
                let is_square = (3 * i..3 * i + 3).contains(&(at % 12)) && (2..5).contains(&(at / 12));
                let want = if is_square { [255, 255, 0] } else { ground };
                // A WebP's frames are blended with the one before, which rounds.
                let off = px.iter().zip(want).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                assert!(off <= u8::from(name == "animated.webp"), "{name}, frame {i}, pixel {at}: {px:?}");
            }
        }
        let open = |fps| decode::open(&data(name), fps, &Arc::default()).unwrap().rate();
        assert_eq!((open(None), open(Some(5.0))), (Some(25.0), Some(5.0)), "{name}");
        let mut source = decode::open(&data(name), None, &Arc::default()).unwrap();
        while source.advance().unwrap() {}
        source.rewind().unwrap();
        assert!(source.advance().unwrap());
        assert_eq!(frame(&*source), all[0], "{name}, again");
    }
}

#[test]
fn every_still_cut_anywhere_is_an_error_or_whole() {
    let names = [
        "lossy.webp",
        "cmyk.tif",
        "bits.tif",
        "grey.tif",
        "palette.bmp",
        "rgb.bmp",
        "dot.gif",
        "stripes8.gif",
        "dot.png",
        "animated.gif",
        "animated.png",
        "animated.webp",
    ];
    for name in names {
        let bytes = std::fs::read(data(name)).unwrap();
        let whole = frames(&data(name)).unwrap();
        let mut refused = 0;
        for cut in (8..bytes.len()).step_by(1 + bytes.len() / 400) {
            let Some(kind) = decode::still::Kind::of(&bytes[..cut]) else { continue };
            let opened = decode::still::Still::new("cut".into(), kind, bytes[..cut].into(), None);
            let Ok(mut source) = opened else {
                refused += 1;
                continue;
            };
            let mut given = 0;
            let end = loop {
                match source.advance() {
                    Ok(true) => {
                        assert_eq!(frame(&source), whole[given], "{name} cut at {cut}, frame {given}");
                        given += 1;
                    }
                    end => break end,
                }
            };
            assert!(end.is_err() || given == whole.len(), "{name} cut at {cut}: {given} frames without an error");
            refused += u32::from(end.is_err());
        }
        assert!(refused > 20, "{name}: {refused}");
    }
}

fn png_of(kind: png::ColorType, depth: png::BitDepth, palette: Option<(&[u8], &[u8])>, rows: &[u8], width: u32) -> Rgb {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, 1);
    encoder.set_color(kind);
    encoder.set_depth(depth);
    if let Some((colours, opacity)) = palette {
        encoder.set_palette(colours.to_vec());
        encoder.set_trns(opacity.to_vec());
    }
    encoder.write_header().unwrap().write_image_data(rows).unwrap();
    still(temporary(&out).path())
}

#[test]
fn every_kind_of_png_becomes_rgb_composed_on_white() {
    use png::BitDepth::{Eight, One, Sixteen};
    use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    let palette: (&[u8], &[u8]) = (&[1, 2, 3, 4, 5, 6], &[255, 0]);
    let cases = [
        (png_of(Rgb, Eight, None, &[1, 2, 3, 4, 5, 6], 2), vec![1, 2, 3, 4, 5, 6]),
        (png_of(Rgba, Eight, None, &[0, 2, 3, 0, 4, 5, 6, 255], 2), vec![255, 255, 255, 4, 5, 6]),
        (png_of(Rgba, Eight, None, &[0, 100, 200, 128], 1), vec![127, 177, 227]),
        (png_of(Grayscale, Eight, None, &[7, 8], 2), vec![7, 7, 7, 8, 8, 8]),
        (png_of(GrayscaleAlpha, Eight, None, &[7, 0, 8, 255], 2), vec![255, 255, 255, 8, 8, 8]),
        (png_of(Grayscale, One, None, &[0b0100_0000], 2), vec![0, 0, 0, 255, 255, 255]),
        (png_of(Indexed, Eight, Some(palette), &[1, 0], 2), vec![255, 255, 255, 1, 2, 3]),
        (png_of(Rgb, Sixteen, None, &[1, 255, 2, 0, 255, 255], 1), vec![2, 2, 255]),
        (png_of(Grayscale, Sixteen, None, &[0x12, 0x34], 1), vec![18; 3]),
    ];
    for (i, ((_, _, got), want)) in cases.iter().enumerate() {
        assert_eq!(got, want, "case {i}");
    }
}

/// An Exif segment with the orientation of the picture.
fn exif(orientation: u8) -> Vec<u8> {
    let tiff = [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation, 0, 0, 0, 0, 0, 0]].concat();
    let length = (tiff.len() + 8) as u16;
    [&[0xFF, 0xE1][..], &length.to_be_bytes(), b"Exif\0\0", &tiff].concat()
}

#[test]
fn a_jpeg_is_turned_as_its_exif_data_say() {
    // Four quarters of 16x16 pixels: A B over C D.
    let quarters = [[220, 30, 30], [30, 200, 30], [30, 30, 220], [230, 220, 30]];
    let pixels: Vec<u8> = (0..32 * 32).flat_map(|i| quarters[i / 32 / 16 * 2 + i % 32 / 16]).collect();
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 95).encode(&pixels, 32, 32, jpeg_encoder::ColorType::Rgb).unwrap();
    // Exif 2.3, table "Orientation": where the picture's first row and column are.
    let turned = [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
        [3, 2, 1, 0],
        [2, 3, 0, 1],
        [0, 2, 1, 3],
        [2, 0, 3, 1],
        [3, 1, 2, 0],
        [1, 3, 0, 2],
    ];
    for (orientation, want) in (1..).zip(turned) {
        let bytes = [&jpeg[..2], &exif(orientation), &jpeg[2..]].concat();
        let file = temporary(&bytes);
        let (width, _, rgb) = still(file.path());
        for (quarter, want) in want.into_iter().enumerate() {
            let at = ((quarter / 2 * 16 + 8) * width + quarter % 2 * 16 + 8) * 3;
            let off = (0..3).map(|c| rgb[at + c].abs_diff(quarters[want][c])).max().unwrap();
            assert!(off < 20, "orientation {orientation}, quarter {quarter}: {:?}", &rgb[at..at + 3]);
        }
        let mut clip = decode::open(file.path(), Some(30.0), &Arc::default()).unwrap();
        assert!(clip.advance().unwrap());
        assert!(frame(&*clip).2[0] > 200, "a clip is not turned");
    }
}

fn edge(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hueflow-edge"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Pixels of each cluster of each frame.
fn clustered(output: &Output) -> Vec<Vec<u64>> {
    let frames = String::from_utf8_lossy(&output.stdout).into_owned();
    let pixels = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut pixels: Vec<u64> =
            line["palette"].as_array().unwrap().iter().map(|c| c["pixels"].as_u64().unwrap()).collect();
        pixels.sort_unstable();
        pixels
    };
    frames.lines().map(pixels).collect()
}

#[test]
fn a_pipe_is_as_good_as_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for name in ["dot.png", "dot.gif"] {
        let bytes = std::fs::read(data(name)).unwrap();
        for input in ["-", "/dev/stdin", "file:-", "/proc/self/fd/0"] {
            let output = edge(&["cluster", input, "--json"], &bytes);
            assert_eq!(clustered(&output), [[30, 95_970]], "{name} as {input}: {}", printed(&output));
        }
        let (to, fed) = (fifo.clone(), bytes.clone());
        let writer = std::thread::spawn(move || std::fs::write(to, fed).unwrap());
        let output = edge(&["cluster", &fifo.display().to_string(), "--json"], b"");
        assert_eq!(clustered(&output), [[30, 95_970]], "{name} through a FIFO: {}", printed(&output));
        writer.join().unwrap();
    }
    let jpeg = std::fs::read(data("nj32x32_2x2.jpg")).unwrap();
    let two = [&jpeg[..], &jpeg].concat();
    assert_eq!(clustered(&edge(&["cluster", "-", "--json"], &two)), [[1024]], "a still");
    assert_eq!(clustered(&edge(&["cluster", "file:-?fps=10", "--json"], &two)), [[1024], [1024]], "a clip");
    let output = edge(&["cluster", "-"], b"");
    assert!(
        output.status.code() == Some(74) && printed(&output).contains("standard input: it is empty"),
        "{}",
        printed(&output)
    );
}

#[test]
fn one_bad_input_is_said_and_the_others_are_done() {
    let [dot, half, stripes] = ["dot.png", "half-with-eoi.jpg", "stripes8.gif"].map(|n| data(n).display().to_string());
    let output = edge(&["cluster", &half, &dot, "/nonexistent.png", &stripes, "--json"], b"");
    assert_eq!(clustered(&output), [vec![30, 95_970], vec![32, 32]]);
    let err = printed(&output);
    assert_eq!(output.status.code(), Some(74), "{err}");
    for words in ["half-with-eoi.jpg: not a JPEG", "/nonexistent.png", "2 of 4 inputs"] {
        assert_eq!(err.matches(words).count(), 1, "{words}: {err}");
    }
    let output = edge(&["cluster", "/nonexistent.png", &half, &dot], b"");
    assert_eq!(output.status.code(), Some(66), "the first one decides");
}

#[test]
fn large_photos_are_read_and_larger_ones_refused_by_name_and_limit() {
    let dir = tempfile::tempdir().unwrap();
    let photo = |width: u16, height: u16| {
        let path = dir.path().join(format!("{width}x{height}.jpg"));
        let pixels = vec![90; usize::from(width) * usize::from(height)];
        let mut jpeg = Vec::new();
        jpeg_encoder::Encoder::new(&mut jpeg, 60)
            .encode(&pixels, width, height, jpeg_encoder::ColorType::Luma)
            .unwrap();
        std::fs::write(&path, jpeg).unwrap();
        path.display().to_string()
    };
    let output = edge(&["cluster", &photo(4032, 3024), "--json"], b"");
    assert_eq!(clustered(&output), [[4032 * 3024]], "{}", printed(&output));
    for (photo, words) in [
        (photo(6000, 4000), "6000x4000 pixels; at most 16,777,216"),
        (photo(9000, 10), "9000 pixels wide; at most 8,192"),
    ] {
        let output = edge(&["cluster", &photo], b"");
        let err = printed(&output);
        assert_eq!(output.status.code(), Some(74), "{err}");
        assert!(err.contains(words) && err.matches(&photo).count() == 1, "{err}");
    }
}
