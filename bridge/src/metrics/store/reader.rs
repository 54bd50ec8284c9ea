//! The read side of a store: what the page and the commands may ask.
//!
//! [`Reader`] is implemented for each database. It only reads, also while other processes write.

use super::StoreError;
use super::ledger::Accounts;
use super::rollup::RollUp;
use super::steps::{StepSums, Steps};
use crate::json::{LossJson, MicrosJson, PaletteJson, ReportJson};
use crate::metrics::ingest::fold::{DeadLetter, EventChange};
use crate::metrics::silhouette::census::{self, Colours};
use serde::Serialize;
use std::ops::Range;

/// Most changes of events in one answer: what a person can look at.
pub const EVENTS_MAX: u32 = 2_000;
/// Most reports in one answer.
pub const REPORTS_MAX: u32 = 10_000;

/// A report's numbers, for a curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Milliseconds since the Unix epoch.
    pub captured_at_ms: u64,
    /// The frame.
    pub frame: u64,
    /// Clusters.
    pub clusters: u32,
    /// Iterations.
    pub iterations: u32,
    /// Stage times.
    pub micros: MicrosJson,
    /// Sum of squared distances.
    pub sse: f64,
    /// Root of the mean squared distance.
    pub rms: f64,
    /// The estimate, if there is one.
    pub silhouette_estimate: Option<f64>,
    /// Frames dropped so far.
    pub dropped: u64,
    /// Sweeps of the refinement.
    pub sweeps: u32,
    /// Pixels farther than lambda from their centroid, if the edge counted them.
    pub beyond_px: Option<u32>,
    /// Colours that the palette misses, if the edge counted them.
    pub missed: Option<u32>,
}

/// A device that the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The device.
    pub device: String,
    /// Its last state.
    pub state: Option<String>,
    /// Its last status, as JSON.
    pub status: Option<String>,
}

/// Which census.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CensusKey {
    /// The device.
    pub device: String,
    /// The stream, in decimal.
    pub stream: String,
    /// The frame.
    pub frame: u64,
}

/// Why there is no census.
#[derive(Debug, thiserror::Error)]
pub enum CensusMissing {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device has none at all.
    #[error("device {0} has no census in the store")]
    None(String),
    /// There is no such report.
    #[error("device {device} has no report with seq {seq} in the store")]
    NoReport {
        /// The device.
        device: String,
        /// The sequence number.
        seq: u64,
    },
    /// That frame has none.
    #[error("frame {frame} (seq {seq}) of device {device} has no census; the nearest is of frame {nearest}{hint}")]
    NoneOfFrame {
        /// The device.
        device: String,
        /// The report's sequence number.
        seq: u64,
        /// Its frame.
        frame: u64,
        /// The nearest frame that has one.
        nearest: u64,
        /// How to ask for it.
        hint: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] census::CensusError),
}

/// The unit of a roll-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// Reports of a stream, from one sequence number to another. Numbers in between may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamRange {
    /// The store's number of the stream.
    pub sid: i64,
    /// Sequence number of the first.
    pub first: u64,
    /// Sequence number of the last.
    pub last: u64,
}

/// The settings that a frame was clustered with.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameSettings {
    /// Lambda, in 8-bit levels.
    pub lambda: f64,
    /// Coreset size asked for.
    pub coreset_size: u32,
    /// Coreset method, by its word.
    pub method: String,
    /// Refinement, by its word.
    pub refine: String,
    /// Pixels that a colour needs to open a cluster.
    pub w_open: u32,
}

/// A stream of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStream {
    /// The store's number of the stream.
    pub sid: i64,
    /// Order of its boot among the device's.
    pub order: i64,
    /// The stream, in decimal.
    pub name: String,
}

/// Part of a table: at most so many rows from a place on, of those captured within a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The first sequence number.
    pub from_seq: u64,
    /// Capture times, in microseconds since the Unix epoch.
    pub times_us: Range<u64>,
    /// Most rows.
    pub rows_max: u32,
}

/// Records that an edge gave up, as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossRow {
    /// The device.
    pub device: String,
    /// The range.
    pub loss: LossJson,
}

/// A store, opened for reading. A device's reports are ordered by (order of the boot, seq), not by when they were stored.
pub trait Reader: Send {
    /// What became of every record.
    ///
    /// # Errors
    /// [`StoreError`].
    fn accounts(&self) -> Result<Accounts, StoreError>;

    /// Devices that the store knows, with their last state.
    ///
    /// # Errors
    /// [`StoreError`].
    fn devices(&self) -> Result<Vec<Known>, StoreError>;

    /// The last `n` reports of a device, at most [`REPORTS_MAX`], oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn points(&self, device: &str, n: u32) -> Result<Vec<Point>, StoreError>;

    /// The last report of a device, and the order of its boot.
    ///
    /// # Errors
    /// [`StoreError`].
    fn latest(&self, device: &str) -> Result<Option<(i64, ReportJson)>, StoreError>;

    /// The last change of each event of a device, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn latest_events(&self, device: &str) -> Result<Vec<EventChange>, StoreError>;

    /// The changes of a device's events in `from_us..to_us`, oldest first, behind the last change of each event before it. At
    /// most [`EVENTS_MAX`], the youngest.
    ///
    /// # Errors
    /// [`StoreError`].
    fn events(&self, device: &str, from_us: u64, to_us: u64) -> Result<Vec<EventChange>, StoreError>;

    /// The roll-ups of a device in `from..to`, both in units since the Unix epoch, oldest first, at most
    /// [`REPORTS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    fn roll_ups(&self, device: &str, unit: Unit, from: u64, to: u64) -> Result<Vec<(u64, RollUp)>, StoreError>;

    /// The ranges of the streams of a device that have reports, those of the youngest boots first, at most `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn stream_ranges(&self, device: &str, most: u32) -> Result<Vec<StreamRange>, StoreError>;

    /// When the stream's first report from `seq` on was captured, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`StoreError`].
    fn captured_at_us(&self, sid: i64, seq: u64) -> Result<Option<u64>, StoreError>;

    /// Sums over the reports of `range` that were captured within `steps`, for each step that has any, by the step's number.
    ///
    /// # Errors
    /// [`StoreError`].
    fn step_sums(&self, range: &StreamRange, steps: &Steps) -> Result<Vec<(u64, StepSums)>, StoreError>;

    /// Capture time (in microseconds since the Unix epoch) and palette of the first report of a range.
    ///
    /// # Errors
    /// [`StoreError`].
    fn first_palette(&self, range: &StreamRange) -> Result<Option<(u64, PaletteJson)>, StoreError>;

    /// All streams of a device, the youngest boot first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn streams(&self, device: &str) -> Result<Vec<DeviceStream>, StoreError>;

    /// Reports of a stream in the order of their sequence numbers, with their capture times in microseconds.
    ///
    /// # Errors
    /// [`StoreError`].
    fn report_page(&self, stream: &DeviceStream, page: &Page) -> Result<Vec<(u64, ReportJson)>, StoreError>;

    /// Events of a stream in the order of their sequence numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    fn event_page(&self, device: &str, stream: &DeviceStream, page: &Page) -> Result<Vec<EventChange>, StoreError>;

    /// Losses behind `after`, in the order of device, stream and range, at most so many.
    ///
    /// # Errors
    /// [`StoreError`].
    fn loss_page(&self, after: Option<&LossRow>, rows_max: u32) -> Result<Vec<LossRow>, StoreError>;

    /// Dead letters with the names of their journals, behind `after`, in the order of journal, place and offset, at most so
    /// many.
    ///
    /// # Errors
    /// [`StoreError`].
    fn dead_page(
        &self,
        after: Option<&(String, DeadLetter)>,
        rows_max: u32,
    ) -> Result<Vec<(String, DeadLetter)>, StoreError>;

    /// The settings of a census's frame; None if its report is not in the store (any more).
    ///
    /// # Errors
    /// [`StoreError`].
    fn settings_of(&self, key: &CensusKey) -> Result<Option<FrameSettings>, StoreError>;

    /// The latest census that is whole.
    ///
    /// # Errors
    /// [`CensusMissing`].
    fn latest_census(&self, device: &str) -> Result<CensusKey, CensusMissing>;

    /// The census of the frame whose report has `seq`, in the latest boot that has such a report.
    ///
    /// # Errors
    /// [`CensusMissing`], with the nearest frame that has one.
    fn census_of(&self, device: &str, seq: u64) -> Result<CensusKey, CensusMissing>;

    /// A census, joined.
    ///
    /// # Errors
    /// [`CensusMissing`].
    fn census(&self, key: &CensusKey) -> Result<Colours, CensusMissing>;
}
