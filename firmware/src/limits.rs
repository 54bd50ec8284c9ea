//! Limits: every maximum of the project.
//!
//! Edge, bridge and core take their maxima from here, so that each is defined and explained once. Assertions at the end
//! of the file check the relations between them at compile time. Limits on frames keep the sums over a frame within
//! their integers.

/// Most clusters of a frame: labels are bytes, and 255 is reserved for "no label".
pub const CLUSTERS_MAX: usize = 255;
pub use crate::color::LEVEL_Q6_MAX;
/// Most coreset points that a user may ask for.
pub const POINTS_MAX: usize = 131_072;
/// Most pixels in a frame: photos of 12 and 16 megapixels fit (a 4K UHD frame has 8,294,400). Sums of so many levels still
/// fit 32 bits.
pub const PIXELS_MAX: usize = 1 << 24;
/// Most pixels in a row.
pub const WIDTH_PX_MAX: usize = 8_192;
/// Most DC-DP-means iterations for one frame; a frame that needs more reports `converged: false`.
pub const ITERATIONS_MAX: u32 = 1_000;
/// Most coreset points to which the silhouette estimate computes distances.
pub const SILHOUETTE_POINTS_MAX: usize = 1_024;

/// The highest valid sequence number. A thousand records a second reach it after 146 million years, so a higher one is
/// an error.
pub const SEQ_MAX: u64 = 1 << 62;
/// Bytes of a record's envelope. They never change, so that records of every version can be read.
pub const ENVELOPE_BYTES: usize = 40;
/// Most bytes of a record's payload; larger payloads are cut into parts.
pub const PAYLOAD_BYTES_MAX: usize = 32 * 1024;
/// Most bytes of a whole record.
pub const RECORD_BYTES_MAX: usize = ENVELOPE_BYTES + PAYLOAD_BYTES_MAX;
/// Most bytes of a picture that is sent without custody (QoS 0, only the latest).
pub const PICTURE_BYTES_MAX: usize = 768 * 1024;
/// Most bytes of an MQTT packet, on the edge and on the bridge.
pub const PACKET_BYTES_MAX: usize = 1024 * 1024;
/// Most masks of a picture.
pub const MASKS_MAX: usize = 16;
/// Most corners of a region's or a mask's polygon: enough for an outline by hand, and a row's spans stay on the stack.
pub const POLYGON_VERTICES_MAX: usize = 32;
/// Most regions of a picture for which a report has shares.
pub const REGIONS_MAX: usize = 16;
/// Most patches of a reference: those of the colour chart that is most in use.
pub const PATCHES_MAX: usize = 24;
/// Most named colours for which a region has shares.
pub const NAMED_MAX: usize = 16;
/// Most events that an edge watches for: their states fit 16 bits.
pub const EVENTS_MAX: usize = 16;
/// Most bytes of an event's name: as long as the name of a region.
pub const EVENT_NAME_BYTES_MAX: usize = 24;
/// Most bytes of an encoded event record: three integers of at most 10 bytes, a name and its length, and two tags.
pub const EVENT_BYTES_MAX: usize = 64;
/// Most bytes of an encoded [`crate::report::Report`]: with [`CLUSTERS_MAX`] clusters, as many births and deaths, and
/// [`REGIONS_MAX`] regions of [`NAMED_MAX`] colours it has 10,082.
pub const REPORT_BYTES_MAX: usize = 10 * 1024;
/// Most parts that a census or a picture may be cut into.
pub const PARTS_MAX: u16 = 2_048;

/// Most streams of one device that a sender or a receiver tracks.
pub const STREAMS_MAX: usize = 64;
/// Most acknowledged ranges kept for one stream. Beyond that the highest is forgotten; its records are sent again.
pub const RANGES_MAX: usize = 64;
/// Most ranges of one stream in an ack.
pub const ACK_RANGES_MAX: usize = 16;
/// Most records that are sent and not yet acknowledged by the journal.
pub const WINDOW_RECORDS_MAX: usize = 1_024;
/// Most bytes of a journal's id.
pub const JOURNAL_ID_BYTES_MAX: usize = 96;
/// Most bytes of an encoded window or ack.
pub const CONTROL_BYTES_MAX: usize = 32 * 1024;

const _: () = assert!(CLUSTERS_MAX < 256, "labels are bytes");
const _: () = assert!(REPORT_BYTES_MAX <= PAYLOAD_BYTES_MAX);
const _: () = assert!(REGIONS_MAX <= PATCHES_MAX, "a map of patches has room for all regions");
const _: () = assert!(RECORD_BYTES_MAX < PACKET_BYTES_MAX && PICTURE_BYTES_MAX < PACKET_BYTES_MAX);
const _: () = assert!(STREAMS_MAX * (24 + ACK_RANGES_MAX * 20) < CONTROL_BYTES_MAX, "a full ack fits");
const _: () = assert!(ACK_RANGES_MAX <= RANGES_MAX);
// Sums over a frame fit their integers: see `color::Features` and `label.rs`.
const _: () = assert!((PIXELS_MAX as u64) * 255 <= u32::MAX as u64);
const _: () = assert!((PIXELS_MAX as u128) * 3 * (255 * 64) * (255 * 64) <= u64::MAX as u128);
