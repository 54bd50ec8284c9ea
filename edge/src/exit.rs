//! How a command ends that does not end well: a message for a person, and an exit code for a script.
//!
//! Inputs are any error and the reason why it ends the program. Results are the line on standard error and the code, which is
//! one of the command line's contract.

pub use host::exit::Code as Reason;

use std::fmt;

/// An error and what it means for the program's end.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub reason: Reason,
    /// Prints it to standard error.
    pub cause: anyhow::Error,
}

impl Failure {
    /// A failure with a message.
    pub fn new(reason: Reason, cause: impl Into<anyhow::Error>) -> Failure {
        Failure { reason, cause: cause.into() }
    }

    /// A wrong command line.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Reason::Usage, anyhow::anyhow!("{message}"))
    }

    /// Reading or writing `what` failed.
    pub fn io(what: impl fmt::Display, error: std::io::Error) -> Failure {
        Failure::new(Reason::Io, anyhow::Error::new(error).context(what.to_string()))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.reason.number()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain, outermost first.
        write!(f, "{:#}", self.cause)
    }
}
