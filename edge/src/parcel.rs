//! Parcel: what See hands to Send of one frame.
//!
//! A parcel takes a report and copies of what is to be sent with it, and gives the payloads of records and pictures. A fixed
//! number of parcels goes round between See and Send for ever. A record's payload has at most `PAYLOAD_BYTES_MAX` bytes, or
//! what the broker takes: a picture or census is cut into parts.

use crate::event::{Changes, Events, States};
use crate::slot::empty_report;
use firmware::frame::Frame;
use firmware::limits::{PARTS_MAX, PAYLOAD_BYTES_MAX};
use firmware::wire::census::Census;
use firmware::wire::label_map;
use firmware::wire::{self, CensusHead, HEAD_BYTES_MAX, OriginalHead, PictureHead, Report, WireError};

/// Frames between See and Send at most. When all are under way, See waits: nothing is dropped here.
pub const PARCELS_MAX: usize = 8;
/// The original is sent at most this wide.
pub const ORIGINAL_WIDTH_PX_MAX: usize = 320;
const JPEG_QUALITY: u8 = 70;
/// How much a picture's head may grow when part and parts are filled in: 2 bytes each.
const HEAD_BYTES_GROWTH: usize = 4;

/// Payloads one after the other.
#[derive(Debug, Default)]
pub struct Parts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Parts {
    /// Takes all out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds one.
    pub fn push(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.ends.push(self.bytes.len());
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes as records, envelopes included.
    pub fn record_bytes(&self) -> u64 {
        (self.bytes.len() + self.ends.len() * firmware::limits::ENVELOPE_BYTES) as u64
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, &to)| self.bytes.get(from..to).unwrap_or(&[]))
    }
}

/// Buffers of parcels, kept from those that come back for those that need them: few parcels carry a picture or a census, and
/// without this each of them would come to have room for one.
#[derive(Debug, Default)]
pub struct Rooms {
    labels: heapless::Vec<Vec<u8>, PARCELS_MAX>,
    originals: heapless::Vec<Vec<u8>, PARCELS_MAX>,
    censuses: heapless::Vec<Parts, PARCELS_MAX>,
}

impl Rooms {
    /// Takes what room a parcel that has come back has.
    pub fn take_from(&mut self, parcel: &mut Parcel) {
        // One that finds no place is given up: there are no more than parcels.
        if parcel.labels.capacity() > 0 {
            drop(self.labels.push(std::mem::take(&mut parcel.labels)));
        }
        if parcel.original.capacity() > 0 {
            drop(self.originals.push(std::mem::take(&mut parcel.original)));
        }
        if parcel.census.bytes.capacity() > 0 {
            drop(self.censuses.push(std::mem::take(&mut parcel.census)));
        }
    }

    /// Room for a label a pixel.
    pub fn labels(&mut self) -> Vec<u8> {
        Rooms::emptied(self.labels.pop())
    }

    /// Room for an original.
    pub fn original(&mut self) -> Vec<u8> {
        Rooms::emptied(self.originals.pop())
    }

    /// Room for a census.
    pub fn census(&mut self) -> Parts {
        let mut parts = self.censuses.pop().unwrap_or_default();
        parts.clear();
        parts
    }

    fn emptied(room: Option<Vec<u8>>) -> Vec<u8> {
        let mut room = room.unwrap_or_default();
        room.clear();
        room
    }
}

/// How a frame's clustered picture is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PictureWay {
    /// Not at all.
    #[default]
    None,
    /// If it can leave at once, and a newer one takes its place.
    Latest,
    /// As records.
    Records,
}

/// What See hands to Send.
#[derive(Debug)]
pub struct Parcel {
    /// The frame's report; `dropped` is completed by Send, who knows what it refused.
    pub report: Report,
    /// The report is to be sent (false: only the rest).
    pub with_report: bool,
    /// Microseconds since the Unix epoch.
    pub captured_at_us: u64,
    /// The clock was synchronised.
    pub clock_synced: bool,
    /// What began, ended or turned with the frame.
    pub events: Changes,
    /// How each event is.
    pub states: States,
    /// A census's payloads, if one is due.
    pub census: Parts,
    /// How the picture leaves.
    pub way: PictureWay,
    /// A label a pixel, if the picture is to leave.
    pub labels: Vec<u8>,
    /// The original, made small, RGB; empty if it stays here.
    pub original: Vec<u8>,
    /// Its width.
    pub original_width: usize,
}

impl Default for Parcel {
    fn default() -> Parcel {
        Parcel {
            report: empty_report(),
            with_report: true,
            captured_at_us: 0,
            clock_synced: false,
            events: Changes::new(),
            states: States::new(),
            census: Parts::default(),
            way: PictureWay::None,
            labels: Vec::new(),
            original: Vec::new(),
            original_width: 0,
        }
    }
}

impl Parcel {
    /// Begins anew with a frame's report.
    pub fn begin(&mut self, frame: &Frame<'_>, report: &Report) {
        self.report.clone_from(report);
        self.with_report = true;
        self.captured_at_us = frame.stamp.captured_at_us;
        self.clock_synced = frame.stamp.clock_synced;
        self.events.clear();
        self.census.clear();
        self.way = PictureWay::None;
        self.labels.clear();
        self.original.clear();
    }

    /// Adds what happened to events in the frame.
    pub fn add_events(&mut self, events: &Events) {
        self.events.clone_from(events.changes());
        self.states = events.states();
    }

    /// Adds a census of the frame in payloads of at most `payload_max` bytes. `scratch` and `row` grow to what the frame
    /// needs.
    ///
    /// # Errors
    /// [`WireError::Full`] if it would be more than `PARTS_MAX` parts, or if no part has room for a colour.
    pub fn add_census(
        &mut self,
        frame: &Frame<'_>,
        scratch: &mut Vec<u32>,
        row: &mut Vec<u8>,
        payload_max: usize,
    ) -> Result<(), WireError> {
        scratch.resize(frame.pixels(), 0);
        row.resize((frame.width() * 3).max(PAYLOAD_BYTES_MAX), 0);
        let palette = &self.report.palette;
        let head = CensusHead {
            frame: self.report.frame,
            part: 0,
            parts: 1,
            pixels: 0,
            colours: 0,
            in_part: 0,
            centroids_q6: palette.iter().map(|s| s.rgb_q6).collect(),
            ids: palette.iter().map(|s| s.id).collect(),
            space: self.report.colorimetry.space,
        };
        let mut census = Census::take_in_parts(frame, head, scratch, row, payload_max)?;
        while let Some(n) = census.next_part(row)? {
            self.census.push(row.get(..n).unwrap_or(&[]));
        }
        Ok(())
    }

    /// Adds the original, thinned to at most [`ORIGINAL_WIDTH_PX_MAX`] columns and 65,535 rows.
    pub fn add_original(&mut self, frame: &Frame<'_>, row: &mut Vec<u8>) {
        row.resize((frame.width() * 3).max(row.len()), 0);
        // A JPEG has sides of at most 65,535 pixels.
        let step = frame.width().div_ceil(ORIGINAL_WIDTH_PX_MAX).max(frame.height().div_ceil(u16::MAX.into()));
        self.original_width = frame.width().div_ceil(step);
        for y in (0..frame.height()).step_by(step) {
            for px in frame.row(y, row).as_chunks::<3>().0.iter().step_by(step) {
                self.original.extend_from_slice(px);
            }
        }
    }

    /// The picture as payloads of at most `payload_max` bytes, in `parts`. `packed` is room to work in.
    ///
    /// # Errors
    /// [`WireError::Full`] if it would be more than [`PARTS_MAX`] parts, [`WireError::TooTall`] if a side does not fit the
    /// picture's head.
    pub fn picture(&self, payload_max: usize, packed: &mut Vec<u8>, parts: &mut Parts) -> Result<(), WireError> {
        parts.clear();
        packed.resize(self.labels.len() * 2 + 64, 0);
        let (Ok(w), Ok(h)) = (u16::try_from(self.report.width), u16::try_from(self.report.height)) else {
            return Err(WireError::TooTall);
        };
        let width = usize::from(w);
        let n = label_map::pack(width, &self.labels, packed).map_err(|_| WireError::Full)?;
        let packed = packed.get(..n).unwrap_or(&[]);
        let mut head = PictureHead {
            frame: self.report.frame,
            part: 0,
            parts: 1,
            width: w,
            height: h,
            packed_bytes: n as u32,
            palette: self.report.palette.iter().map(wire::Swatch::rgb8).collect(),
        };
        let mut buf = [0; HEAD_BYTES_MAX];
        let head_max = if payload_max >= PAYLOAD_BYTES_MAX {
            HEAD_BYTES_MAX
        } else {
            wire::encode(&head, &mut buf)? + HEAD_BYTES_GROWTH
        };
        let body_max = payload_max.checked_sub(head_max).filter(|&b| b > 0).ok_or(WireError::Full)?;
        let count = n.div_ceil(body_max).max(1);
        head.parts = u16::try_from(count).ok().filter(|&c| c <= PARTS_MAX).ok_or(WireError::Full)?;
        for part in 0..count {
            head.part = part as u16;
            let h = wire::encode(&head, &mut buf)?;
            parts.bytes.extend_from_slice(buf.get(..h).unwrap_or(&[]));
            let body = packed.get(part * body_max..((part + 1) * body_max).min(n)).unwrap_or(&[]);
            parts.push(body);
        }
        Ok(())
    }

    /// The original as a payload, in `out`; false if there is none.
    pub fn original_jpeg(&self, out: &mut Vec<u8>) -> bool {
        let width = self.original_width;
        if self.original.is_empty() || width == 0 {
            return false;
        }
        let height = self.original.len() / 3 / width;
        let (Ok(w), Ok(h)) = (u16::try_from(width), u16::try_from(height)) else { return false };
        out.clear();
        out.resize(64, 0);
        let head = OriginalHead { frame: self.report.frame, width: w, height: h };
        let Ok(n) = wire::encode(&head, out) else { return false };
        out.truncate(n);
        let encoder = jpeg_encoder::Encoder::new(&mut *out, JPEG_QUALITY);
        encoder.encode(&self.original, w, h, jpeg_encoder::ColorType::Rgb).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::wire::Swatch;

    fn parcel(width: u16, height: u16, labels: Vec<u8>) -> Parcel {
        let mut p = Parcel { labels, ..Parcel::default() };
        (p.report.width, p.report.height, p.report.frame) = (width.into(), height.into(), 7);
        for _ in 0..=p.labels.iter().copied().max().unwrap_or(0) {
            p.report.palette.push(Swatch { id: 1, rgb_q6: [64, 128, 640], pixels: 1 }).unwrap();
        }
        p
    }

    fn unpack(parts: &Parts) -> (PictureHead, Vec<u8>) {
        let (mut packed, mut last) = (Vec::new(), None);
        for (i, payload) in parts.iter().enumerate() {
            let (head, body) = wire::decode_head::<PictureHead>(1, payload).unwrap();
            assert_eq!(usize::from(head.part), i);
            packed.extend_from_slice(body);
            last = Some(head);
        }
        let head = last.unwrap();
        assert_eq!((packed.len(), parts.ends.len()), (head.packed_bytes as usize, usize::from(head.parts)));
        let mut labels = vec![0; usize::from(head.width) * usize::from(head.height)];
        label_map::unpack(usize::from(head.width), &packed, &mut labels).unwrap();
        (head, labels)
    }

    #[test]
    fn a_room_goes_from_the_parcel_that_has_it_to_the_one_that_needs_it() {
        let (mut rooms, mut first) = (Rooms::default(), Parcel::default());
        assert_eq!((rooms.labels().capacity(), rooms.original().capacity()), (0, 0));
        first.labels.extend([1; 100]);
        first.original.extend([2; 30]);
        first.census.push(&[3; 50]);
        rooms.take_from(&mut first);
        assert_eq!((first.labels.capacity(), first.original.capacity(), first.census.is_empty()), (0, 0, true));
        let (labels, census) = (rooms.labels(), rooms.census());
        assert!(labels.is_empty() && labels.capacity() >= 100);
        assert!(census.is_empty() && census.bytes.capacity() >= 50);
        assert_eq!(rooms.labels().capacity(), 0, "there was one");
    }

    #[test]
    fn a_picture_comes_back_from_its_parts() {
        let noise: Vec<u8> = (0..90_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 % 200).collect();
        for (labels, width, many) in [(vec![3; 6], 3, false), (noise, 300, true)] {
            let p = parcel(width, (labels.len() / usize::from(width)) as u16, labels.clone());
            let (mut packed, mut parts) = (Vec::new(), Parts::default());
            p.picture(PAYLOAD_BYTES_MAX, &mut packed, &mut parts).unwrap();
            assert!(parts.iter().all(|b| b.len() <= PAYLOAD_BYTES_MAX));
            assert_eq!(parts.ends.len() > 1, many);
            let (head, back) = unpack(&parts);
            assert!(back == labels && head.palette[0] == [1, 2, 10]);
            p.picture(1900, &mut packed, &mut parts).unwrap();
            assert!(parts.iter().all(|b| b.len() <= 1900), "for a broker that takes only small packets");
            assert!(unpack(&parts).1 == labels);
        }
    }

    #[test]
    fn a_census_comes_back_from_parts_of_any_size_or_is_refused() {
        let rgb: Vec<u8> = (0..60_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let frame = Frame::rgb(200, 100, &rgb).unwrap();
        let (mut p, mut scratch, mut row) = (parcel(200, 100, vec![0; 20_000]), Vec::new(), Vec::new());
        for max in [PAYLOAD_BYTES_MAX, 16_000, 1900, 400] {
            p.census.clear();
            p.add_census(&frame, &mut scratch, &mut row, max).unwrap();
            let mut pixels = 0;
            for (i, payload) in p.census.iter().enumerate() {
                assert!(payload.len() <= max, "{max}: {}", payload.len());
                let (head, colours) = wire::census::read_part(1, payload).unwrap();
                assert_eq!((usize::from(head.part), usize::from(head.parts)), (i, p.census.iter().count()));
                pixels += colours.map(|c| c.unwrap().1).sum::<u32>();
            }
            assert_eq!(pixels, 20_000);
        }
        p.census.clear();
        assert_eq!(p.add_census(&frame, &mut scratch, &mut row, 20), Err(WireError::Full));
    }

    #[test]
    fn a_frame_of_65536_rows_has_no_picture_but_an_original_of_half_as_many() {
        let mut p = Parcel { labels: vec![0; 65_536], ..Parcel::default() };
        (p.report.width, p.report.height) = (1, 65_536);
        let made = p.picture(PAYLOAD_BYTES_MAX, &mut Vec::new(), &mut Parts::default());
        assert_eq!(made, Err(WireError::TooTall));
        let rgb = vec![200; 65_536 * 3];
        p.add_original(&Frame::rgb(1, 65_536, &rgb).unwrap(), &mut Vec::new());
        let mut out = Vec::new();
        assert!(p.original_jpeg(&mut out));
        let (head, _) = wire::decode_head::<OriginalHead>(1, &out).unwrap();
        assert_eq!((head.width, head.height), (1, 32_768));
    }

    #[test]
    fn an_original_is_made_small_and_is_a_jpeg() {
        let rgb = vec![200; 1000 * 10 * 3];
        let frame = Frame::rgb(1000, 10, &rgb).unwrap();
        let (mut p, mut out) = (Parcel::default(), Vec::new());
        assert!(!p.original_jpeg(&mut out));
        p.add_original(&frame, &mut Vec::new());
        assert!(p.original_jpeg(&mut out));
        let (head, jpeg) = wire::decode_head::<OriginalHead>(1, &out).unwrap();
        assert_eq!((head.width, head.height, &jpeg[..2]), (250, 3, &[0xFF, 0xD8][..]));
    }
}
