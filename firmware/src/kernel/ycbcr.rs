//! YCbCr: rows of luma and chroma to rows of RGB.
//!
//! Takes a row's samples, as the camera or the decoder left them. Gives RGB.
//! Touches the pixels that it is lent.
//! Never a float, and never another value than `rgb` gives: the vector versions in `simd` are held to it by test.

/// Which YCbCr it is: the matrix, and whether luma spans 16..=235 or 0..=255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Yuv {
    /// ITU-R BT.601, limited range: cameras and most small video.
    #[default]
    Bt601,
    /// ITU-R BT.601, full range: JPEG.
    Bt601Full,
    /// ITU-R BT.709, limited range: HD video.
    Bt709,
    /// ITU-R BT.709, full range.
    Bt709Full,
}

/// Integer coefficients of one YCbCr, scaled by 65,536.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix {
    /// Luma of black.
    pub(crate) black: i32,
    /// What luma counts in every channel.
    pub(crate) y: i32,
    /// What Cr counts in red.
    pub(crate) rv: i32,
    /// What Cb takes from green.
    pub(crate) gu: i32,
    /// What Cr takes from green.
    pub(crate) gv: i32,
    /// What Cb counts in blue.
    pub(crate) bu: i32,
}

impl Yuv {
    /// From Kr and Kb of the standard: R = Y + 2(1-Kr)Cr, B = Y + 2(1-Kb)Cb, G from the luma equation.
    pub(crate) const fn matrix(self) -> Matrix {
        match self {
            Yuv::Bt601 => Matrix { black: 16, y: 76_309, rv: 104_597, gu: 25_675, gv: 53_279, bu: 132_201 },
            Yuv::Bt601Full => Matrix { black: 0, y: 65_536, rv: 91_881, gu: 22_554, gv: 46_802, bu: 116_130 },
            Yuv::Bt709 => Matrix { black: 16, y: 76_309, rv: 117_489, gu: 13_975, gv: 34_925, bu: 138_438 },
            Yuv::Bt709Full => Matrix { black: 0, y: 65_536, rv: 103_206, gu: 12_276, gv: 30_679, bu: 121_609 },
        }
    }
}

/// Samples of a row in which two pixels share one chroma.
#[cfg_attr(not(feature = "simd"), expect(dead_code, reason = "only the vector versions read the samples"))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Halved<'a> {
    /// Y0 Cb Y1 Cr.
    Packed(&'a [u8]),
    /// Luma; Cb Cr.
    Paired(&'a [u8], &'a [u8]),
    /// Luma; Cb; Cr.
    Apart(&'a [u8], &'a [u8], &'a [u8]),
}

/// A row of YUYV.
pub(crate) fn yuyv(yuv: Yuv, line: &[u8], pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    let done = by_vectors(m, Halved::Packed(line), pixels);
    let rest = line.as_chunks::<4>().0.iter().skip(done / 2);
    for (pair, c) in pixels.get_mut(done..).unwrap_or(&mut []).chunks_mut(2).zip(rest) {
        write(m, pair, &[c[0], c[2]], c[1], c[3]);
    }
}

/// A row of NV12: its luma, and the chroma that it shares with another.
pub(crate) fn nv12(yuv: Yuv, luma: &[u8], chroma: &[u8], pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    let done = by_vectors(m, Halved::Paired(luma, chroma), pixels);
    let rest = luma.chunks(2).zip(chroma.as_chunks::<2>().0).skip(done / 2);
    for (pair, (l, c)) in pixels.get_mut(done..).unwrap_or(&mut []).chunks_mut(2).zip(rest) {
        write(m, pair, l, c[0], c[1]);
    }
}

/// A row of three planes; `1 << h` pixels share one chroma.
pub(crate) fn planar(yuv: Yuv, luma: &[u8], cb: &[u8], cr: &[u8], h: u8, pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    let done = if h == 1 { by_vectors(m, Halved::Apart(luma, cb, cr), pixels) } else { 0 };
    let run = 1 << h;
    let rest = luma.chunks(run).zip(cb.iter().zip(cr)).skip(done / run);
    for (px, (l, (&cb, &cr))) in pixels.get_mut(done..).unwrap_or(&mut []).chunks_mut(run).zip(rest) {
        write(m, px, l, cb, cr);
    }
}

/// Converts as many pixels from the first on as this machine's vectors take, and gives how many that were: an even number.
fn by_vectors(m: Matrix, row: Halved<'_>, pixels: &mut [[u8; 3]]) -> usize {
    super::rgb_of(m, row, pixels)
}

/// Pixels that share one chroma.
#[inline]
fn write(m: Matrix, pixels: &mut [[u8; 3]], luma: &[u8], cb: u8, cr: u8) {
    let chroma = chroma(m, cb, cr);
    pixels.iter_mut().zip(luma).for_each(|(px, &l)| *px = rgb(m, l, chroma));
}

/// What two chroma samples add to red, green and blue, scaled by 65,536, rounding included.
#[inline]
fn chroma(m: Matrix, cb: u8, cr: u8) -> [i32; 3] {
    let (u, v) = (i32::from(cb) - 128, i32::from(cr) - 128);
    [m.rv * v + 32_768, 32_768 - m.gu * u - m.gv * v, m.bu * u + 32_768]
}

#[inline]
fn rgb(m: Matrix, luma: u8, chroma: [i32; 3]) -> [u8; 3] {
    let y = (i32::from(luma) - m.black) * m.y;
    chroma.map(|c| ((y + c) >> 16).clamp(0, 255) as u8)
}

#[cfg(all(test, feature = "simd"))]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn yuv() -> impl Strategy<Value = Yuv> {
        prop_oneof![Just(Yuv::Bt601), Just(Yuv::Bt601Full), Just(Yuv::Bt709), Just(Yuv::Bt709Full)]
    }

    proptest! {
        #[test]
        fn every_layout_of_the_same_row_gives_what_the_plain_sum_gives(
            yuv in yuv(), width in 1usize..150, samples in prop::collection::vec(any::<u8>(), 300),
        ) {
            let (luma, rest) = samples.split_at(150);
            let (cb, cr) = rest.split_at(75);
            let (luma, n) = (&luma[..width], width.div_ceil(2));
            let m = yuv.matrix();
            let want: Vec<[u8; 3]> =
                luma.iter().enumerate().map(|(x, &l)| rgb(m, l, chroma(m, cb[x / 2], cr[x / 2]))).collect();
            let mut got = vec![[0; 3]; width];
            planar(yuv, luma, &cb[..n], &cr[..n], 1, &mut got);
            prop_assert_eq!(&got, &want);
            got.fill([0; 3]);
            let pairs: Vec<u8> = (0..n).flat_map(|i| [cb[i], cr[i]]).collect();
            nv12(yuv, luma, &pairs, &mut got);
            prop_assert_eq!(&got, &want);
            got.fill([0; 3]);
            let at = |x: usize| luma.get(x).copied().unwrap_or(0);
            let packed: Vec<u8> = (0..n).flat_map(|i| [at(2 * i), cb[i], at(2 * i + 1), cr[i]]).collect();
            yuyv(yuv, &packed, &mut got);
            prop_assert_eq!(&got, &want);
            // A row cut short leaves the pixels that it has no samples for as they were.
            let (half, mut short) = (width / 2, vec![[7; 3]; width]);
            planar(yuv, &luma[..half], &cb[..n], &cr[..n], 1, &mut short);
            prop_assert!(short[..half] == want[..half] && short[half..].iter().all(|px| *px == [7; 3]));
        }
    }
}
