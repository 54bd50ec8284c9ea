//! Parcels become records in the spool, and room is made for them there.
//!
//! The records of a frame are all accepted, or all refused and counted. A record is given up only after a loss record
//! that names it is durable. A full disk ends nothing.

use super::Send;
use crate::parcel::{Parcel, PictureWay};
use crate::spool::{AppendError, Entry, SpoolError, Stamp};
use firmware::custody::Kind;
use firmware::limits::{ENVELOPE_BYTES, REPORT_BYTES_MAX};
use firmware::wire::{self, Loss, LossReason, Payload, PictureHead, Report};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Damaged records that are declared lost and that the sender has no place for yet.
const GIVEN_UP_MAX: usize = 64;

/// A disk that refuses: tried again, less and less often.
#[derive(Debug, Default)]
pub(super) struct DiskFault {
    again: Option<Instant>,
    pause: Duration,
}

impl DiskFault {
    /// The disk refused a moment ago, and is left alone for now.
    pub fn waits(&self) -> bool {
        self.again.is_some_and(|again| Instant::now() < again)
    }

    /// Notes that the disk has refused. Logs that once, and what it costs.
    pub fn meet(&mut self, error: &SpoolError, costs: &str) {
        if self.again.is_none() {
            log::error!("{error}; {}. Until then {costs}", error.advice());
        }
        self.pause = (self.pause * 2).clamp(RETRY_MIN, RETRY_MAX);
        self.again = Some(Instant::now() + self.pause);
    }

    /// The disk does it again.
    pub fn end(&mut self, what: &str) {
        if self.again.take().is_some() {
            log::info!("the spool's disk {what} again");
            self.pause = Duration::ZERO;
        }
    }
}

impl Send {
    /// A parcel from See: its records into the spool, its pictures out.
    pub(super) fn take(&mut self, mut parcel: Box<Parcel>) {
        self.stamp = Stamp { at_us: parcel.captured_at_us, clock_synced: parcel.clock_synced };
        if self.disk_fault.waits() {
            if parcel.with_report {
                self.refuse(1);
            }
        } else {
            self.accept(&mut parcel);
        }
        self.take_events(&parcel);
        self.state.see(&parcel);
        if parcel.way == PictureWay::Latest || !parcel.original.is_empty() {
            self.picture(&parcel);
        }
        // See may be gone already. There is a place for each parcel.
        let _ = self.channels.empties.try_send(parcel);
    }

    /// Appends a frame's report and picture, both or neither, and its census if there is room.
    fn accept(&mut self, parcel: &mut Parcel) {
        self.parts.clear();
        if parcel.with_report {
            parcel.report.dropped += self.channels.counters.refused.load(Ordering::Relaxed);
            if parcel.way == PictureWay::Records {
                let max = self.payload_bytes_max(Kind::Picture);
                let made = parcel.picture(max, &mut self.scratch, &mut self.parts);
                if let Err(e) = made {
                    log::error!("frame {}: its picture cannot be sent: {e}", parcel.report.frame);
                    self.parts.clear();
                }
            }
            let mut buf = [0; REPORT_BYTES_MAX];
            let n = match wire::encode(&parcel.report, &mut buf) {
                Ok(n) => n,
                Err(e) => {
                    log::error!("frame {}: its report cannot be encoded: {e}", parcel.report.frame);
                    return self.refuse(1);
                }
            };
            let needed = (n + ENVELOPE_BYTES) as u64 + self.parts.record_bytes();
            if !self.make_room(needed) {
                return self.refuse(1);
            }
            let seq = self.spool.next();
            if !self.append(parcel, Report::KIND, Report::VERSION, buf.get(..n).unwrap_or(&[])) {
                return self.refuse(1);
            }
            self.unsynced_frames.push(seq);
            let parts = std::mem::take(&mut self.parts);
            for part in parts.iter() {
                if !self.append(parcel, PictureHead::KIND, PictureHead::VERSION, part) {
                    log::error!("frame {}: the disk is full in the middle of its picture", parcel.report.frame);
                    break;
                }
            }
            self.parts = parts;
        }
        self.accept_census(parcel);
    }

    fn accept_census(&mut self, parcel: &Parcel) {
        if parcel.census.is_empty() || self.disk_fault.waits() {
            return;
        }
        if !self.make_room(parcel.census.record_bytes()) {
            return log::warn!("frame {}: no room in the spool for its census", parcel.report.frame);
        }
        let (kind, version) = (wire::CensusHead::KIND, wire::CensusHead::version_in(parcel.report.colorimetry.space));
        for part in parcel.census.iter() {
            if !self.append(parcel, kind, version, part) {
                return log::error!("frame {}: the disk is full in the middle of its census", parcel.report.frame);
            }
        }
    }

    /// False: the spool or the disk is full.
    fn append(&mut self, parcel: &Parcel, kind: Kind, payload_version: u8, payload: &[u8]) -> bool {
        let entry = Entry {
            kind: kind as u8,
            payload_version,
            captured_at_us: parcel.captured_at_us,
            clock_synced: parcel.clock_synced,
            payload,
        };
        match self.spool.append(&entry) {
            Ok(_) => {
                self.cadence.appended(Instant::now());
                true
            }
            Err(AppendError::Full) => false,
            Err(AppendError::Disk(e)) => {
                self.met(&e);
                false
            }
        }
    }

    /// Room for records of `bytes` in all, by dropping the oldest segments if it must be. False: there is none.
    pub(super) fn make_room(&mut self, bytes: u64) -> bool {
        while !self.spool.has_room(bytes) {
            if !self.spool.can_make_room(bytes) || !self.evict() {
                return false;
            }
        }
        true
    }

    /// Gives up the oldest segment. False: it cannot go.
    fn evict(&mut self) -> bool {
        // What is appended becomes accepted first: the sender must know all records that may be reported as gone.
        self.sync();
        let sender = &self.sender;
        let holds = |stream, from, to| sender.unsettled(stream, from, to);
        let evicted = self.spool.evict(|stream| sender.floor(stream), holds, self.stamp);
        self.declared();
        let counters = &self.channels.counters;
        match evicted {
            Ok(Some(e)) => {
                self.sender.gone(e.stream, 0, e.to);
                let before = counters.evicted.fetch_add(e.lost, Ordering::Relaxed);
                counters.losses.fetch_add(e.losses, Ordering::Relaxed);
                if before == 0 && e.lost > 0 {
                    let bytes = self.spool.bytes();
                    log::error!(
                        "the spool is full ({bytes} bytes): its oldest records are given up, each named in a loss record"
                    );
                }
                true
            }
            Ok(None) => false,
            Err(AppendError::Full) => {
                if !std::mem::replace(&mut self.full_is_logged, true) {
                    log::error!(
                        "the spool is full, also of loss records: frames are refused, and counted, until the journal \
                         takes some"
                    );
                }
                false
            }
            Err(AppendError::Disk(e)) => {
                self.met(&e);
                false
            }
        }
    }

    /// Declares a record lost that can never be sent. False: there is no room for that now, or for knowing of it.
    pub(super) fn give_up(&mut self, stream: u64, seq: u64, reason: LossReason) -> bool {
        if !self.given_up.contains(&(stream, seq)) {
            if self.given_up.len() >= GIVEN_UP_MAX || self.disk_fault.waits() {
                return false;
            }
            let loss = Loss { stream, from: seq, to: seq + 1, reason };
            let done = self.spool.declare(&[loss], self.stamp);
            self.declared();
            match done {
                Ok(_) => {}
                Err(AppendError::Full) => return false,
                Err(AppendError::Disk(e)) => {
                    self.met(&e);
                    return false;
                }
            }
            let counters = &self.channels.counters;
            if reason == LossReason::TooLarge {
                counters.records_too_large.fetch_add(1, Ordering::Relaxed);
            } else {
                log::error!("record {seq} of stream {stream:016x} is damaged on the disk: declared lost");
                counters.damaged.fetch_add(1, Ordering::Relaxed);
            }
            self.channels.counters.losses.fetch_add(1, Ordering::Relaxed);
        }
        self.sender.gone(stream, seq, seq + 1);
        // The sender's ranges may have no place for it; then it asks again, and gets it again.
        let known = self.sender.unsettled(stream, seq, seq + 1).is_none();
        if known {
            self.given_up.remove(&(stream, seq));
        } else {
            self.given_up.insert((stream, seq));
        }
        known
    }

    /// The sender may rely on the loss records that are durable.
    fn declared(&mut self) {
        self.sender.accepted(self.spool.boot() | 1, self.spool.losses_next());
    }

    fn refuse(&self, frames: u64) {
        self.channels.counters.refused.fetch_add(frames, Ordering::Relaxed);
    }

    /// The disk has refused. Frames that were appended and are not there any more are refused ones.
    pub(super) fn met(&mut self, error: &SpoolError) {
        self.disk_fault.meet(error, "frames are shown, but refused and counted");
        let next = self.spool.next();
        self.events.cut(next);
        let before = self.unsynced_frames.len();
        self.unsynced_frames.retain(|&seq| seq < next);
        self.refuse((before - self.unsynced_frames.len()) as u64);
    }

    /// Makes what is appended durable, and notes that in the sender.
    pub(super) fn sync(&mut self) {
        self.cadence.synced();
        let any = self.spool.unsynced() > 0;
        match self.spool.sync() {
            Ok(next) => {
                if any {
                    self.disk_fault.end("takes records");
                }
                self.unsynced_frames.clear();
                self.events.synced(next);
                self.sender.accepted(self.spool.boot(), next);
            }
            Err(e) => self.met(&e),
        }
    }
}

/// Logs an error of the disk, if there is one, that costs nothing now.
pub(super) fn later(done: Result<(), SpoolError>) {
    if let Err(e) = done {
        log::warn!("{e}; {}; tried again later", e.advice());
    }
}
