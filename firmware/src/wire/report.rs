//! The report as a payload, the `metrics` record: which values are consistent, and which versions can be read.
//!
//! [`Report`] is the layout of version 3. Versions 1 and 2 have layouts of their own in `report_old.rs` and come out as
//! this same type. [`Colorimetry`] follows version 3 where it is not empty; reports in RGB have the bytes without it.

use super::report_old::{ReportV1, ReportV2};
use super::{Kind, Payload, WireError, is_colour, put, take};
use crate::limits::{NAMED_MAX, REGIONS_MAX};
use crate::report::{Colorimetry, RegionShare, Report};

impl Payload for Report {
    const KIND: Kind = Kind::Report;
    const VERSION: u8 = 3;

    fn consistent(&self) -> bool {
        let pixels = self.pixels();
        // Masked pixels are counted nowhere.
        let all = u64::from(self.width) * u64::from(self.height);
        pixels <= all
            && all <= u64::from(u32::MAX)
            && (pixels > 0 || all == 0)
            && self.palette.iter().all(|s| is_colour(&s.rgb_q6))
            && self.silhouette_ppm.is_none_or(|s| (-1_000_000..=1_000_000).contains(&s))
            && self.beyond_px.is_none_or(|n| u64::from(n) <= pixels)
            && (self.missed.is_none_or(|n| n == 0) || self.beyond_px.is_some_and(|n| n > 0))
            && self.regions.iter().all(|r| is_consistent(r, pixels))
    }

    fn read(version: u8, bytes: &[u8]) -> Result<(Report, &[u8]), WireError> {
        match version {
            1 => take::<ReportV1>(bytes).and_then(|(old, rest)| Ok((old.try_into()?, rest))),
            2 => take::<ReportV2>(bytes).and_then(|(old, rest)| Ok((old.try_into()?, rest))),
            Self::VERSION => {
                let (mut report, mut rest) = take::<Report>(bytes)?;
                if !rest.is_empty() {
                    (report.colorimetry, rest) = take(rest)?;
                }
                Ok((report, rest))
            }
            _ => Err(WireError::Version(version)),
        }
    }

    fn write(&self, buf: &mut [u8]) -> Result<usize, WireError> {
        let n = put(self, buf)?;
        if self.colorimetry == Colorimetry::default() {
            return Ok(n);
        }
        Ok(n + put(&self.colorimetry, buf.get_mut(n..).unwrap_or(&mut []))?)
    }
}

/// Whether a region names a possible region and colours, with no more pixels than there are.
fn is_consistent(region: &RegionShare, frame_pixels: u64) -> bool {
    let named: u64 = region.named.iter().map(|n| u64::from(n.pixels)).sum();
    named <= u64::from(region.pixels)
        && u64::from(region.pixels) <= frame_pixels
        && usize::from(region.region) < REGIONS_MAX
        && region.named.iter().all(|n| usize::from(n.colour) < NAMED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CLUSTERS_MAX, REPORT_BYTES_MAX};
    use crate::report::{Method, Micros, NamedShare, Refine, Space, Swatch};
    use crate::wire::encode;
    use core::iter::repeat_n;
    use heapless::Vec;

    /// Every list is full and every number as long as it can be.
    fn largest() -> Report {
        let named = NamedShare { colour: u8::MAX, pixels: u32::MAX, de00_q6: u16::MAX };
        let region = RegionShare { region: u8::MAX, pixels: u32::MAX, named: repeat_n(named, NAMED_MAX).collect() };
        let most = u32::MAX;
        Report {
            frame: u64::MAX,
            dropped: u64::MAX,
            width: most,
            height: most,
            method: Method::Lightweight,
            lambda_q6: most,
            coreset_size: most,
            w_open: most,
            refine: Refine::Cover,
            seed: u64::MAX,
            warm: true,
            coreset_points: most,
            scatter_q12: Some(u64::MAX),
            iterations: most,
            converged: true,
            sweeps: most,
            saturated: true,
            beyond_px: Some(most),
            missed: Some(most),
            sse_q12: u64::MAX,
            max_distance2_q12: most,
            silhouette_ppm: Some(i32::MIN),
            micros: Micros { coreset: most, cluster: most, label: most, total: most },
            palette: repeat_n(Swatch { id: most, rgb_q6: [u16::MAX; 3], pixels: most }, CLUSTERS_MAX).collect(),
            births: repeat_n(most, CLUSTERS_MAX).collect(),
            deaths: repeat_n(most, CLUSTERS_MAX).collect(),
            regions: repeat_n(region, REGIONS_MAX).collect(),
            colorimetry: Colorimetry {
                space: Space::Cielab,
                de00_mean_q6: Some(u16::MAX),
                reference_de00_q6: Some(u16::MAX),
            },
        }
    }

    /// A frame of 4 pixels.
    fn small() -> Report {
        let palette = [Swatch { id: 0, rgb_q6: [0; 3], pixels: 4 }].into_iter().collect();
        let (none, nothing) = (Vec::new(), Vec::new());
        let (beyond_px, missed) = (Some(0), Some(0));
        let regions = Vec::new();
        Report {
            width: 4,
            height: 1,
            silhouette_ppm: None,
            palette,
            births: none,
            deaths: nothing,
            beyond_px,
            missed,
            regions,
            ..largest()
        }
    }

    #[test]
    fn the_largest_report_fits_its_limit() {
        assert!(encode(&largest(), &mut [0; REPORT_BYTES_MAX]).is_ok());
    }

    #[test]
    fn a_report_that_counts_more_than_there_is_contradicts_itself() {
        let with = |beyond_px, missed| Report { beyond_px, missed, ..small() }.consistent();
        assert!(with(Some(0), Some(0)) && with(Some(4), Some(1)) && with(None, None) && with(Some(4), None));
        assert!(!with(Some(5), Some(0)) && !with(Some(0), Some(1)) && !with(None, Some(1)));
        let region = |region, pixels, named: &[(u8, u32)]| {
            let named = named.iter().map(|&(colour, pixels)| NamedShare { colour, pixels, de00_q6: 0 }).collect();
            let regions = [RegionShare { region, pixels, named }].into_iter().collect();
            Report { regions, ..small() }.consistent()
        };
        assert!(region(15, 4, &[(0, 1), (15, 3)]) && region(0, 0, &[]));
        assert!(
            !region(0, 5, &[]) && !region(0, 3, &[(0, 2), (1, 2)]) && !region(16, 0, &[]) && !region(0, 1, &[(16, 1)])
        );
    }
}
