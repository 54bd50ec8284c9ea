//! The census: a frame's unique colours with their counts, which is all that an exact silhouette needs.
//!
//! [`Census`] sorts a frame's colours in a buffer that the caller lends (one `u32` a pixel) and writes the payloads of its
//! parts. [`read_part`] reads the colours of a part back; a part that contradicts itself gives an error. Nothing allocates.

use super::{HEAD_BYTES_MAX, Kind, Payload, WireError, decode_head, encode, is_colour, put, take};
use crate::color::Space;
use crate::frame::Frame;
use crate::limits::{CLUSTERS_MAX, PARTS_MAX, PAYLOAD_BYTES_MAX};
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Bytes of colours in a part: what a payload has room for behind the largest head.
const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - HEAD_BYTES_MAX;
/// How much a head may grow when part, parts and the colours in the part are filled in: 2, 2 and 4 bytes.
const HEAD_BYTES_GROWTH: usize = 8;
/// Most bytes of one colour and its count: a delta of 24 bits and a count of 25.
const ENTRY_BYTES_MAX: usize = 8;

/// The version of heads that have a space: a reader of version 1 would take the nearest in RGB.
const VERSION_WITH_SPACE: u8 = 2;

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
    /// The space in which the nearest is meant. Version 1 has none and means RGB.
    #[serde(skip)]
    pub space: Space,
}

impl Payload for CensusHead {
    const KIND: Kind = Kind::Census;
    const VERSION: u8 = 1;

    fn version(&self) -> u8 {
        CensusHead::version_in(self.space)
    }

    fn read(version: u8, bytes: &[u8]) -> Result<(CensusHead, &[u8]), WireError> {
        let (mut head, mut rest) = match version {
            Self::VERSION | VERSION_WITH_SPACE => take::<CensusHead>(bytes)?,
            _ => return Err(WireError::Version(version)),
        };
        if version == VERSION_WITH_SPACE {
            (head.space, rest) = take(rest)?;
        }
        Ok((head, rest))
    }

    fn write(&self, buf: &mut [u8]) -> Result<usize, WireError> {
        let n = put(self, buf)?;
        if self.version() == Self::VERSION {
            return Ok(n);
        }
        Ok(n + put(&self.space, buf.get_mut(n..).unwrap_or(&mut []))?)
    }

    fn consistent(&self) -> bool {
        self.part < self.parts
            && self.parts <= PARTS_MAX
            && self.in_part <= self.colours
            && self.colours <= self.pixels
            && self.ids.len() == self.centroids_q6.len()
            && self.centroids_q6.iter().all(is_colour)
    }
}

impl CensusHead {
    /// The version of a census of a frame that was clustered in `space`.
    pub fn version_in(space: Space) -> u8 {
        if space == Space::Rgb { Self::VERSION } else { VERSION_WITH_SPACE }
    }
}

/// A census on its way out, part by part.
pub struct Census<'a> {
    sorted: &'a [u32],
    head: CensusHead,
    at: usize,
    body_bytes_max: usize,
}

impl<'a> Census<'a> {
    /// Counts the colours of `frame`: `scratch` holds one `u32` a pixel, `row` three bytes a pixel of a row.
    /// `head` brings frame number, centroids and ids; the rest of it is filled in here.
    ///
    /// # Errors
    /// [`WireError::Full`] if a buffer is too short, or if it would be more than [`PARTS_MAX`] parts.
    pub fn take(
        frame: &Frame<'_>,
        head: CensusHead,
        scratch: &'a mut [u32],
        row: &mut [u8],
    ) -> Result<Self, WireError> {
        Census::take_in_parts(frame, head, scratch, row, PAYLOAD_BYTES_MAX)
    }

    /// The same in parts of at most `payload_max` bytes, for a broker that takes only small packets. `row` has to hold a head
    /// then, too.
    ///
    /// # Errors
    /// [`WireError::Full`] if a buffer is too small, a head leaves no room for colours, or there are too many parts.
    pub fn take_in_parts(
        frame: &Frame<'_>,
        mut head: CensusHead,
        scratch: &'a mut [u32],
        row: &mut [u8],
        payload_max: usize,
    ) -> Result<Self, WireError> {
        let colours = scratch.get_mut(..frame.visible_px()).ok_or(WireError::Full)?;
        let mut out = colours.iter_mut();
        for y in 0..frame.height() {
            let rgb = frame.counted_row(y, row).as_chunks::<3>().0;
            if rgb.len() != frame.width() {
                return Err(WireError::Full);
            }
            let visible = frame.visible_spans(y).iter().flat_map(|span| rgb.get(span.columns()).unwrap_or(&[]));
            for (px, slot) in visible.zip(out.by_ref()) {
                *slot = u32::from(px[0]) << 16 | u32::from(px[1]) << 8 | u32::from(px[2]);
            }
        }
        colours.sort_unstable();
        head.pixels = colours.len() as u32;
        head.colours = Runs { sorted: colours }.count() as u32;
        head.part = 0;
        let body_bytes_max = if payload_max >= PAYLOAD_BYTES_MAX {
            BODY_BYTES_MAX
        } else {
            (head.parts, head.in_part) = (1, 0);
            let head_bytes = encode(&head, row)? + HEAD_BYTES_GROWTH;
            payload_max.checked_sub(head_bytes).filter(|&b| b >= ENTRY_BYTES_MAX).ok_or(WireError::Full)?
        };
        let mut census = Census { sorted: colours, head, at: 0, body_bytes_max };
        let mut parts = 0usize;
        while census.at < census.sorted.len() {
            census.body(&mut [0; 0]);
            parts += 1;
        }
        census.at = 0;
        census.head.parts = u16::try_from(parts).ok().filter(|&p| p <= PARTS_MAX).ok_or(WireError::Full)?;
        Ok(census)
    }

    /// Parts in all.
    pub fn parts(&self) -> u16 {
        self.head.parts
    }

    /// Writes the next part's payload into `buf` ([`PAYLOAD_BYTES_MAX`] bytes always suffice). Gives its length, or none
    /// after the last part.
    ///
    /// # Errors
    /// [`WireError::Full`].
    pub fn next_part(&mut self, buf: &mut [u8]) -> Result<Option<usize>, WireError> {
        if self.at >= self.sorted.len() {
            return Ok(None);
        }
        // The head has the number of colours in front of them: count first, then write.
        let start = self.at;
        (_, self.head.in_part) = self.body(&mut []);
        let head_bytes = encode(&self.head, buf)?;
        self.at = start;
        let body = buf.get_mut(head_bytes..).ok_or(WireError::Full)?;
        let room = body.len();
        let (bytes, _) = self.body(body);
        if bytes > room {
            return Err(WireError::Full);
        }
        self.head.part += 1;
        Ok(Some(head_bytes + bytes))
    }

    /// Goes over one part's colours from where the census stands, writing as far as `out` reaches.
    fn body(&mut self, out: &mut [u8]) -> (usize, u32) {
        let (mut bytes, mut colours, mut last) = (0, 0, 0);
        let mut rest = Runs { sorted: self.sorted.get(self.at..).unwrap_or(&[]) };
        while bytes + ENTRY_BYTES_MAX <= self.body_bytes_max {
            let Some((colour, count)) = rest.next() else { break };
            for number in [colour - last, count] {
                bytes += put_number(number, out.get_mut(bytes..).unwrap_or(&mut []));
            }
            last = colour;
            colours += 1;
            self.at += count as usize;
        }
        (bytes, colours)
    }
}

/// Reads a part: its head and its colours (`0xRRGGBB`, ascending) with their counts.
///
/// # Errors
/// [`WireError`]; the iterator gives [`WireError::Inconsistent`] once and then ends if a colour is out of order.
pub fn read_part(version: u8, payload: &[u8]) -> Result<(CensusHead, Colours<'_>), WireError> {
    let (head, body) = decode_head::<CensusHead>(version, payload)?;
    let left = head.in_part;
    Ok((head, Colours { left, last: None, body }))
}

/// The colours of a part: `0xRRGGBB` ascending, each with its count.
pub struct Colours<'a> {
    left: u32,
    last: Option<u32>,
    body: &'a [u8],
}

impl Colours<'_> {
    fn take(&mut self) -> Option<(u32, u32)> {
        let (delta, count) = take_number(&mut self.body).zip(take_number(&mut self.body))?;
        let colour = self.last.unwrap_or(0).checked_add(delta).filter(|&c| c <= 0xFF_FFFF)?;
        (count > 0 && (delta > 0 || self.last.is_none())).then_some((colour, count))
    }
}

impl Iterator for Colours<'_> {
    type Item = Result<(u32, u32), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            // Bytes after the last colour are an error, reported once.
            return (!core::mem::take(&mut self.body).is_empty()).then_some(Err(WireError::Inconsistent));
        }
        self.left -= 1;
        let entry = self.take();
        match entry {
            Some((colour, _)) => self.last = Some(colour),
            None => (self.left, self.body) = (0, &[]),
        }
        Some(entry.ok_or(WireError::Inconsistent))
    }
}

/// Runs of equal numbers in a sorted slice.
struct Runs<'a> {
    sorted: &'a [u32],
}

impl Iterator for Runs<'_> {
    type Item = (u32, u32);
    fn next(&mut self) -> Option<(u32, u32)> {
        let &first = self.sorted.first()?;
        let n = self.sorted.iter().take_while(|&&c| c == first).count();
        self.sorted = self.sorted.get(n..).unwrap_or(&[]);
        Some((first, n as u32))
    }
}

/// Unsigned LEB128. Gives its length even where `out` is too short to hold it.
fn put_number(mut number: u32, out: &mut [u8]) -> usize {
    let mut n = 0;
    loop {
        let more = number > 0x7F;
        if let Some(b) = out.get_mut(n) {
            *b = (number & 0x7F) as u8 | u8::from(more) << 7;
        }
        n += 1;
        number >>= 7;
        if !more {
            return n;
        }
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u32;
    for shift in (0..28).step_by(7) {
        let (&b, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(b & 0x7F) << shift;
        if b & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec;
    use std::vec::Vec;

    fn round(width: usize, rgb: &[u8]) -> (u16, BTreeMap<u32, u32>) {
        let frame = Frame::rgb(width, rgb.len() / 3 / width, rgb).unwrap();
        let head = CensusHead {
            frame: 3,
            part: 9,
            parts: 9,
            pixels: 0,
            colours: 0,
            in_part: 0,
            centroids_q6: heapless::Vec::from_slice(&[[1, 2, 3]; 255]).unwrap(),
            ids: heapless::Vec::from_slice(&[u32::MAX; 255]).unwrap(),
            space: Default::default(),
        };
        let (mut scratch, mut buf) = (vec![0; frame.pixels()], vec![0; PAYLOAD_BYTES_MAX]);
        let mut census = Census::take(&frame, head, &mut scratch, &mut []).unwrap();
        let (parts, mut all, mut seen) = (census.parts(), BTreeMap::new(), 0);
        while let Some(n) = census.next_part(&mut buf).unwrap() {
            let (head, colours) = read_part(1, &buf[..n]).unwrap();
            assert_eq!((head.part, head.parts, head.pixels as usize), (seen, parts, frame.pixels()));
            let before = all.len();
            for c in colours {
                let (colour, count) = c.unwrap();
                assert!(all.insert(colour, count).is_none());
            }
            assert_eq!(all.len() - before, head.in_part as usize);
            seen += 1;
        }
        assert_eq!(seen, parts);
        (parts, all)
    }

    proptest! {
        #[test]
        fn the_colours_and_counts_come_back(rgb in prop::collection::vec(0u8..4, 3..90)) {
            let whole = &rgb[..rgb.len() / 3 * 3];
            let mut want = BTreeMap::new();
            for px in whole.chunks(3) {
                *want.entry(u32::from(px[0]) << 16 | u32::from(px[1]) << 8 | u32::from(px[2])).or_insert(0) += 1;
            }
            prop_assert_eq!(round(1, whole).1, want);
        }

        #[test]
        fn any_bytes_give_colours_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok((_, colours)) = read_part(1, &bytes) {
                prop_assert!(colours.take(100).count() < 100);
            }
        }
    }

    #[test]
    fn many_colours_are_cut_into_parts_that_each_stand_alone() {
        let rgb: Vec<u8> = (0..60_000u32).flat_map(|i| [(i >> 8) as u8, (i * 7) as u8, (i & 255) as u8]).collect();
        let (parts, all) = round(300, &rgb);
        assert!(parts >= 3, "{parts}");
        assert_eq!(all.values().sum::<u32>(), 60_000);
    }
}
