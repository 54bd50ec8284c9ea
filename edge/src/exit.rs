//! Exit: how a command ends when it does not end well: a message for a person, a number for a script.
//!
//! Takes any error and the reason it ends the program. Gives the line on standard error and the exit code.
//! Touches nothing.
//! Never a code besides those of the command line's contract: 2 usage, 66, 69, 74, 78.

use std::fmt;

/// Why a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The command line is wrong.
    Usage = 2,
    /// An input does not exist.
    NoInput = 66,
    /// Something that is needed is not there: a display, a program, a free spool.
    Unavailable = 69,
    /// Reading or writing failed, or what was read is damaged.
    Io = 74,
    /// A configuration file or variable is wrong.
    Config = 78,
}

/// An error and what it means for the program's end.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub reason: Reason,
    /// Tells a person.
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
        self.reason as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain, outermost first.
        write!(f, "{:#}", self.cause)
    }
}
