//! Metadata: when each picture was captured, and how many were lost before it, from what `rpicam-vid` writes beside them.
//!
//! The input is the text of `--metadata-format txt`: lines `Name=value`, and an empty line behind the last one of a picture.
//! Records come in the order of the pictures. The result is one [`Record`] for each; their number is bounded, and so is the length
//! of a line.

use std::collections::VecDeque;

/// Most records that wait for their picture; a picture is at most a few records late. The oldest is dropped.
const RECORDS_MAX: usize = 64;
/// Longer lines are cut: the values that are read are short, some that are not have a number for each part of the picture.
const LINE_BYTES_MAX: usize = 256;
/// A longer gap between two pictures is a restart, not a loss.
const GAP_FRAMES_MAX: f64 = 10_000.0;

/// The metadata of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// When its first row was exposed: nanoseconds since the machine was started, suspensions included.
    pub sensor_ns: Option<u64>,
    /// How long a picture takes at present, in microseconds.
    pub duration_us: Option<u64>,
}

impl Record {
    /// Pictures that were lost between `last` and this one.
    pub fn lost_since(&self, last: &Record) -> u64 {
        let (Some(now), Some(before), Some(us)) = (self.sensor_ns, last.sensor_ns, self.duration_us) else { return 0 };
        let frames = now.saturating_sub(before) as f64 / (us.max(1) * 1000) as f64;
        if frames < GAP_FRAMES_MAX { (frames.round() as u64).saturating_sub(1) } else { 0 }
    }
}

/// Parses the text in pieces of any size.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    record: Record,
    /// The present record has a line.
    begun: bool,
    done: VecDeque<Record>,
    /// Records that were dropped or taken so far.
    gone: u64,
}

impl Reader {
    /// A reader with memory for all that it may hold.
    pub fn new() -> Reader {
        Reader {
            line: Vec::with_capacity(LINE_BYTES_MAX),
            done: VecDeque::with_capacity(RECORDS_MAX),
            ..Reader::default()
        }
    }

    /// Parses the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < LINE_BYTES_MAX {
                    self.line.push(byte);
                }
                continue;
            }
            self.end_line();
            self.line.clear();
        }
    }

    fn end_line(&mut self) {
        let line = std::str::from_utf8(&self.line).unwrap_or("x").trim();
        if line.is_empty() {
            if std::mem::take(&mut self.begun) {
                if self.done.len() == RECORDS_MAX {
                    self.done.pop_front();
                    self.gone += 1;
                }
                self.done.push_back(std::mem::take(&mut self.record));
            }
            return;
        }
        self.begun = true;
        match line.split_once('=') {
            Some(("SensorTimestamp", value)) => self.record.sensor_ns = value.trim().parse().ok(),
            Some(("FrameDuration", value)) => self.record.duration_us = value.trim().parse().ok(),
            _ => {}
        }
    }

    /// The record of picture `number`, counted from 0, if it has arrived. Records before it are dropped.
    pub fn take(&mut self, number: u64) -> Option<Record> {
        while self.gone < number && self.done.pop_front().is_some() {
            self.gone += 1;
        }
        if self.gone != number {
            return None;
        }
        let record = self.done.pop_front()?;
        self.gone += 1;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ms: u64) -> Record {
        Record { sensor_ns: Some(ms * 1_000_000), duration_us: Some(33_333) }
    }

    fn text(ms: u64) -> String {
        format!(
            "ExposureTime=9985\nSensorTimestamp={}\nColourGains=[ 1.8, 1.5 ]\nFrameDuration=33333\n\n",
            ms * 1_000_000
        )
    }

    #[test]
    fn records_are_read_in_any_pieces_and_belong_to_their_pictures() {
        let all: String = [100, 133, 166].map(text).concat();
        for piece in [1, 7, 64, 1000] {
            let mut reader = Reader::new();
            all.as_bytes().chunks(piece).for_each(|bytes| reader.feed(bytes));
            assert_eq!(reader.take(0), Some(record(100)));
            assert_eq!(reader.take(2), Some(record(166)), "nobody asked for the second");
            assert_eq!(reader.take(3), None);
            reader.feed(text(200).as_bytes());
            assert_eq!(reader.take(3), Some(record(200)));
        }
    }

    #[test]
    fn gaps_are_counted_in_pictures() {
        let lost = |ms| record(ms).lost_since(&record(1000));
        assert_eq!([lost(1033), lost(1040), lost(1067), lost(1133), lost(900)], [0, 0, 1, 3, 0]);
        assert_eq!(lost(10_000_000), 0, "a new beginning");
        assert_eq!(record(9).lost_since(&Record::default()), 0);
    }

    #[test]
    fn long_lines_and_many_records_do_not_grow_it() {
        let mut reader = Reader::new();
        reader.feed(&[b'x'; 10_000]);
        reader.feed(b"\nSensorTimestamp=5000000\nFrameDuration=33333\n\n");
        assert!(reader.line.capacity() <= 2 * LINE_BYTES_MAX);
        assert_eq!(reader.take(0), Some(record(5)));
        (0..100).for_each(|i| reader.feed(text(i).as_bytes()));
        assert_eq!(reader.done.len(), RECORDS_MAX);
        assert_eq!(reader.take(1), None, "the oldest went");
        assert_eq!(reader.take(100), Some(record(99)));
    }
}
