//! The space in which colours are compared: 8-bit RGB, or CIELAB packed into the same integers.
//!
//! Clustering knows points of three coordinates in 1/64, each from 0 to [`super::LEVEL_Q6_MAX`], and squared distances between them.
//! [`Space`] has the coordinates of a colour. In CIELAB the coordinates are L, a + 128 and b + 128: all of sRGB fits, a distance of
//! 64 is one Delta E (1976), and the nearest-centroid loop is the same. Conversions are integers with the same bits on
//! every machine. They differ from double precision by less than 0.02, and take a table of 8 KiB instead of cube roots.

use super::lab::{Lab, XYZ_Q24, cube_root_by_digits};
use super::tables::LINEAR_Q24;
use super::{LEVEL_Q6_MAX, Q6, distance2_q12};

/// The space in which colours are compared. It travels as a postcard variant by its order here, so new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum Space {
    /// 8-bit sRGB, as the tutorial has it.
    #[default]
    Rgb,
    /// CIELAB, D65 and 2 degrees: distances as people see them.
    Cielab,
}

/// What is added to a and b, so that no coordinate is negative.
const AB_OFFSET_Q6: i32 = 128 << 6;

/// Steps of [`BENT_Q16`] from 0 to 1. With 4,096 of them, interpolation is off by less than 0.003 in a.
pub(crate) const BENT_STEPS: usize = 1 << 12;
/// CIELAB's f less 1/8 at each step, in 1/65,536; the last entry again, as the one above white.
pub(crate) static BENT_Q16: [u16; BENT_STEPS + 2] = {
    let (mut table, mut n) = ([0; BENT_STEPS + 2], 0);
    while n < BENT_STEPS + 2 {
        let t_q24 = (if n < BENT_STEPS { n as u64 } else { BENT_STEPS as u64 }) << 12;
        // The line: t 841/108 + 4/29, rounded; the root of t in 1/2^60 is in 1/2^20.
        let line_q16 = (t_q24 * 841 * 29 + 4 * 108 * (1 << 24) + 108 * 29 * 128) / (108 * 29 * 256);
        let root_q16 = (cube_root_by_digits(t_q24 << 36) + 8) >> 4;
        table[n] = (if t_q24 < 148_587 { line_q16 } else { root_q16 } - (1 << 13)) as u16;
        n += 1;
    }
    table
};

/// Steps at most in the search for the RGB colour nearest to a point. Rounding leaves a first guess within a few 1/64 levels.
const NEAREST_STEPS_MAX: u32 = 32;

impl Space {
    /// All of them.
    pub const ALL: [Space; 2] = [Space::Rgb, Space::Cielab];

    /// The word for it on command lines and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Space::Rgb => "rgb",
            Space::Cielab => "cielab",
        }
    }

    /// The space that `word` names.
    pub fn from_word(word: &str) -> Option<Space> {
        Space::ALL.into_iter().find(|s| s.word() == word)
    }

    /// Lambda in 1/64 unless set: 50 levels, or 18 Delta E, which gives about as many colours.
    pub const fn default_lambda_q6(self) -> u32 {
        match self {
            Space::Rgb => 50 * 64,
            Space::Cielab => 18 * 64,
        }
    }

    /// The length in this space of what is `levels` long in RGB, in 1/64: on average over pictures, 50 levels are 18 Delta E.
    pub const fn length_q6(self, levels: u32) -> u32 {
        levels * self.default_lambda_q6() / 50
    }

    /// Where an 8-bit colour lies.
    #[inline]
    pub fn of_rgb(self, rgb: [u8; 3]) -> Q6 {
        match self {
            Space::Rgb => super::q6(rgb),
            Space::Cielab => lab_of_rgb(rgb),
        }
    }

    /// Where a colour in 1/64 levels lies.
    #[inline]
    pub fn of_q6(self, rgb_q6: Q6) -> Q6 {
        match self {
            Space::Rgb => rgb_q6,
            Space::Cielab => lab_of_q6(rgb_q6),
        }
    }

    /// The RGB colour in 1/64 levels that lies at a point or near it; outside of the gamut channels are cut off. It need not lie
    /// exactly at the point, even if another colour does: callers go on with [`Space::of_q6`] of the result.
    pub fn rgb_at(self, point: Q6) -> Q6 {
        match self {
            Space::Rgb => point,
            Space::Cielab => refined(guess(point), point),
        }
    }

    /// Delta E 2000 between two points, in 1/4096.
    pub fn de00_q12(self, one: Q6, other: Q6) -> u32 {
        super::de00_q12(self.lab_at(one), self.lab_at(other))
    }

    /// A point in CIELAB.
    pub fn lab_at(self, point: Q6) -> Lab {
        match self {
            Space::Rgb => Lab::of_q6(point),
            Space::Cielab => {
                let [l_q12, a_q12, b_q12] = lab_q6(point).map(|v| i32::from(v) << 6);
                Lab { l_q12, a_q12, b_q12 }
            }
        }
    }
}

/// L, a and b in 1/64 of a point of [`Space::Cielab`].
pub fn lab_q6([l, a, b]: Q6) -> [i16; 3] {
    let centred = |v: u16| (i32::from(v) - AB_OFFSET_Q6) as i16;
    [l as i16, centred(a), centred(b)]
}

/// What each level of a channel adds to X, Y and Z of its colour, each divided by that of the white point, in 1/2^24; the fourth
/// is 0, so that a row is one vector. Rounded one by one, X, Y and Z of a grey differ by less than its a or b shows.
const XYZ_OF_LEVEL_Q24: [[[u32; 4]; 256]; 3] = {
    let (mut table, mut channel) = ([[[0; 4]; 256]; 3], 0);
    while channel < 3 {
        let mut level = 0;
        while level < 256 {
            let mut row = 0;
            while row < 3 {
                let product = XYZ_Q24[row][channel] * LINEAR_Q24[level] as u64;
                table[channel][level][row] = ((product + (1 << 23)) >> 24) as u32;
                row += 1;
            }
            level += 1;
        }
        channel += 1;
    }
    table
};

/// The sum of two vectors.
#[inline]
pub(crate) fn plus([a, b, c, d]: [u32; 4], [e, f, g, h]: [u32; 4]) -> [u32; 4] {
    // Written out: as a loop it is not always one vector addition.
    [a + e, b + f, c + g, d + h]
}

/// X, Y and Z of a colour, each divided by that of the white point, in 1/2^24. The fourth is 0, so that it is one vector.
pub(crate) type Xyz = [u32; 4];

/// X, Y and Z of an 8-bit colour.
#[inline]
pub(crate) fn xyz_of_rgb([r, g, b]: [u8; 3]) -> Xyz {
    let [of_r, of_g, of_b] = &XYZ_OF_LEVEL_Q24;
    plus(plus(of_r[usize::from(r)], of_g[usize::from(g)]), of_b[usize::from(b)])
}

/// What a level in 1/64 of each channel adds to X, Y and Z: interpolated between whole levels.
#[inline]
pub(crate) fn xyz_of_levels(rgb_q6: Q6) -> [Xyz; 3] {
    core::array::from_fn(|channel| {
        let (level, rest) = (usize::from(rgb_q6[channel] >> 6).min(255), u32::from(rgb_q6[channel] & 63));
        let of_level = &XYZ_OF_LEVEL_Q24[channel];
        let (low, high) = (of_level[level], of_level[(level + 1).min(255)]);
        // Neighbours are less than 2^18 apart.
        core::array::from_fn(|n| low[n] + ((high[n] - low[n]) * rest + 32) / 64)
    })
}

/// X, Y and Z of a colour in 1/64 levels.
#[inline]
pub(crate) fn xyz_of_q6(rgb_q6: Q6) -> Xyz {
    xyz_of_levels(rgb_q6).into_iter().fold([0; 4], plus)
}

/// Where an 8-bit colour lies in CIELAB.
#[inline]
fn lab_of_rgb(rgb: [u8; 3]) -> Q6 {
    of_xyz(xyz_of_rgb(rgb))
}

/// Where a colour in 1/64 levels lies in CIELAB.
fn lab_of_q6(rgb_q6: Q6) -> Q6 {
    of_xyz(xyz_of_q6(rgb_q6))
}

/// Where a colour of these X, Y and Z lies in CIELAB.
#[inline]
fn of_xyz([x, y, z, _]: Xyz) -> Q6 {
    of_bent([x, y, z].map(bent_q18))
}

/// L, a and b by CIELAB's f of X, Y and Z in 1/2^18.
#[inline(always)]
pub(crate) fn of_bent([x, y, z]: [i32; 3]) -> Q6 {
    let q6 = |times: i32, v_q18: i32| (times * v_q18 + (1 << 11)) >> 12;
    // 116 f, 500 and 200 differences of f in 1/64 stay below 2^31 in 1/2^18.
    let l = q6(116, y) - (16 << 6);
    let a = q6(500, x - y) + AB_OFFSET_Q6;
    let b = q6(200, y - z) + AB_OFFSET_Q6;
    [l, a, b].map(|v| v.clamp(0, i32::from(LEVEL_Q6_MAX)) as u16)
}

/// CIELAB's f, in 1/2^18.
#[inline(always)]
fn bent_q18(t_q24: u32) -> i32 {
    bent_between(bent_steps(t_q24), t_q24)
}

/// The entries of [`BENT_Q16`] below and above.
#[inline(always)]
pub(crate) fn bent_steps(t_q24: u32) -> [u16; 2] {
    let n = ((t_q24 >> 12) as usize).min(BENT_STEPS);
    [BENT_Q16[n], BENT_Q16[n + 1]]
}

/// CIELAB's f in 1/2^18, between these entries of [`BENT_Q16`].
#[inline(always)]
pub(crate) fn bent_between([low, high]: [u16; 2], t_q24: u32) -> i32 {
    let (low, high) = (i32::from(low), i32::from(high));
    (1 << 15) + (((low << 12) + (high - low) * (t_q24 & 4_095) as i32 + (1 << 9)) >> 10)
}

/// The RGB colour at a point in CIELAB, by the inverse formulas, rounded.
fn guess(point: Q6) -> Q6 {
    Space::Cielab.lab_at(point).linear_q24().map(|light| level_q6(light.clamp(0, 1 << 24) as u32))
}

/// The level in 1/64 that has this linear light, about.
fn level_q6(linear_q24: u32) -> u16 {
    let level = LINEAR_Q24.partition_point(|&v| v <= linear_q24).saturating_sub(1).min(254);
    let at = |level: usize| LINEAR_Q24.get(level).copied().unwrap_or(1 << 24);
    let (low, high) = (at(level), at(level + 1));
    let rest = ((linear_q24.saturating_sub(low)) * 64 + (high - low) / 2) / (high - low).max(1);
    ((level as u32 * 64 + rest) as u16).min(LEVEL_Q6_MAX)
}

/// The colour near `from` that lies nearest to `point`: to neighbours of a few 1/64 levels, as long as they are nearer.
fn refined(from: Q6, point: Q6) -> Q6 {
    let distance2 = |c: Q6| distance2_q12(lab_of_q6(c), point);
    let (mut best, mut best2) = (from, distance2(from));
    for _ in 0..NEAREST_STEPS_MAX {
        let before2 = best2;
        let center = best;
        for n in (0..27).map(|n: i32| [n / 9 - 1, n / 3 % 3 - 1, n % 3 - 1]) {
            for stride in [1, 5] {
                if best2 == 0 {
                    return best;
                }
                let mut colour = center;
                for (level, step) in colour.iter_mut().zip(n) {
                    *level = (i32::from(*level) + step * stride).clamp(0, i32::from(LEVEL_Q6_MAX)) as u16;
                }
                let near2 = distance2(colour);
                if near2 < best2 {
                    (best, best2) = (colour, near2);
                }
            }
        }
        if best2 == before2 {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::oracle;
    use super::*;
    use proptest::prelude::*;

    fn decimals(point: Q6) -> [f64; 3] {
        lab_q6(point).map(|v| f64::from(v) / 64.0)
    }

    #[test]
    fn every_colour_lies_where_double_precision_has_it() {
        let mut worst: f64 = 0.0;
        for i in 0..1u32 << 24 {
            // One colour in 7, and all greys.
            let rgb = [i >> 16, i >> 8, i].map(|v| v as u8);
            let is_grey = rgb[0] == rgb[1] && rgb[1] == rgb[2];
            if !i.is_multiple_of(7) && !is_grey {
                continue;
            }
            let (found, want) = (Space::Cielab.of_rgb(rgb), oracle::lab(rgb.map(f64::from)));
            worst = decimals(found).iter().zip(want).fold(worst, |w, (f, o)| w.max((f - o).abs()));
            if rgb[0] == rgb[1] && rgb[1] == rgb[2] {
                assert_eq!(lab_q6(found)[1..], [0, 0], "greys are neutral: {rgb:?}");
            }
        }
        std::println!("largest difference of a coordinate: {worst}");
        assert!(worst < 0.02, "{worst}");
    }

    proptest! {
        #[test]
        fn a_colour_comes_back_to_where_it_lies_or_a_64th_beside(rgb_q6 in [0u16..=LEVEL_Q6_MAX, 0u16..=LEVEL_Q6_MAX, 0u16..=LEVEL_Q6_MAX]) {
            let point = Space::Cielab.of_q6(rgb_q6);
            let back = Space::Cielab.rgb_at(point);
            prop_assert!(super::super::is_colour(&back));
            prop_assert!(distance2_q12(Space::Cielab.of_q6(back), point) <= 3, "{:?}", back);
            prop_assert_eq!(Space::Rgb.rgb_at(Space::Rgb.of_q6(rgb_q6)), rgb_q6);
        }

        #[test]
        fn any_point_has_a_colour(point in [0u16..=LEVEL_Q6_MAX, 0u16..=LEVEL_Q6_MAX, 0u16..=LEVEL_Q6_MAX]) {
            let rgb = Space::Cielab.rgb_at(point);
            prop_assert!(super::super::is_colour(&rgb));
            // At the border of the gamut the search may end beside the point.
            let settled = Space::Cielab.of_q6(rgb);
            prop_assert!(distance2_q12(Space::Cielab.of_q6(Space::Cielab.rgb_at(settled)), settled) <= 12);
        }

        #[test]
        fn whole_levels_lie_where_their_64ths_do(rgb in any::<[u8; 3]>()) {
            for space in Space::ALL {
                prop_assert_eq!(space.of_rgb(rgb), space.of_q6(super::super::q6(rgb)));
            }
        }
    }

    #[test]
    fn each_word_names_its_space() {
        for space in Space::ALL {
            assert_eq!(Space::from_word(space.word()), Some(space));
        }
        assert_eq!(Space::from_word("oklab"), None);
    }
}
