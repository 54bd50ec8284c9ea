//! Peers: the palette quantisers of other projects, measured on one frame a request.
//!
//! Standard input has lines "METHOD FILE WIDTH HEIGHT K"; files are raw RGB24. Each request is answered by one line of JSON:
//! median time, colours in use, mean squared error and the palette. The time covers palette and labels of all pixels, on one
//! thread; reading the file is not part of it. The error is always measured in sRGB, also for methods that work in OKLab.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use firmware::color::{Features, q6};
use firmware::frame::Frame;
use firmware::label::{FAR_CELLS, FarPixels, label};
use palette::Srgb;
use palette::cast::ComponentsAs;
use quantette::kmeans::{Kmeans, KmeansOptions};
use quantette::wu::{BinnerU8x3, WuU8x3};
use quantette::{ImageRef, PaletteSize, Pipeline, QuantizeMethod};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

type Found = (Vec<[u8; 3]>, Vec<u8>);

/// Timed runs of a request; the median is reported.
const REPEAT: usize = 5;
/// Lambda of the labeller in 1/64 levels. It decides which pixels are collected as far ones, as in an edge.
const LAMBDA_Q6: u32 = 50 * 64;

/// The memory of our labeller. A node allocates it once, so it is allocated once here too.
struct Labeller {
    histogram: Vec<Features>,
    labels: Vec<u8>,
}

fn bytes(palette: &[Srgb<u8>]) -> Vec<[u8; 3]> {
    palette.iter().map(|c| [c.red, c.green, c.blue]).collect()
}

/// quantette on 8-bit sRGB values.
fn quantette(px: &[u8], w: u32, h: u32, k: u8, kmeans: bool) -> Found {
    let image = ImageRef::new(w, h, px.components_as()).unwrap();
    let size = PaletteSize::from_u8_clamped(k);
    let wu = WuU8x3::run_image(image, BinnerU8x3::rgb()).unwrap();
    let (palette, labels): (Vec<Srgb<u8>>, Vec<u8>) = if kmeans {
        let map = Kmeans::run_image(image, wu.palette(size), KmeansOptions::new()).into_color_map();
        image.map_to_indexed(map).into_parts()
    } else {
        image.map_to_indexed(wu.color_map(size)).into_parts()
    };
    (bytes(&palette), labels)
}

/// quantette's own pipeline, which works in OKLab.
fn quantette_oklab(px: &[u8], w: u32, h: u32, k: u8, method: QuantizeMethod) -> Found {
    let image = ImageRef::new(w, h, px.components_as()).unwrap();
    let pipeline = Pipeline::new().palette_size(PaletteSize::from_u8_clamped(k)).quantize_method(method);
    let (palette, labels) = pipeline.ditherer(None).input_image(image).output_srgb8_indexed_image().into_parts();
    (bytes(&palette), labels)
}

/// quantette's Wu palette, and exact nearest labels by our own labeller.
///
/// Wu labels a pixel by the box it lies in, which is most of its error. This is the best that its palette can do.
fn wu_exact(px: &[u8], w: usize, h: usize, k: u8, memory: &mut Labeller) -> Found {
    let image = ImageRef::new(w as u32, h as u32, px.components_as()).unwrap();
    let wu = WuU8x3::run_image(image, BinnerU8x3::rgb()).unwrap();
    let palette = bytes(&wu.palette(PaletteSize::from_u8_clamped(k)));
    let centroids: Vec<_> = palette.iter().map(|&rgb| q6(rgb)).collect();
    let frame = Frame::rgb(w, h, px).unwrap();
    memory.labels.resize(w * h, 0);
    let mut far = FarPixels::new(&mut memory.histogram);
    label(&frame, &centroids, LAMBDA_Q6, &mut [], &mut memory.labels, &mut far);
    far.clear();
    (palette, std::mem::take(&mut memory.labels))
}

fn imagequant(px: &[u8], w: usize, h: usize, k: u32, speed: i32) -> Found {
    let rgba: Vec<imagequant::RGBA> =
        px.as_chunks::<3>().0.iter().map(|&[r, g, b]| imagequant::RGBA::new(r, g, b, 255)).collect();
    let mut attributes = imagequant::new();
    attributes.set_max_colors(k).unwrap();
    attributes.set_speed(speed).unwrap();
    let mut image = attributes.new_image_borrowed(&rgba, w, h, 0.0).unwrap();
    let mut result = attributes.quantize(&mut image).unwrap();
    result.set_dithering_level(0.0).unwrap();
    let (palette, labels) = result.remapped(&mut image).unwrap();
    (palette.iter().map(|c| [c.r, c.g, c.b]).collect(), labels)
}

fn run(method: &str, px: &[u8], w: usize, h: usize, k: u32, memory: &mut Labeller) -> Found {
    match method {
        "quantette-wu" => quantette(px, w as u32, h as u32, k as u8, false),
        "quantette-kmeans" => quantette(px, w as u32, h as u32, k as u8, true),
        "quantette-wu-oklab" => quantette_oklab(px, w as u32, h as u32, k as u8, QuantizeMethod::Wu),
        "quantette-kmeans-oklab" => quantette_oklab(px, w as u32, h as u32, k as u8, QuantizeMethod::kmeans()),
        "wu-exact-labels" => wu_exact(px, w, h, k as u8, memory),
        "imagequant-4" => imagequant(px, w, h, k, 4),
        "imagequant-10" => imagequant(px, w, h, k, 10),
        other => panic!("no method {other}"),
    }
}

fn main() {
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    let mut memory = Labeller { histogram: vec![Features::ZERO; FAR_CELLS], labels: Vec::new() };
    for line in std::io::stdin().lock().lines().map(Result::unwrap) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [method, file, w, h, k] = words[..] else { continue };
        let (w, h, k): (usize, usize, u32) = (w.parse().unwrap(), h.parse().unwrap(), k.parse().unwrap());
        let px = files.entry(file.to_owned()).or_insert_with(|| std::fs::read(file).unwrap());
        // One run to warm up and the median of five, as `hueflow-edge cluster --repeat 5` measures itself.
        let mut times = [0.0; REPEAT];
        let (mut palette, mut labels) = run(method, px, w, h, k, &mut memory);
        for ms in &mut times {
            memory.labels.resize(w * h, 0);
            let started = Instant::now();
            (palette, labels) = run(method, px, w, h, k, &mut memory);
            *ms = started.elapsed().as_secs_f64() * 1e3;
        }
        times.sort_by(f64::total_cmp);
        let ms = times[REPEAT / 2];
        let squares = px.as_chunks::<3>().0.iter().zip(&labels).map(|(px, &l)| {
            let of = palette[usize::from(l)];
            px.iter().zip(of).map(|(&a, b)| u64::from(a.abs_diff(b)).pow(2)).sum::<u64>()
        });
        let mse = squares.sum::<u64>() as f64 / px.len() as f64;
        let mut used = labels.clone();
        used.sort_unstable();
        used.dedup();
        println!("{{\"ms\": {ms:.4}, \"k\": {}, \"mse\": {mse:.4}, \"palette\": {palette:?}}}", used.len());
        std::io::stdout().flush().unwrap();
    }
}
