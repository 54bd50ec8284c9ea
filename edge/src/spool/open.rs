//! Opening a spool: its directory, its lock, and what an earlier run left in it.
//!
//! Segments are recovered by [`super::chain`]; here follows which streams they hold, and from where on. New directories are
//! made durable.

use super::chain::Chain;
use super::owner::{self, Name};
use super::{Limits, Older, Progress, ReadError, Spool, SpoolError, State, disk, make_dir};
use firmware::custody::Envelope;
use firmware::limits::SEQ_MAX;
use firmware::wire::{self, Loss};
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

/// The boot of the edge that has the spool in `dir` open, if one has. The lock is held, shared, for a moment: an edge that
/// starts in that very moment has to start again.
pub fn held_by(dir: &Path) -> Option<u64> {
    let lock = File::open(dir.join("lock")).ok()?;
    if !matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    u64::from_str_radix(io::read_to_string(lock).ok()?.trim(), 16).ok()
}

impl Spool {
    /// Opens (or makes) the spool in `dir`, recovers what is in it, and begins the stream `boot` (lowest bit 0).
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(dir: &Path, limits: Limits, boot: u64) -> Result<Spool, SpoolError> {
        Spool::open_with(dir, limits, boot, &mut |_, _| {})
    }

    /// The same; `progress` is called for each segment that was read: a spool of some GiB takes minutes on an SD card.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open_with(dir: &Path, limits: Limits, boot: u64, progress: &mut Progress<'_>) -> Result<Spool, SpoolError> {
        Spool::open_as(dir, limits, boot, None, progress)
    }

    /// The same for `name`: what the spool holds of another name is moved aside ([`owner`]). Without a name the spool is
    /// taken as it is.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open_as(
        dir: &Path,
        limits: Limits,
        boot: u64,
        name: Option<&Name>,
        progress: &mut Progress<'_>,
    ) -> Result<Spool, SpoolError> {
        make_dir(dir)?;
        let lock_path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(disk("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse(dir.into())),
            Err(TryLockError::Error(error)) => return Err(disk("lock", &lock_path)(error)),
        }
        let boot = boot & !1;
        // Only for who asks; a disk that is too full for it is no reason to stay away.
        let written = lock.set_len(0).and_then(|()| (&lock).write_all(format!("{:016x}\n", boot).as_bytes()));
        if let Err(error) = written {
            log::debug!("{}: {error}", lock_path.display());
        }
        if let Some(name) = name {
            owner::settle(dir, name)?;
        }
        let mut spool = Spool {
            dir: dir.into(),
            data: Chain::open(dir, "seg", (boot, limits.segment_bytes), progress)?,
            losses: Chain::open(dir, "loss", (boot | 1, limits.loss_bytes_max / 4), progress)?,
            limits,
            state: State::load(&dir.join("state")),
            older: Vec::new(),
            _lock: lock,
        };
        spool.find_older()?;
        // What an earlier open left empty, or what the journal has, is of no use; but a stream must be there for as
        // long as a window has to speak of it.
        let older = spool.older.clone();
        let find = |stream| older.iter().find(|o| o.stream == stream).map(|o| o.floor);
        spool.trim(find, |stream| find(stream).is_some())?;
        Ok(spool)
    }

    /// Streams of loss records first, for they are few; then those that only these records mention; then data.
    fn find_older(&mut self) -> Result<(), SpoolError> {
        for s in &self.losses.segments {
            find_in(&mut self.older, &self.state, s.stream, s.first, s.end());
        }
        let older = self.older.clone();
        // Only what is there is asked for: the end of a stream in a damaged state or head is not to be trusted.
        let held: Vec<_> = self.losses.segments.iter().map(|s| (s.stream, s.in_file())).collect();
        for (stream, seqs) in held {
            let floor = older.iter().find(|o| o.stream == stream).map_or(seqs.end, |o| o.floor);
            for loss in self.losses_in(stream, seqs.start.max(floor)..seqs.end)? {
                let known = self.data.segments.iter().any(|s| s.stream == loss.stream && s.end() > s.first);
                if !known && loss.to <= SEQ_MAX {
                    find_in(&mut self.older, &self.state, loss.stream, loss.to, loss.to);
                }
            }
        }
        for s in &self.data.segments {
            find_in(&mut self.older, &self.state, s.stream, s.first, s.end());
        }
        for o in &mut self.older {
            o.floor = o.floor.min(o.next);
        }
        Ok(())
    }

    /// The loss records of a stream that can be read; one that is damaged is found when it is to be sent.
    pub(super) fn losses_in(&mut self, stream: u64, seqs: std::ops::Range<u64>) -> Result<Vec<Loss>, SpoolError> {
        let (mut losses, mut record) = (Vec::new(), Vec::new());
        for seq in seqs {
            match self.losses.read(stream, seq, &mut record) {
                Ok(()) => {}
                Err(ReadError::Damaged { .. }) => continue,
                Err(ReadError::Disk(e)) => return Err(e),
            }
            let Ok((envelope, payload)) = Envelope::open(&record) else { continue };
            losses.extend(wire::decode::<Loss>(envelope.payload_version, payload).ok());
        }
        Ok(losses)
    }
}

/// Adds what a segment, or a loss record, has about a stream.
fn find_in(older: &mut Vec<Older>, state: &State, stream: u64, first: u64, end: u64) {
    // Stream 0: a damaged head. End 0: a run that accepted nothing.
    if stream == 0 || end == 0 {
        return;
    }
    match older.iter_mut().find(|o| o.stream == stream) {
        Some(o) => {
            // All below the end of a loss at the end is given up.
            o.floor = if first == end && o.floor >= o.next { o.floor.max(end) } else { o.floor };
            o.next = o.next.max(end);
        }
        None => {
            let known = state.stream(stream);
            let floor = first.max(known.map_or(0, |k| k.floor));
            let since = known.map_or(0, |k| k.since);
            older.push(Older { stream, since, floor, next: end.max(since) });
        }
    }
}
