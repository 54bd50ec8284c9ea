//! Reports as older edges wrote them: payload versions 1 and 2.
//!
//! An edge's spool may hold such records for weeks and a journal for years, so they stay readable for ever. The structs are
//! private layouts that never change; [`Report`] is what comes out. What an old version did not count becomes None, not 0.

use super::WireError;
use crate::limits::CLUSTERS_MAX;
use crate::report::{Colorimetry, Method, Micros, Refine, Report, Swatch};
use heapless::Vec;
use serde::Deserialize;

/// Payload version 1: without refinement, births and deaths.
#[derive(Debug, Deserialize)]
pub(super) struct ReportV1 {
    frame: u64,
    dropped: u64,
    width: u16,
    height: u16,
    method: Method,
    lambda_q6: u32,
    coreset_size: u32,
    w_open: u32,
    seed: u64,
    warm: bool,
    coreset_points: u32,
    scatter_q12: u64,
    iterations: u32,
    converged: bool,
    saturated: bool,
    sse_q12: u64,
    max_distance2_q12: u32,
    silhouette_ppm: Option<i32>,
    micros: Micros,
    palette: Vec<Swatch, CLUSTERS_MAX>,
}

/// Payload version 2. Its `iterations` counted refinement's sweeps too, and it wrote a certificate of 0 for methods that
/// certify nothing.
#[derive(Debug, Deserialize)]
pub(super) struct ReportV2 {
    frame: u64,
    dropped: u64,
    width: u16,
    height: u16,
    method: Method,
    lambda_q6: u32,
    coreset_size: u32,
    w_open: u32,
    refine: Refine,
    seed: u64,
    warm: bool,
    coreset_points: u32,
    scatter_q12: u64,
    iterations: u32,
    converged: bool,
    saturated: bool,
    sse_q12: u64,
    max_distance2_q12: u32,
    silhouette_ppm: Option<i32>,
    micros: Micros,
    palette: Vec<Swatch, CLUSTERS_MAX>,
    births: Vec<u32, CLUSTERS_MAX>,
    deaths: Vec<u32, CLUSTERS_MAX>,
}

/// The certificate that `scatter_q12` of a report before version 3 stands for. A coreset of all pixels moves none of them,
/// so its 0 is a certificate whatever the method.
fn certificate(scatter_q12: u64, method: Method, has_every_pixel: bool) -> Option<u64> {
    (scatter_q12 > 0 || method.is_certified() || has_every_pixel).then_some(scatter_q12)
}

impl TryFrom<ReportV1> for Report {
    type Error = WireError;

    fn try_from(old: ReportV1) -> Result<Report, WireError> {
        if !matches!(old.method, Method::Octree | Method::Uniform) {
            return Err(WireError::Malformed); // Version 1 had no other methods.
        }
        ReportV2 {
            frame: old.frame,
            dropped: old.dropped,
            width: old.width,
            height: old.height,
            method: old.method,
            lambda_q6: old.lambda_q6,
            coreset_size: old.coreset_size,
            w_open: old.w_open,
            refine: Refine::None,
            seed: old.seed,
            warm: old.warm,
            coreset_points: old.coreset_points,
            scatter_q12: old.scatter_q12,
            iterations: old.iterations,
            converged: old.converged,
            saturated: old.saturated,
            sse_q12: old.sse_q12,
            max_distance2_q12: old.max_distance2_q12,
            silhouette_ppm: old.silhouette_ppm,
            micros: old.micros,
            palette: old.palette,
            births: Vec::new(),
            deaths: Vec::new(),
        }
        .try_into()
    }
}

impl TryFrom<ReportV2> for Report {
    type Error = WireError;

    fn try_from(old: ReportV2) -> Result<Report, WireError> {
        if old.refine == Refine::Cover {
            return Err(WireError::Malformed); // Version 2 had no `cover`.
        }
        let has_every_pixel = u64::from(old.coreset_points) == u64::from(old.width) * u64::from(old.height);
        Ok(Report {
            frame: old.frame,
            dropped: old.dropped,
            width: old.width.into(),
            height: old.height.into(),
            method: old.method,
            lambda_q6: old.lambda_q6,
            coreset_size: old.coreset_size,
            w_open: old.w_open,
            refine: old.refine,
            seed: old.seed,
            warm: old.warm,
            coreset_points: old.coreset_points,
            scatter_q12: certificate(old.scatter_q12, old.method, has_every_pixel),
            iterations: old.iterations,
            converged: old.converged,
            sweeps: 0,
            saturated: old.saturated,
            beyond_px: None,
            missed: None,
            sse_q12: old.sse_q12,
            max_distance2_q12: old.max_distance2_q12,
            silhouette_ppm: old.silhouette_ppm,
            micros: old.micros,
            palette: old.palette,
            births: old.births,
            deaths: old.deaths,
            regions: Vec::new(),
            colorimetry: Colorimetry::default(),
        })
    }
}
