//! Options of one run that are only on the command line: when to end, what to log, and how long to wait for a display.
//!
//! These are plain values without side effects. They are no configuration keys, because a service needs none of them.

use std::time::Duration;

/// When to end, what to log, and how long to wait for a display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Frames after which to end.
    pub frames: Option<u64>,
    /// At the end, wait until the journal has every record.
    pub drain: bool,
    /// Open neither source nor display: send what the spool holds, then end.
    pub drain_only: bool,
    /// Log warnings and errors only.
    pub quiet: bool,
    /// Log every frame.
    pub log_frames: bool,
    /// How long to wait for a display that wants every frame; none: `slot::PUT_WAIT_MAX`.
    pub picture_wait: Option<Duration>,
}
