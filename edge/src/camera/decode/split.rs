//! Split: a stream of JPEGs one after the other, cut into pictures by their markers.
//!
//! The input is any stream; results are pictures, one at a time in a buffer that is used again. If the next picture interrupts one,
//! because its end marker or more is missing, only the interrupted picture is lost. Nothing is decoded here.

use std::io::{self, Read};
use std::ops::Range;

/// Most bytes of one compressed picture.
pub const JPEG_BYTES_MAX: usize = 64 << 20;
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// The next part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A picture from its start to its end marker: [`Splitter::bytes`].
    Picture,
    /// A picture that the next one interrupts.
    Interrupted,
    /// The stream ends in the middle of a picture.
    Cut,
    /// There are no more pictures.
    End,
}

/// A stream being cut.
pub struct Splitter<R> {
    input: R,
    buffer: Vec<u8>,
    /// The picture found last, in `buffer`.
    picture: Range<usize>,
    /// Where the search for the next one begins.
    next: usize,
}

/// How a picture ends, and where the search goes on.
enum Ending {
    Whole(usize),
    Interrupted(usize),
    Cut,
}

impl<R: Read> Splitter<R> {
    /// Cuts `input` from here on.
    pub fn new(input: R) -> Splitter<R> {
        Splitter { input, buffer: Vec::new(), picture: 0..0, next: 0 }
    }

    /// The stream that is being cut.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// The picture found last; empty if none was found.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.picture.clone()]
    }

    /// Starts the search for the next picture inside of the last one, at its byte `at`.
    pub fn resume_at(&mut self, at: usize) {
        self.next = self.next.min(self.picture.start + at);
    }

    /// Finds the next picture. What lies between two pictures (padding, line ends) is passed over.
    ///
    /// # Errors
    /// The stream's own, and a picture of more than [`JPEG_BYTES_MAX`].
    pub fn advance(&mut self) -> io::Result<Found> {
        self.picture = 0..0;
        self.buffer.drain(..self.next);
        self.next = 0;
        loop {
            if let Some(start) = find_start(&self.buffer) {
                self.buffer.drain(..start);
                break;
            }
            // The last two bytes may begin one.
            let searched = self.buffer.len().saturating_sub(2);
            self.buffer.drain(..searched);
            if !self.fill()? {
                return Ok(Found::End);
            }
        }
        match self.ending()? {
            Ending::Whole(end) => {
                (self.picture, self.next) = (0..end, end);
                Ok(Found::Picture)
            }
            Ending::Interrupted(next) => {
                self.next = next;
                Ok(Found::Interrupted)
            }
            Ending::Cut => {
                self.next = self.buffer.len();
                Ok(Found::Cut)
            }
        }
    }

    /// Follows the markers of the picture at the buffer's beginning.
    fn ending(&mut self) -> io::Result<Ending> {
        let mut at = 2;
        loop {
            // A marker is FF, any number of FF, and its code.
            let mut is_marker = false;
            let code = loop {
                let Some(byte) = self.byte(at)? else { return Ok(Ending::Cut) };
                at += 1;
                match byte {
                    0xFF => is_marker = true,
                    0 => is_marker = false,
                    code if is_marker => break code,
                    _ => {}
                }
            };
            match code {
                0xD8 => return Ok(Ending::Interrupted(at - 2)),
                0xD9 => return Ok(Ending::Whole(at)),
                0x01 | 0xD0..=0xD7 => continue,
                _ => {}
            }
            let (Some(high), Some(low)) = (self.byte(at)?, self.byte(at + 1)?) else { return Ok(Ending::Cut) };
            let end = at + usize::from(u16::from_be_bytes([high, low])).max(2);
            let behind = self.byte(end)?;
            if behind.is_none() || (code != 0xDA && behind != Some(0xFF)) {
                // A segment that does not end before a marker was cut, and has swallowed what follows.
                self.byte(end + 1)?;
                let swallowed = &self.buffer[at..(end + 2).min(self.buffer.len())];
                if let Some(start) = find_start(swallowed) {
                    return Ok(Ending::Interrupted(at + start));
                }
                if behind.is_none() {
                    return Ok(Ending::Cut);
                }
            }
            at = end;
            if code == 0xDA {
                at = match self.skip_scan(at)? {
                    Some(marker) => marker,
                    None => return Ok(Ending::Cut),
                };
            }
        }
    }

    /// Passes over entropy-coded bytes, to which `FF 00` and restart markers belong. Gives the place of the next marker.
    fn skip_scan(&mut self, mut at: usize) -> io::Result<Option<usize>> {
        loop {
            let Some(plain) = self.buffer.get(at..).and_then(|b| b.iter().position(|&b| b == 0xFF)) else {
                at = at.max(self.buffer.len());
                if !self.fill()? {
                    return Ok(None);
                }
                continue;
            };
            at += plain;
            match self.byte(at + 1)? {
                None => return Ok(None),
                Some(0 | 0xD0..=0xD7) => at += 2,
                Some(0xFF) => at += 1,
                Some(_) => return Ok(Some(at)),
            }
        }
    }

    /// The byte at `at`, read if need be; none at the stream's end.
    fn byte(&mut self, at: usize) -> io::Result<Option<u8>> {
        while at >= self.buffer.len() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(Some(self.buffer[at]))
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let before = self.buffer.len();
        if before > JPEG_BYTES_MAX {
            return Err(io::Error::other("a picture of more than 64 MiB"));
        }
        self.buffer.resize(before + READ_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read.map(|n| n > 0)
    }
}

/// Where a picture starts: the start marker, and the first byte of another one behind it.
fn find_start(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|w| w == [0xFF, 0xD8, 0xFF])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives a byte at a time.
    struct Drop<'a>(&'a [u8]);

    impl Read for Drop<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let (Some((first, rest)), Some(to)) = (self.0.split_first(), buf.first_mut()) else { return Ok(0) };
            (*to, self.0) = (*first, rest);
            Ok(1)
        }
    }

    fn all(bytes: &[u8]) -> Vec<(Found, Vec<u8>)> {
        let run = |input: &mut dyn Read| {
            let mut splitter = Splitter::new(input);
            let mut seen = Vec::new();
            loop {
                let found = splitter.advance().unwrap();
                seen.push((found, splitter.bytes().to_vec()));
                if found == Found::End {
                    return seen;
                }
            }
        };
        let seen = run(&mut &bytes[..]);
        assert_eq!(run(&mut Drop(bytes)), seen, "byte by byte");
        seen
    }

    /// A picture's markers, with a start marker inside a segment as thumbnails have it, and in the scan what looks like one.
    const ONE: [u8; 28] = [
        0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 1, 0xFF, 0xFF, 0xDA, 0, 3, 9, 1, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4,
        5, 6, 0xFF, 0xD9,
    ];

    #[test]
    fn pictures_are_cut_by_their_markers() {
        let bytes = [b"junk\xFF\r\n", &ONE[..], b"\r\n", &ONE, &[0xFF]].concat();
        let one = (Found::Picture, ONE.to_vec());
        assert_eq!(all(&bytes), [one.clone(), one, (Found::End, vec![])]);
        assert_eq!(all(b""), [(Found::End, vec![])]);
        assert_eq!(all(b"no picture"), [(Found::End, vec![])]);
    }

    #[test]
    fn a_picture_cut_anywhere_costs_itself_alone() {
        // Segments as long as cameras have them, so that a cut one swallows the next picture's beginning.
        let long = [&[0xFF, 0xD8, 0xFF, 0xDB, 0, 67][..], &[7; 65], &ONE[2..]].concat();
        for cut in 3..long.len() {
            let seen = all(&[&long[..cut], &long, &long].concat());
            let whole = seen.iter().filter(|s| s.0 == Found::Picture).count();
            assert_eq!(whole, 2, "cut at {cut}: {seen:?}");
            // One that is cut just before its segment ends has swallowed no more than the next start marker.
            assert!(seen.iter().filter(|s| s.0 == Found::Picture).all(|s| s.1.ends_with(&long[2..])), "cut at {cut}");
            let seen = all(&[&long[..], &long[..cut]].concat());
            assert!(seen[1..].iter().all(|s| s.0 != Found::Picture) && seen.len() > 2, "cut at {cut} at the end");
        }
    }
}
