//! Scene: five moving blocks on a slope, with noise; the same bytes wherever it is drawn.
//!
//! The input is a frame number, the result RGB24 of `WIDTH` x `HEIGHT` in the caller's buffer. There is no std: the bare
//! image and the tests on a host draw from this one file.

/// Width in pixels.
pub const WIDTH: usize = 160;
/// Height in pixels.
pub const HEIGHT: usize = 120;
/// Bytes of a frame.
pub const BYTES: usize = WIDTH * HEIGHT * 3;

/// Draws frame `number`.
pub fn draw(number: u32, rgb: &mut [u8]) {
    const BLOCKS: [[u8; 3]; 5] = [[200, 40, 30], [30, 160, 60], [40, 60, 200], [220, 200, 60], [240, 240, 240]];
    let mut noise = number.wrapping_mul(2_654_435_761).wrapping_add(1);
    for (i, px) in rgb.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (i % WIDTH + number as usize, i / WIDTH);
        let base = if (y / 24) % 2 == 1 { BLOCKS[(x / 32) % 5] } else { [(40 + y / 2) as u8; 3] };
        for (p, b) in px.iter_mut().zip(base) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *p = b.saturating_add((noise >> 29) as u8);
        }
    }
}
