//! A report's palette as bytes, the same in every database.
//!
//! A palette is [`SWATCH_BYTES`] bytes a cluster, big endian: id (4), red, green and blue in 1/64 levels (2 each), pixels (4).

use crate::json::PaletteJson;

/// Bytes of one cluster.
pub(super) const SWATCH_BYTES: usize = 14;

/// The bytes of a palette.
pub(super) fn palette_bytes(p: &PaletteJson) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(p.id.len() * SWATCH_BYTES);
    for ((id, rgb), pixels) in p.id.iter().zip(&p.rgb_q6).zip(&p.pixels) {
        bytes.extend(id.to_be_bytes());
        rgb.iter().for_each(|level| bytes.extend(level.to_be_bytes()));
        bytes.extend(pixels.to_be_bytes());
    }
    bytes
}

/// The palette of bytes.
pub(super) fn palette(bytes: &[u8]) -> PaletteJson {
    let mut palette = PaletteJson::default();
    for swatch in bytes.chunks_exact(SWATCH_BYTES) {
        let number = |from: usize, to: usize| swatch.get(from..to).unwrap_or_default().iter();
        let number = |from, to| number(from, to).fold(0u32, |n, &b| n << 8 | u32::from(b));
        palette.id.push(number(0, 4));
        palette.rgb_q6.push([(4, 6), (6, 8), (8, 10)].map(|(from, to)| number(from, to) as u16));
        palette.pixels.push(number(10, 14));
    }
    palette
}
