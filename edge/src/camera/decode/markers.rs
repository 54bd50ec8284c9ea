//! Markers: reads a JPEG's headers without decoding it.
//!
//! The input is a JPEG. Results are the Exif data, scan parameters in place of those that webcams leave zero, and a check that every
//! coefficient of every component has a scan. Damaged headers are ignored here, because the decoder reports them.

use std::borrow::Cow;

/// Coefficients of a block.
const COEFFICIENTS: usize = 64;
/// Bits that a coefficient misses before its first scan.
const ALL_BITS: u8 = u8::MAX;

/// A header: its marker, its place, and its bytes behind the length.
struct Segment<'a> {
    marker: u8,
    at: usize,
    body: &'a [u8],
}

/// The headers of a picture, from scan to scan. Ends at the end marker, and where the headers are damaged.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let &[0xFF, marker, high, low] = self.bytes.get(self.at..self.at + 4)? else { return None };
        if matches!(marker, 0xD8 | 0xD9) {
            return None;
        }
        let (at, end) = (self.at, self.at + 2 + usize::from(u16::from_be_bytes([high, low])));
        let body = self.bytes.get(at + 4..end)?;
        self.at = end;
        if marker == SOS {
            // Entropy-coded data, to which stuffed bytes and restart markers belong.
            let is_end = |w: &[u8]| w[0] == 0xFF && !matches!(w[1], 0 | 0xD0..=0xD7 | 0xFF);
            self.at = self.bytes[end..].windows(2).position(is_end).map_or(self.bytes.len(), |n| end + n);
        }
        Some(Segment { marker, at, body })
    }
}

const SOS: u8 = 0xDA;

fn segments(bytes: &[u8]) -> Segments<'_> {
    Segments { bytes, at: 2 }
}

/// The headers in front of the first scan, and that scan's.
fn first_segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let end = bytes.len();
    let mut segments = segments(bytes);
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        // The first scan's data are not searched for their end.
        let is_scan = segments.bytes.get(segments.at..segments.at + 2) == Some(&[0xFF, SOS]);
        if is_scan {
            is_over = true;
            let at = segments.at;
            let length = segments.bytes.get(at + 2..at + 4)?;
            let stop = (at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]))).min(end);
            return Some(Segment { marker: SOS, at, body: segments.bytes.get(at + 4..stop)? });
        }
        segments.next()
    })
}

/// Whether a start of frame announces one scan from coefficient 0 to 63 for each component. Lossless ones do not.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xC2 | 0xC9 | 0xCA)
}

fn is_progressive(marker: u8) -> bool {
    matches!(marker, 0xC2 | 0xCA)
}

/// The Exif data of a picture, from the TIFF header on.
pub fn exif(bytes: &[u8]) -> Option<&[u8]> {
    first_segments(bytes).filter(|s| s.marker == 0xE1).find_map(|s| s.body.strip_prefix(b"Exif\0\0"))
}

/// Where another picture starts inside of a damaged one: a header that was cut has swallowed the start marker. Application
/// segments hold whole pictures as thumbnails, so of them only the end counts.
pub fn swallowed_start(bytes: &[u8]) -> Option<usize> {
    first_segments(bytes).find_map(|segment| {
        let end = segment.at + 4 + segment.body.len();
        let from = if matches!(segment.marker, 0xE0..=0xEF) { end.saturating_sub(2) } else { segment.at + 2 };
        let swallowed = bytes.get(from..(end + 2).min(bytes.len()))?;
        swallowed.windows(3).position(|w| w == [0xFF, 0xD8, 0xFF]).map(|at| from + at)
    })
}

/// The picture with the scan parameters that a baseline picture must have: from coefficient 0 to 63, all bits. Some webcams
/// leave them zero; there is no other choice, but the decoder's warning would hide a real one. Only the first scan is looked
/// at: pictures of several come from encoders, not from cameras.
pub fn with_sequential_scan(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut is_sequential = false;
    for segment in first_segments(bytes) {
        is_sequential |= matches!(segment.marker, 0xC0 | 0xC1);
        if segment.marker == SOS && is_sequential && segment.body.ends_with(&[0, 0, 0]) {
            let mut mended = bytes.to_vec();
            mended[segment.at + 4 + segment.body.len() - 2] = 63;
            return mended.into();
        }
    }
    bytes.into()
}

/// Refuses a picture of which scans are missing. The decoder would make up their content without an error.
pub fn check_scans(bytes: &[u8]) -> Result<(), String> {
    let Some(components) = first_segments(bytes).find(|s| is_frame(s.marker)).and_then(|s| s.body.get(5).copied())
    else {
        return Ok(());
    };
    // Most pictures of cameras: one scan of all components. Its data need not be searched.
    let is_whole = |s: &Segment<'_>| s.marker == SOS && s.body.first() == Some(&components);
    if !first_segments(bytes).any(|s| is_progressive(s.marker)) && first_segments(bytes).any(|s| is_whole(&s)) {
        return Ok(());
    }
    // The bits that each coefficient of each component still misses.
    let mut missing: Vec<(u8, [u8; COEFFICIENTS])> = Vec::new();
    let mut progressive = false;
    for segment in segments(bytes) {
        match (segment.marker, segment.body) {
            (marker, [_, _, _, _, _, _, parts @ ..]) if is_frame(marker) => {
                progressive = is_progressive(marker);
                missing = parts.chunks_exact(3).map(|part| (part[0], [ALL_BITS; COEFFICIENTS])).collect();
            }
            (SOS, [parts, rest @ ..]) => {
                let Some((parts, parameters)) = rest.split_at_checked(2 * usize::from(*parts)) else { continue };
                let (first, last, low) = match parameters {
                    [first, last, bits] if progressive => (usize::from(*first), usize::from(*last), bits & 15),
                    _ => (0, COEFFICIENTS - 1, 0),
                };
                let of_scan = |id: u8| parts.chunks_exact(2).any(|part| part[0] == id);
                for (_, bits) in missing.iter_mut().filter(|(id, _)| of_scan(*id)) {
                    if let Some(bits) = bits.get_mut(first..=last) {
                        bits.fill(low);
                    }
                }
            }
            _ => {}
        }
    }
    if missing.iter().all(|(_, bits)| bits.iter().all(|b| *b == 0)) {
        Ok(())
    } else {
        Err("scans are missing at its end, so its colours are not all there".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jpeg_encoder::{ColorType, Encoder};

    #[test]
    fn exif_is_found_between_other_segments() {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xE1, 0, 10];
        bytes.extend(b"Exif\0\0MM");
        assert_eq!(exif(&bytes), Some(&b"MM"[..]));
        assert_eq!(exif(&bytes[..bytes.len() - 1]), None);
        assert_eq!(exif(&[0xFF, 0xD8, 0xFF, 0xDA, 0, 2]), None);
    }

    #[test]
    fn a_progressive_picture_needs_every_scan() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 90);
        encoder.set_progressive(true);
        let pixels: Vec<u8> = (0..24 * 24 * 3).map(|i| (i * 31) as u8).collect();
        encoder.encode(&pixels, 24, 24, ColorType::Rgb).unwrap();
        assert_eq!(check_scans(&bytes), Ok(()));
        let starts: Vec<usize> = segments(&bytes).filter(|s| s.marker == SOS).map(|s| s.at).collect();
        assert!(starts.len() > 3);
        for start in starts {
            let cut = [&bytes[..start], &[0xFF, 0xD9]].concat();
            assert!(check_scans(&cut).unwrap_err().contains("scans are missing"), "cut at {start}");
        }
    }

    #[test]
    fn a_component_without_a_scan_is_missed() {
        let frame = [&[0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3][..], &[1, 17, 0, 2, 17, 1, 3, 17, 1]].concat();
        let scan = |ids: &[u8]| {
            let parts: Vec<u8> = ids.iter().flat_map(|&id| [id, 0]).collect();
            let length = 6 + parts.len() as u8;
            [&[0xFF, SOS, 0, length, ids.len() as u8][..], &parts, &[0, 63, 0], &[1, 0xFF, 0, 0xFF, 0xD1, 2]].concat()
        };
        assert_eq!(check_scans(&[&frame[..], &scan(&[1, 2, 3])].concat()), Ok(()));
        assert_eq!(check_scans(&[&frame[..], &scan(&[1]), &scan(&[2, 3]), &[0xFF, 0xD9]].concat()), Ok(()));
        assert!(check_scans(&[&frame[..], &scan(&[1]), &scan(&[3]), &[0xFF, 0xD9]].concat()).is_err());
        for cut in 0..frame.len() {
            let _ = check_scans(&frame[..cut]);
        }
    }
}
