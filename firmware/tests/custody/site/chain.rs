//! The edge's segments, as in `edge/src/spool/chain.rs`, record by record instead of byte by byte.
//!
//! Records are appended at the back, read by name, and deleted from the front by segments. A power cut removes what was not
//! synced, except for what the disk happened to have written.

use super::{Name, Record};
use std::collections::VecDeque;

#[derive(Debug, Clone)]
pub struct Segment {
    pub number: u64,
    pub stream: u64,
    pub first: u64,
    pub records: Vec<Record>,
}

impl Segment {
    pub fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn holds(&self, name: Name) -> bool {
        self.stream == name.0 && (self.first..self.end()).contains(&name.1)
    }
}

#[derive(Debug)]
pub struct Chain {
    pub segments: VecDeque<Segment>,
    pub stream: u64,
    segment_records: usize,
    number: u64,
    active: bool,
    pub next: u64,
    pub synced: u64,
}

impl Chain {
    pub fn new(segment_records: usize) -> Chain {
        Chain { segments: VecDeque::new(), stream: 0, segment_records, number: 0, active: false, next: 0, synced: 0 }
    }

    /// Opens the spool and begins a new stream.
    pub fn open(&mut self, stream: u64) {
        self.number = self.segments.back().map_or(0, |s| s.number + 1);
        (self.stream, self.active, self.next, self.synced) = (stream, false, 0, 0);
    }

    /// Cuts the power. The first `kept` records that were not synced are on the disk all the same.
    pub fn cut(&mut self, kept: u64) {
        let keep = (self.synced + kept).min(self.next);
        if let Some(last) = self.segments.back_mut().filter(|_| self.active) {
            last.records.truncate(keep.saturating_sub(last.first) as usize);
        }
    }

    /// Returns true if the next record begins a segment.
    pub fn begins(&self) -> bool {
        !(self.active && self.segments.back().is_some_and(|s| s.records.len() < self.segment_records))
    }

    pub fn append(&mut self, mut record: Record) {
        if self.begins() {
            self.sync();
            let (number, stream, first) = (self.number, self.stream, self.next);
            self.segments.push_back(Segment { number, stream, first, records: Vec::new() });
            self.number += 1;
            self.active = true;
        }
        (record.stream, record.seq) = (self.stream, self.next);
        self.segments.back_mut().unwrap().records.push(record);
        self.next += 1;
    }

    pub fn sync(&mut self) -> u64 {
        self.synced = self.next;
        self.synced
    }

    pub fn has(&self, name: Name) -> bool {
        self.segments.iter().any(|s| s.holds(name))
    }

    pub fn read(&self, name: Name) -> Option<Record> {
        let segment = self.segments.iter().find(|s| s.holds(name))?;
        segment.records.get((name.1 - segment.first) as usize).copied()
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.segments.iter().flat_map(|s| &s.records)
    }

    pub fn trim(&mut self, floor: impl Fn(u64) -> Option<u64>, is_open: impl Fn(u64) -> bool) {
        while let Some(front) = self.segments.front() {
            let done = floor(front.stream).is_none_or(|f| f >= front.end());
            let last = !self.segments.iter().skip(1).any(|s| s.stream == front.stream);
            let active = front.stream == self.stream && last;
            if !done || active || (last && is_open(front.stream)) {
                break;
            }
            self.segments.pop_front();
        }
    }

    /// A planted mistake: deletes each settled segment, even if a record in front of it is held.
    pub fn trim_out_of_turn(&mut self, floor: impl Fn(&Record) -> bool) {
        let active = self.segments.back().map(|s| s.number);
        self.segments.retain(|s| Some(s.number) == active || !s.records.iter().all(&floor));
    }

    pub fn oldest(&self) -> Option<&Segment> {
        self.segments.front().filter(|_| !self.active || self.segments.len() > 1)
    }

    pub fn drop_oldest(&mut self) {
        if self.oldest().is_some() {
            self.segments.pop_front();
        }
    }
}
