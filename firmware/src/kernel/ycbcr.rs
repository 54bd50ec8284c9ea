//! YCbCr to RGB, row by row.
//!
//! Inputs are a row's luma and chroma samples in the layout of a camera or decoder; the result is written to the row of
//! RGB pixels that the caller lends. The conversion uses integers only. The function `rgb` defines its result, and
//! tests hold the vector versions to the same values.

/// A variant of YCbCr: its matrix, and whether luma spans 16..=235 or 0..=255.
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

/// Integer coefficients of a YCbCr variant, scaled by 65,536.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix {
    /// The luma of black.
    pub(crate) black: i32,
    /// Coefficient of luma in every channel.
    pub(crate) y: i32,
    /// Coefficient of Cr in red.
    pub(crate) rv: i32,
    /// Coefficient of Cb in green, which is subtracted.
    pub(crate) gu: i32,
    /// Coefficient of Cr in green, which is subtracted.
    pub(crate) gv: i32,
    /// Coefficient of Cb in blue.
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

/// The samples of a row in which two pixels share their chroma, by layout.
#[cfg_attr(
    not(all(feature = "simd", any(target_arch = "x86_64", target_arch = "aarch64"))),
    expect(dead_code, reason = "only the vector versions read the samples")
)]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Halved<'a> {
    /// Y0 Cb Y1 Cr.
    Packed(&'a [u8]),
    /// Luma; Cb Cr.
    Paired(&'a [u8], &'a [u8]),
    /// Luma; Cb; Cr.
    Apart(&'a [u8], &'a [u8], &'a [u8]),
}

/// Converts a row of YUYV.
pub(crate) fn yuyv(yuv: Yuv, line: &[u8], pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    let done = by_vectors(m, Halved::Packed(line), pixels);
    let rest = line.as_chunks::<4>().0.iter().skip(done / 2);
    for (pair, c) in pixels.get_mut(done..).unwrap_or(&mut []).chunks_mut(2).zip(rest) {
        write(m, pair, &[c[0], c[2]], c[1], c[3]);
    }
}

/// Converts a row of UYVY. It has no vector version: HDMI grabbers and some cameras use it, webcams do not.
pub(crate) fn uyvy(yuv: Yuv, line: &[u8], pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    for (pair, c) in pixels.chunks_mut(2).zip(line.as_chunks::<4>().0) {
        write(m, pair, &[c[1], c[3]], c[0], c[2]);
    }
}

/// Converts a row of NV21: NV12 with Cr before Cb. It has no vector version.
pub(crate) fn nv21(yuv: Yuv, luma: &[u8], chroma: &[u8], pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    for (pair, (l, c)) in pixels.chunks_mut(2).zip(luma.chunks(2).zip(chroma.as_chunks::<2>().0)) {
        write(m, pair, l, c[1], c[0]);
    }
}

/// Converts a row of NV12: its luma, and the row of chroma that it shares with another row of luma.
pub(crate) fn nv12(yuv: Yuv, luma: &[u8], chroma: &[u8], pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    let done = by_vectors(m, Halved::Paired(luma, chroma), pixels);
    let rest = luma.chunks(2).zip(chroma.as_chunks::<2>().0).skip(done / 2);
    for (pair, (l, c)) in pixels.get_mut(done..).unwrap_or(&mut []).chunks_mut(2).zip(rest) {
        write(m, pair, l, c[0], c[1]);
    }
}

/// Converts a row of three planes in which `1 << h` pixels share their chroma.
pub(crate) fn planar(yuv: Yuv, luma: &[u8], cb: &[u8], cr: &[u8], h: u8, pixels: &mut [[u8; 3]]) {
    let m = yuv.matrix();
    let done = if h == 1 { by_vectors(m, Halved::Apart(luma, cb, cr), pixels) } else { 0 };
    let run = 1 << h;
    let rest = luma.chunks(run).zip(cb.iter().zip(cr)).skip(done / run);
    for (px, (l, (&cb, &cr))) in pixels.get_mut(done..).unwrap_or(&mut []).chunks_mut(run).zip(rest) {
        write(m, px, l, cb, cr);
    }
}

/// Converts pixels from the front of the row with this machine's vector version, and returns their number, which is
/// even and 0 where there is no vector version.
fn by_vectors(m: Matrix, row: Halved<'_>, pixels: &mut [[u8; 3]]) -> usize {
    super::rgb_of(m, row, pixels)
}

/// Converts pixels that share one chroma.
#[inline]
fn write(m: Matrix, pixels: &mut [[u8; 3]], luma: &[u8], cb: u8, cr: u8) {
    let chroma = chroma(m, cb, cr);
    pixels.iter_mut().zip(luma).for_each(|(px, &l)| *px = rgb(m, l, chroma));
}

/// The contributions of two chroma samples to red, green and blue, scaled by 65,536, with one half added for rounding.
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
