//! Peers: palette quantisers of the field, a frame a line.
//!
//! Takes lines "METHOD FILE WIDTH HEIGHT K" on standard input; files are raw RGB24. Gives a line of JSON each.
//! Touches one thread.
//! Never counts what is not palette and label of every pixel: files are read before.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use palette::Srgb;
use palette::cast::ComponentsAs;
use quantette::kmeans::{Kmeans, KmeansOptions};
use quantette::wu::{BinnerU8x3, WuU8x3};
use quantette::{ImageRef, PaletteSize};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

type Found = (Vec<[u8; 3]>, Vec<u8>);

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
    (palette.iter().map(|c| [c.red, c.green, c.blue]).collect(), labels)
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

fn main() {
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    for line in std::io::stdin().lock().lines().map(Result::unwrap) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [method, file, w, h, k] = words[..] else { continue };
        let (w, h, k): (usize, usize, u32) = (w.parse().unwrap(), h.parse().unwrap(), k.parse().unwrap());
        let px = files.entry(file.to_owned()).or_insert_with(|| std::fs::read(file).unwrap());
        let started = Instant::now();
        let (palette, labels) = match method {
            "quantette-wu" => quantette(px, w as u32, h as u32, k as u8, false),
            "quantette-kmeans" => quantette(px, w as u32, h as u32, k as u8, true),
            "imagequant-4" => imagequant(px, w, h, k, 4),
            "imagequant-10" => imagequant(px, w, h, k, 10),
            other => panic!("no method {other}"),
        };
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let squares = px.as_chunks::<3>().0.iter().zip(&labels).map(|(px, &l)| {
            let of = palette[usize::from(l)];
            px.iter().zip(of).map(|(&a, b)| u64::from(a.abs_diff(b)).pow(2)).sum::<u64>()
        });
        let mse = squares.sum::<u64>() as f64 / px.len() as f64;
        let mut used = labels.clone();
        used.sort_unstable();
        used.dedup();
        println!("{{\"ms\": {ms:.4}, \"k\": {}, \"mse\": {mse:.4}}}", used.len());
        std::io::stdout().flush().unwrap();
    }
}
