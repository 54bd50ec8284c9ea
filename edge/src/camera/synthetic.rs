//! A seeded scene that moves: discs and bars of several colours over a gradient, with a little noise.
//!
//! Inputs are a seed and a size; results are RGB pictures without end, in one buffer. Seed and frame number alone decide a picture.

use super::{Picture, Source, SourceError, check_size};
use firmware::frame::{Layout, Yuv};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const SHAPES: usize = 7;
/// Colours that are far enough apart to become separate clusters.
const COLOURS: [[u8; 3]; SHAPES] =
    [[214, 40, 40], [38, 112, 212], [247, 198, 58], [44, 160, 90], [240, 240, 235], [20, 20, 28], [150, 70, 170]];

struct Shape {
    colour: [u8; 3],
    disc: bool,
    /// Half its size, in permille of the frame's smaller side.
    size: i32,
    /// Where it starts and how far it moves a frame, in 1/1000 of the frame.
    at: [i32; 2],
    step: [i32; 2],
}

/// The scene.
pub struct Synthetic {
    width: usize,
    height: usize,
    rate: f64,
    shapes: Vec<Shape>,
    /// How far along the gradient each column is.
    columns: Vec<i32>,
    noise: u64,
    seed: u64,
    frame: u64,
    data: Vec<u8>,
}

impl Synthetic {
    /// A scene of `(width, height)` pixels at `rate` frames a second.
    ///
    /// # Errors
    /// [`SourceError::Frame`] for a size that no frame may have.
    pub fn new((width, height): (usize, usize), rate: f64, seed: u64) -> Result<Synthetic, SourceError> {
        check_size(width, height)?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let shapes = COLOURS
            .iter()
            .enumerate()
            .map(|(i, &colour)| Shape {
                colour,
                disc: i % 2 == 0,
                size: rng.random_range(60..160),
                at: [rng.random_range(0..1000), rng.random_range(0..1000)],
                step: [rng.random_range(-9..10), rng.random_range(-9..10)],
            })
            .collect();
        let data = vec![0; width * height * 3];
        let columns = (0..width).map(|x| (x * 90 / width) as i32).collect();
        Ok(Synthetic { width, height, rate, shapes, columns, noise: 0, seed, frame: 0, data })
    }

    fn draw(&mut self) {
        self.noise = (self.seed ^ self.frame.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1;
        let (w, h) = (self.width as i32, self.height as i32);
        let drift = (self.frame % 512) as i32;
        for (y, row) in (0..h).zip(self.data.chunks_exact_mut(self.width * 3)) {
            let (v, wave) = (y * 70 / h, (drift - 256).abs() / 16);
            for (&u, px) in self.columns.iter().zip(row.as_chunks_mut::<3>().0) {
                *px = [(70 + u + wave) as u8, (95 + v) as u8, (120 + (u + v) / 2 - wave) as u8];
            }
        }
        for shape in &self.shapes {
            let bounce = |at: i32, step: i32| {
                let way = (i64::from(at) + i64::from(step) * (self.frame % 1_000_000) as i64).rem_euclid(2000) as i32;
                if way < 1000 { way } else { 2000 - way }
            };
            let (cx, cy) =
                (bounce(shape.at[0], shape.step[0]) * w / 1000, bounce(shape.at[1], shape.step[1]) * h / 1000);
            let r = (shape.size * w.min(h) / 1000).max(1);
            for y in (cy - r).max(0)..(cy + r).min(h) {
                let half = if shape.disc { (r * r - (y - cy) * (y - cy)).max(0).isqrt() } else { r / 2 };
                let (from, to) = ((cx - half).clamp(0, w) as usize, (cx + half).clamp(0, w) as usize);
                let row = y as usize * self.width;
                for px in self.data[(row + from) * 3..(row + to) * 3].as_chunks_mut::<3>().0 {
                    *px = shape.colour;
                }
            }
        }
        for bytes in self.data.chunks_mut(8) {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            for (byte, noise) in bytes.iter_mut().zip(self.noise.to_le_bytes()) {
                *byte = byte.saturating_add(noise & 7).saturating_sub(3);
            }
        }
    }
}

impl Source for Synthetic {
    fn advance(&mut self) -> Result<bool, SourceError> {
        self.draw();
        self.frame += 1;
        Ok(true)
    }

    fn picture(&self) -> Option<Picture<'_>> {
        let Synthetic { width, height, data, .. } = self;
        let (layout, yuv) = (Layout::Rgb24, Yuv::default());
        (self.frame > 0).then_some(Picture { layout, yuv, width: *width, height: *height, data })
    }

    fn rate(&self) -> Option<f64> {
        Some(self.rate)
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(size: (usize, usize), seed: u64, n: usize) -> Vec<Vec<u8>> {
        let mut scene = Synthetic::new(size, 30.0, seed).unwrap();
        (0..n)
            .map(|_| {
                scene.advance().unwrap();
                scene.picture().unwrap().data.to_vec()
            })
            .collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_scene_and_it_moves() {
        let a = frames((64, 48), 5, 4);
        assert_eq!(a, frames((64, 48), 5, 4));
        assert_ne!(a, frames((64, 48), 6, 4));
        assert_ne!(a[0], a[3]);
    }

    #[test]
    fn any_size_can_be_drawn_and_one_that_no_frame_has_is_refused() {
        for size in [(1, 1), (3, 200), (200, 3)] {
            assert_eq!(frames(size, 1, 3).len(), 3);
        }
        for size in [(0, 5), (5, 0), (99_999, 99_999)] {
            assert!(Synthetic::new(size, 30.0, 1).is_err(), "{size:?}");
        }
    }
}
