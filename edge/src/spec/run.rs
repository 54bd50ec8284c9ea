//! What the command line of `run` says about one run: when to end, and what to log.
//!
//! These are no configuration keys: a service has none of them.

/// When to end and what to log.
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
}
