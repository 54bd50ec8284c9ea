//! What a store keeps of the space of a report's colours.
//!
//! A row without it is of a report in RGB without colour differences, as almost all are, so that those cost nothing. L, a and
//! b of the palette follow from its RGB values and are computed when a report is read.

use crate::json::ReportJson;
use firmware::color::{Space, lab_q6};
use serde::{Deserialize, Serialize};

/// Space and colour differences of a report, as JSON in one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Colorimetry {
    space: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    de00_mean: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference_de00: Option<f64>,
}

impl Colorimetry {
    /// What is to be kept of a report. None where a row without it means the same.
    pub(super) fn of(r: &ReportJson) -> Option<Colorimetry> {
        let space = r.space.as_deref().unwrap_or(Space::Rgb.word());
        let is_plain = space == Space::Rgb.word() && r.de00_mean.is_none() && r.reference_de00.is_none();
        (!is_plain).then(|| Colorimetry {
            space: space.to_owned(),
            de00_mean: r.de00_mean,
            reference_de00: r.reference_de00,
        })
    }

    /// Puts what was kept into a report that was read, its palette included.
    pub(super) fn restore(kept: Option<Colorimetry>, r: &mut ReportJson) {
        let plain = Colorimetry { space: Space::Rgb.word().to_owned(), de00_mean: None, reference_de00: None };
        let Colorimetry { space, de00_mean, reference_de00 } = kept.unwrap_or(plain);
        if space == Space::Cielab.word() {
            r.palette.lab_q6 = r.palette.rgb_q6.iter().map(|rgb_q6| lab_q6(Space::Cielab.of_q6(*rgb_q6))).collect();
        }
        (r.space, r.de00_mean, r.reference_de00) = (Some(space), de00_mean, reference_de00);
    }
}
