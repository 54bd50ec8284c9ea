//! Digest: the machine over a few drawn frames, boiled down to one number.
//!
//! Takes nothing. Gives the CRC-32 of every report's bytes and every label.
//! Touches 400 KiB of the stack.
//! Never std: the bare image prints it, and a test on the host computes it from this same file.

use super::scene;
use firmware::coreset::{Cell, Merge, Point};
use firmware::custody::envelope::crc32;
use firmware::frame::Frame;
use firmware::limits::REPORT_BYTES_MAX;
use firmware::node::{Node, Settings, Workspace};
use firmware::wire;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

const FRAMES: u32 = 6;
const CELLS: usize = 4_096;

/// The digest, or none if a step failed.
pub fn digest() -> Option<u32> {
    let (mut hist, mut cells) = ([Cell::default(); CELLS], [Point::default(); CELLS]);
    let (mut points, mut scout) = ([Point::default(); CELLS], [Point::default(); CELLS / 8]);
    let (mut merges, mut assign) = ([Merge::default(); CELLS / 8], [0; CELLS]);
    let (mut labels, mut rgb) = ([0; scene::WIDTH * scene::HEIGHT], [0; scene::BYTES]);
    let workspace = Workspace {
        hist: &mut hist,
        cells: &mut cells,
        scout: &mut scout,
        points: &mut points,
        merges: &mut merges,
        assign: &mut assign,
        labels: &mut labels,
        row: &mut [0; scene::WIDTH * 3],
    };
    let settings = Settings { coreset_size: 256, ..Settings::default() };
    let mut node = Node::new(settings, workspace).ok()?;
    let mut crc = 0;
    for number in 0..FRAMES {
        scene::draw(number, &mut rgb);
        let frame = Frame::rgb(scene::WIDTH, scene::HEIGHT, &rgb).ok()?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(u64::from(number));
        // A clock that stands still: times are no part of a result.
        let report = node.step(&frame, &mut || 0, &mut rng).ok()?;
        let mut bytes = [0; REPORT_BYTES_MAX];
        let n = wire::encode(report, &mut bytes).ok()?;
        crc = crc32(crc, bytes.get(..n)?);
        crc = crc32(crc, node.labels());
    }
    Some(crc)
}
