//! Fault: a disk for the spool's tests, which can be full, and counts its writes.
//!
//! A test says how many bytes the disk still takes; the spool asks before each write and each sync, and gets the error of a full
//! disk. Syncs, and the pages that they write, are counted. All of it holds for the test's own thread only.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;

/// What a disk is written in.
pub const PAGE_BYTES: u64 = 4096;

thread_local! {
    /// Bytes that the disk still takes, for tests; none: as many as it likes. With 0 it does not sync either.
    pub static DISK_BYTES: Cell<Option<usize>> = const { Cell::new(None) };
    /// Files that were synced.
    pub static SYNCS: Cell<u64> = const { Cell::new(0) };
    /// Pages that syncs wrote.
    pub static PAGES_WRITTEN: Cell<u64> = const { Cell::new(0) };
    /// Pages of the segment that takes records, changed since the last sync.
    static CHANGED: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// Counts from here on.
pub fn reset_wear() {
    SYNCS.set(0);
    PAGES_WRITTEN.set(0);
    CHANGED.take();
}

pub fn wrote(at: u64, bytes: usize) {
    let pages = at / PAGE_BYTES..=(at + bytes as u64 - 1) / PAGE_BYTES;
    CHANGED.with_borrow_mut(|changed| changed.extend(pages));
}

pub fn synced() -> io::Result<()> {
    disk_takes(0, true)?;
    count_sync();
    Ok(())
}

pub fn count_sync() {
    SYNCS.set(SYNCS.get() + 1);
    PAGES_WRITTEN.set(PAGES_WRITTEN.get() + CHANGED.take().len() as u64);
}

pub fn disk_takes(bytes: usize, sync: bool) -> io::Result<()> {
    match DISK_BYTES.get() {
        Some(left) if left < bytes || (sync && left == 0) => {
            DISK_BYTES.set(Some(0));
            Err(io::ErrorKind::StorageFull.into())
        }
        left => {
            DISK_BYTES.set(left.map(|left| left - bytes));
            Ok(())
        }
    }
}
