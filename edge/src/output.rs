//! Data on standard output, as the command line's contract has it.
//!
//! Standard output is for data; logs and progress go to standard error. A reader that closes the pipe ends a command
//! quietly: that is no failure.

use crate::exit::Failure;
use std::io::Write;

/// Writes `text` to standard output; a reader that has closed the pipe is no failure.
///
/// # Errors
/// [`Failure`] if standard output cannot be written to.
pub fn write(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::io("writing to standard output", e)),
        _ => Ok(()),
    }
}
