//! Wire: what leaves a room, as bytes. The one door to `postcard`.
//!
//! Takes values and a buffer. Gives bytes, and values back from bytes that anyone may have sent.
//! Touches the buffer it is lent.
//! Never panics on what comes in, and never changes an existing layout: enums grow only at the end, versions are
//! counted up, and the golden bytes in `tests/golden/` hold it to that.
//!
//! A record is an [`crate::custody::Envelope`] and a payload. The payload's version is in the envelope:
//!
//! | kind | payload, version 1 (a report: 2) |
//! |---|---|
//! | Report | [`Report`] |
//! | Census | [`CensusHead`], then [`CensusHead::in_part`] times two LEB128 numbers: how far the colour (`0xRRGGBB`) is above the one before (the first: above 0), and how many pixels have it |
//! | Picture | [`PictureHead`], then a stretch of the packed label map ([`crate::labelmap`]) |
//! | Loss | [`Loss`] |
//! | Original | [`OriginalHead`], then a JPEG |
//!
//! [`Window`] and [`Ack`] travel without an envelope, behind one byte of version.

use crate::custody::{Ack, Kind, Window};
use crate::limits::{CLUSTERS_MAX, LEVEL_Q6_MAX, PARTS_MAX};
use heapless::Vec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes that hold the head of a picture or census part, palette included.
pub const HEAD_BYTES_MAX: usize = 4_096;

/// How the coreset was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// 5-bit histogram of cluster features, collapsed in an octree: deterministic, certified.
    Octree,
    /// Pixels drawn without replacement, as in the tutorial.
    Uniform,
    /// Cells drawn by their part in the cost of a rough solution (Bachem, Lucic and Krause, 2015).
    Sensitivity,
    /// Cells parted by a tree of k-means++ seeds (Ackermann et al., StreamKM++, 2012).
    StreamKm,
    /// Cells drawn half by weight, half by distance to the mean (Bachem, Lucic and Krause, 2018).
    Lightweight,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 5] =
        [Method::Octree, Method::Uniform, Method::Sensitivity, Method::StreamKm, Method::Lightweight];

    /// The word for it on command lines and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Method::Octree => "octree",
            Method::Uniform => "uniform",
            Method::Sensitivity => "sensitivity",
            Method::StreamKm => "streamkm",
            Method::Lightweight => "lightweight",
        }
    }
}

/// What is done for the centroids after lambda has decided how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refine {
    /// Nothing: DC-DP-means on the coreset has the last word.
    None,
    /// Lloyd's sweeps over all cells of the frame.
    Lloyd,
    /// These, and swaps out of their local optima.
    Swap,
}

impl Refine {
    /// All of them.
    pub const ALL: [Refine; 3] = [Refine::None, Refine::Lloyd, Refine::Swap];

    /// The word for it on command lines and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Refine::None => "none",
            Refine::Lloyd => "lloyd",
            Refine::Swap => "swap",
        }
    }
}

/// One cluster of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swatch {
    /// The cluster's identity over frames.
    pub id: u32,
    /// Centroid: red, green, blue in 1/64 levels, 0 to 16,320.
    pub rgb_q6: [u16; 3],
    /// Pixels that are nearest to it.
    pub pixels: u32,
}

impl Swatch {
    /// The centroid rounded to 8-bit levels: the colour it is drawn in.
    pub fn rgb8(&self) -> [u8; 3] {
        rgb8(self.rgb_q6)
    }
}

/// A centroid in 1/64 levels rounded to 8-bit levels.
pub fn rgb8(rgb_q6: [u16; 3]) -> [u8; 3] {
    rgb_q6.map(|c| ((u32::from(c) + 32) >> 6).min(255) as u8)
}

/// Microseconds that the stages of one frame took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Micros {
    /// Pixels to coreset.
    pub coreset: u32,
    /// Coreset to clusters.
    pub cluster: u32,
    /// Clusters to the label of every pixel.
    pub label: u32,
    /// From pixels in memory to labels in memory.
    pub total: u32,
}

/// What is known of one frame: the `metrics` record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The source's frame number, from 0.
    pub frame: u64,
    /// Frames lost so far since the source was opened: overruns of the camera, and records that were refused.
    pub dropped: u64,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Coreset method in force.
    pub method: Method,
    /// Distance in force, in 1/64 levels of 8-bit RGB.
    pub lambda_q6: u32,
    /// Coreset size asked for.
    pub coreset_size: u32,
    /// Pixels that a coreset point must stand for before it may open a cluster.
    pub w_open: u32,
    /// What was done after DC-DP-means.
    pub refine: Refine,
    /// Seed in force (of the methods that draw).
    pub seed: u64,
    /// Started from the last frame's centroids.
    pub warm: bool,
    /// Coreset points used.
    pub coreset_points: u32,
    /// The certificate, in 1/4096 squared levels: moving every pixel to its coreset point costs just this. For any
    /// centroids, the square roots of the frame's cost and of the coreset's differ by at most its square root.
    /// 0 with `uniform`, which certifies nothing, unless every pixel is in the coreset.
    pub scatter_q12: u64,
    /// DC-DP-means iterations to convergence.
    pub iterations: u32,
    /// It stopped because nothing changed any more, not at the cap.
    pub converged: bool,
    /// [`CLUSTERS_MAX`] was reached while points were still farther than lambda from every centroid.
    pub saturated: bool,
    /// Sum over all pixels of the squared distance to their centroid, exact, in 1/4096 squared levels.
    pub sse_q12: u64,
    /// Largest squared distance of a pixel to its centroid, exact, in 1/4096 squared levels.
    pub max_distance2_q12: u32,
    /// Silhouette estimate from the coreset in millionths, -1,000,000 to 1,000,000; none with fewer than 2 clusters.
    pub silhouette_ppm: Option<i32>,
    /// How long it took.
    pub micros: Micros,
    /// The clusters, by label.
    pub palette: Vec<Swatch, CLUSTERS_MAX>,
    /// Ids of clusters that the frame before did not have.
    pub births: Vec<u32, CLUSTERS_MAX>,
    /// Ids of clusters that the frame before had and this one has not.
    pub deaths: Vec<u32, CLUSTERS_MAX>,
}

/// What stands in front of each part of a census: a frame's unique colours with their counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusHead {
    /// The frame.
    pub frame: u64,
    /// This part, from 0.
    pub part: u16,
    /// Parts in all.
    pub parts: u16,
    /// Pixels in the frame.
    pub pixels: u32,
    /// Unique colours in the frame.
    pub colours: u32,
    /// Unique colours in this part.
    pub in_part: u32,
    /// Centroids by label, in 1/64 levels: a colour's label is its nearest centroid, the lowest label on a tie.
    pub centroids_q6: Vec<[u16; 3], CLUSTERS_MAX>,
    /// Ids of the clusters over frames, by label.
    pub ids: Vec<u32, CLUSTERS_MAX>,
}

/// What stands in front of each part of a clustered picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureHead {
    /// The frame.
    pub frame: u64,
    /// This part, from 0.
    pub part: u16,
    /// Parts in all.
    pub parts: u16,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Bytes of the packed label map over all parts.
    pub packed_bytes: u32,
    /// Colours by label.
    pub palette: Vec<[u8; 3], CLUSTERS_MAX>,
}

/// What stands in front of the original picture's JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalHead {
    /// The frame.
    pub frame: u64,
    /// Width in pixels of the JPEG.
    pub width: u16,
    /// Height in pixels of the JPEG.
    pub height: u16,
}

/// Why records were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LossReason {
    /// The spool was full and its oldest segment went.
    Full,
    /// The bytes on the disk were damaged.
    Corrupt,
}

impl LossReason {
    /// The word for it in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            LossReason::Full => "full",
            LossReason::Corrupt => "corrupt",
        }
    }
}

/// Records that the edge gave up: data, never silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The stream that lost them.
    pub stream: u64,
    /// The first that is gone.
    pub from: u64,
    /// One past the last that is gone.
    pub to: u64,
    /// Why.
    pub reason: LossReason,
}

/// Why a value cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The buffer is too short for the value.
    Full,
    /// The bytes are not such a value.
    Malformed,
    /// A version that this build does not know: upgrade it.
    Version(u8),
    /// The value is well-formed but contradicts itself (a part beyond its parts, colours out of order).
    Inconsistent,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            WireError::Full => f.write_str("the value is larger than its buffer"),
            WireError::Malformed => f.write_str("the bytes are not a value of this kind"),
            WireError::Version(v) => write!(f, "version {v} of this kind is not known here; upgrade this program"),
            WireError::Inconsistent => f.write_str("the value contradicts itself"),
        }
    }
}

impl core::error::Error for WireError {}

/// Whether a colour is none that is brighter than white.
fn is_colour(rgb_q6: &[u16; 3]) -> bool {
    rgb_q6.iter().all(|&level| level <= LEVEL_Q6_MAX)
}

/// A payload, or the head of one.
pub trait Payload: Serialize + DeserializeOwned {
    /// Its kind in the envelope.
    const KIND: Kind;
    /// The version that this build writes.
    const VERSION: u8;

    /// Whether the value makes sense in itself.
    fn consistent(&self) -> bool {
        true
    }
}

impl Payload for Report {
    const KIND: Kind = Kind::Report;
    const VERSION: u8 = 2;
    fn consistent(&self) -> bool {
        let pixels: u64 = self.palette.iter().map(|s| u64::from(s.pixels)).sum();
        pixels == u64::from(self.width) * u64::from(self.height)
            && self.palette.iter().all(|s| is_colour(&s.rgb_q6))
            && self.silhouette_ppm.is_none_or(|s| (-1_000_000..=1_000_000).contains(&s))
    }
}

impl Payload for CensusHead {
    const KIND: Kind = Kind::Census;
    const VERSION: u8 = 1;
    fn consistent(&self) -> bool {
        self.part < self.parts
            && self.parts <= PARTS_MAX
            && self.in_part <= self.colours
            && self.colours <= self.pixels
            && self.ids.len() == self.centroids_q6.len()
            && self.centroids_q6.iter().all(is_colour)
    }
}

impl Payload for PictureHead {
    const KIND: Kind = Kind::Picture;
    const VERSION: u8 = 1;
    fn consistent(&self) -> bool {
        self.part < self.parts && self.parts <= PARTS_MAX && self.width > 0 && self.height > 0
    }
}

impl Payload for OriginalHead {
    const KIND: Kind = Kind::Original;
    const VERSION: u8 = 1;
}

impl Payload for Loss {
    const KIND: Kind = Kind::Loss;
    const VERSION: u8 = 1;
    fn consistent(&self) -> bool {
        self.from < self.to
    }
}

/// Writes `value` to the front of `buf`. Gives the number of bytes.
///
/// # Errors
/// [`WireError::Full`].
pub fn encode<T: Payload>(value: &T, buf: &mut [u8]) -> Result<usize, WireError> {
    postcard::to_slice(value, buf).map(|b| b.len()).map_err(|_| WireError::Full)
}

/// Reads a value of `version` from the front of `bytes`. Gives it and what lies behind it.
///
/// # Errors
/// [`WireError::Version`], [`WireError::Malformed`], [`WireError::Inconsistent`].
pub fn decode_head<T: Payload>(version: u8, bytes: &[u8]) -> Result<(T, &[u8]), WireError> {
    if version != T::VERSION {
        return Err(WireError::Version(version));
    }
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|_| WireError::Malformed)?;
    if value.consistent() { Ok((value, rest)) } else { Err(WireError::Inconsistent) }
}

/// Reads a value of `version` from all of `bytes`.
///
/// # Errors
/// As [`decode_head`], and [`WireError::Malformed`] if bytes are left over.
pub fn decode<T: Payload>(version: u8, bytes: &[u8]) -> Result<T, WireError> {
    match decode_head(version, bytes)? {
        (value, []) => Ok(value),
        _ => Err(WireError::Malformed),
    }
}

/// Version of [`Window`] and [`Ack`], their first byte.
pub const CONTROL_VERSION: u8 = 1;

fn encode_control<T: Serialize>(value: &T, buf: &mut [u8]) -> Result<usize, WireError> {
    let (version, rest) = buf.split_first_mut().ok_or(WireError::Full)?;
    *version = CONTROL_VERSION;
    postcard::to_slice(value, rest).map(|b| b.len() + 1).map_err(|_| WireError::Full)
}

fn decode_control<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    match bytes.split_first() {
        Some((&CONTROL_VERSION, rest)) => match postcard::take_from_bytes::<T>(rest) {
            Ok((value, [])) => Ok(value),
            _ => Err(WireError::Malformed),
        },
        Some((&v, _)) => Err(WireError::Version(v)),
        None => Err(WireError::Malformed),
    }
}

/// Writes a window; [`crate::limits::CONTROL_BYTES_MAX`] bytes always suffice.
///
/// # Errors
/// [`WireError::Full`].
pub fn encode_window(window: &Window, buf: &mut [u8]) -> Result<usize, WireError> {
    encode_control(window, buf)
}

/// Reads a window.
///
/// # Errors
/// [`WireError`].
pub fn decode_window(bytes: &[u8]) -> Result<Window, WireError> {
    let w: Window = decode_control(bytes)?;
    let sound = w.streams.iter().all(|s| s.since <= s.next && s.floor <= s.next);
    if sound { Ok(w) } else { Err(WireError::Inconsistent) }
}

/// Writes an ack; [`crate::limits::CONTROL_BYTES_MAX`] bytes always suffice.
///
/// # Errors
/// [`WireError::Full`].
pub fn encode_ack(ack: &Ack, buf: &mut [u8]) -> Result<usize, WireError> {
    encode_control(ack, buf)
}

/// Reads an ack.
///
/// # Errors
/// [`WireError`].
pub fn decode_ack(bytes: &[u8]) -> Result<Ack, WireError> {
    let a: Ack = decode_control(bytes)?;
    let sound = a.streams.iter().all(|s| s.ranges.iter().all(|&(from, to)| from < to));
    if sound { Ok(a) } else { Err(WireError::Inconsistent) }
}
