//! Prints a picture's palette: a line for each colour, with the share of the pixels that are nearest to it, largest first.
//!
//! `cargo run --release -p hueflow-firmware --example palette -- PICTURE.png [LAMBDA]`. The picture has 8 bits a channel and
//! is RGB, RGBA or grey; transparency is ignored. Lambda is in levels of 8-bit RGB, from 1 to 442: every colour that covers
//! at least 0.02 % of the picture is within that distance of the palette. Without it lambda is 50.

use firmware::coreset::{Features, Merge, Point};
use firmware::frame::Frame;
use firmware::node::{Capacity, HistogramBits, Node, Settings, Workspace};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use std::error::Error;
use std::process::ExitCode;

/// Reads a PNG. Returns its width, its height and its pixels as RGB bytes.
fn read_png(path: &str) -> Result<(usize, usize, Vec<u8>), Box<dyn Error>> {
    let file = std::fs::File::open(path)?;
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("the picture is too large")?];
    let info = reader.next_frame(&mut bytes)?;
    bytes.truncate(info.buffer_size());
    let rgb = match (info.color_type, info.bit_depth) {
        (png::ColorType::Rgb, png::BitDepth::Eight) => bytes,
        (png::ColorType::Rgba, png::BitDepth::Eight) => {
            bytes.as_chunks().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()
        }
        (png::ColorType::Grayscale, png::BitDepth::Eight) => bytes.iter().flat_map(|&grey| [grey; 3]).collect(),
        (color, depth) => {
            return Err(format!(
                "the picture is {color:?} with {} bits; convert it to 8-bit RGB, RGBA or grey",
                depth as u8
            )
            .into());
        }
    };
    Ok((info.width as usize, info.height as usize, rgb))
}

fn print_palette(path: &str, settings: Settings) -> Result<(), Box<dyn Error>> {
    let (width, height, rgb) = read_png(path)?;
    let frame = Frame::rgb(width, height, &rgb)?;

    // The node allocates nothing: its caller lends it all memory.
    let coreset_size = settings.coreset_size;
    let capacity = Capacity { pixels: frame.pixels(), width_px: width, coreset_size, bits: HistogramBits::Five };
    let sizes = capacity.sizes();
    let (mut features, mut points) = (vec![Features::ZERO; sizes.features], vec![Point::ZERO; sizes.points]);
    let (mut merges, mut bytes) = (vec![Merge::ZERO; sizes.merges], vec![0; sizes.bytes]);
    let workspace = Workspace::in_slices(&capacity, &mut features, &mut points, &mut merges, &mut bytes)?;

    let mut node = Node::new(settings, workspace)?;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(settings.seed);
    // A clock that stands still: nobody reads the times.
    let report = node.step(&frame, &mut || 0, &mut rng)?;
    let mut palette = report.palette.clone();
    palette.sort_unstable_by_key(|swatch| std::cmp::Reverse(swatch.pixels));
    for swatch in &palette {
        let [r, g, b] = swatch.rgb8();
        println!("#{r:02x}{g:02x}{b:02x} {:6.2} %", 100.0 * f64::from(swatch.pixels) / frame.pixels() as f64);
    }
    Ok(())
}

fn run(args: &[String]) -> Result<(), String> {
    let mut settings = Settings::default();
    let path = match args {
        [path] => path,
        [path, lambda] => {
            let levels: u32 = lambda.parse().map_err(|e| format!("lambda {lambda:?}: {e}"))?;
            settings.lambda_q6 = levels.saturating_mul(64);
            path
        }
        _ => return Err("usage: palette PICTURE.png [LAMBDA]".into()),
    };
    print_palette(path, settings).map_err(|e| format!("{path}: {e}"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Err(e) = run(&args) else { return ExitCode::SUCCESS };
    eprintln!("palette: {e}");
    ExitCode::FAILURE
}
