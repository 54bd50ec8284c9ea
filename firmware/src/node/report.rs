//! The report of a step: what was found, and how long it took.
//!
//! Inputs are the settings, the outcome of clustering and the totals of labelling; the result is the node's report.
//! Births, deaths and times are filled in by the step itself. The silhouette is estimated here, because its only use is
//! the report.

use super::clustering::Outcome;
use super::{Clock, Node, Settings};
use crate::cluster::{self, Params, silhouette};
use crate::color::{Space, distance2_q12};
use crate::frame::Frame;
use crate::gather::gather;
use crate::label::Labelled;
use crate::report::{Colorimetry, Micros, Report, Swatch};
use heapless::Vec;

/// Moments of a step, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    started_us: u64,
    sampled_us: u64,
    clustered_us: u64,
    labelled_us: u64,
}

impl Times {
    pub(super) fn start(clock: &mut impl Clock) -> Times {
        Times { started_us: clock.now_us(), ..Times::default() }
    }

    pub(super) fn sampled(&mut self, clock: &mut impl Clock) {
        self.sampled_us = clock.now_us();
    }

    pub(super) fn clustered(&mut self, clock: &mut impl Clock) {
        self.clustered_us = clock.now_us();
    }

    pub(super) fn labelled(&mut self, clock: &mut impl Clock) {
        self.labelled_us = clock.now_us();
    }

    pub(super) fn micros(&self) -> Micros {
        let us = |from: u64, to: u64| u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
        Micros {
            coreset: us(self.started_us, self.sampled_us),
            cluster: us(self.sampled_us, self.clustered_us),
            label: us(self.clustered_us, self.labelled_us),
            total: us(self.started_us, self.labelled_us),
        }
    }
}

impl Node<'_> {
    /// Fills in the report, all but times and changes of ids.
    pub(super) fn write_report(
        &mut self,
        frame: &Frame<'_>,
        params: Params,
        outcome: &Outcome,
        labelled: &Labelled,
        missed: u32,
    ) {
        let de00_mean_q6 = self.mean_de00_q6(labelled.sse_q12);
        let silhouette_ppm = if self.settings.silhouette { self.estimate_silhouette() } else { None };
        let (s, r) = (&self.settings, &mut self.report);
        (r.frame, r.dropped) = (frame.stamp.number, frame.stamp.dropped);
        (r.width, r.height) = (frame.width() as u32, frame.height() as u32);
        (r.method, r.lambda_q6, r.coreset_size, r.seed) = (s.method, s.lambda_q6, s.coreset_size, s.seed);
        (r.refine, r.w_open, r.warm) = (s.refine, params.w_open, outcome.start.is_warm());
        (r.coreset_points, r.scatter_q12) = (self.sample.coreset_points() as u32, self.sample.scatter_q12);
        (r.iterations, r.converged) = (outcome.iterations, outcome.converged);
        (r.sweeps, r.saturated) = (outcome.sweeps, outcome.saturated);
        (r.beyond_px, r.missed) = (Some(labelled.beyond_px), Some(missed));
        (r.sse_q12, r.max_distance2_q12) = (labelled.sse_q12, labelled.max_distance2_q12);
        r.silhouette_ppm = silhouette_ppm;
        let swatches = self.clusters.iter().zip(&self.colours).zip(labelled.pixels);
        r.palette = gather(swatches.map(|((c, &(rgb_q6, _)), pixels)| Swatch { id: c.id, rgb_q6, pixels }));
        let reference_de00_q6 = frame.reference_de00_q6();
        r.colorimetry = Colorimetry { space: s.space, de00_mean_q6, reference_de00_q6 };
    }

    /// In CIELAB, the mean Delta E 2000 of the pixels to their clusters: that of the coreset's points, which leaves out how pixels
    /// scatter around them, times the root of how much more all pixels cost (`sse_q12`). Within 3 % of the exact mean on stills.
    fn mean_de00_q6(&mut self, sse_q12: u64) -> Option<u16> {
        let space = self.settings.space;
        if space == Space::Rgb {
            return None;
        }
        let points = self.sample.points(&mut self.ws);
        let assign = points.assign.get_mut(..points.coreset.len())?;
        cluster::assign(points.coreset, &self.clusters, assign);
        let (mut sum_q12, mut cost_q12, mut pixels) = (0, 0, 0);
        for (p, &label) in points.coreset.iter().zip(assign.iter()) {
            let centroid = self.clusters.get(usize::from(label))?.position_q6;
            sum_q12 += u64::from(space.de00_q12(p.position_q6, centroid)) * u64::from(p.weight());
            cost_q12 += u64::from(distance2_q12(p.position_q6, centroid)) * u64::from(p.weight());
            pixels += u64::from(p.weight());
        }
        let mean_q12 = (sum_q12 + pixels / 2).checked_div(pixels)?;
        let more_q12 = (((sse_q12.isqrt() + 1) << 12) / (cost_q12.isqrt() + 1)).min(2 << 12);
        u16::try_from((((mean_q12 * more_q12) >> 12) + 32) >> 6).ok()
    }

    fn estimate_silhouette(&mut self) -> Option<i32> {
        let inside_q12 = self.sample.inside_q12;
        let points = self.sample.points(&mut self.ws);
        let assign = points.assign.get_mut(..points.coreset.len())?;
        cluster::assign(points.coreset, &self.clusters, assign);
        silhouette::estimate_ppm(points.coreset, assign, self.clusters.len(), inside_q12)
    }
}

/// The report before the first frame.
pub(super) fn blank(s: &Settings) -> Report {
    Report {
        frame: 0,
        dropped: 0,
        width: 0,
        height: 0,
        method: s.method,
        lambda_q6: s.lambda_q6,
        coreset_size: s.coreset_size,
        w_open: 1,
        refine: s.refine,
        seed: s.seed,
        warm: false,
        coreset_points: 0,
        scatter_q12: None,
        iterations: 0,
        converged: false,
        sweeps: 0,
        saturated: false,
        beyond_px: None,
        missed: None,
        sse_q12: 0,
        max_distance2_q12: 0,
        births: Vec::new(),
        deaths: Vec::new(),
        regions: Vec::new(),
        colorimetry: Colorimetry { space: s.space, ..Colorimetry::default() },
        silhouette_ppm: None,
        micros: Micros::default(),
        palette: Vec::new(),
    }
}
