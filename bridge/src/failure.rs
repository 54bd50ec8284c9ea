//! Failure: how a program ends when it cannot do what it was asked, and with which exit code.
//!
//! Takes a sentence from whoever failed. Gives it to `main`, with the code that scripts and systemd look at.
//! Touches nothing.
//! Never a panic: whatever a user, a file or a network does ends here.

use std::process::ExitCode;

/// Why a program ends before its work is done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line does not make sense (2).
    #[error("{0}")]
    Usage(String),
    /// What should be read is not there or cannot be read (66).
    #[error("{0}")]
    NoInput(String),
    /// A service that is needed does not answer (69).
    #[error("{0}")]
    Unavailable(String),
    /// A file or a socket refused (74).
    #[error("{0}")]
    Io(String),
    /// The configuration is wrong (78).
    #[error("{0}")]
    Config(String),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::NoInput(_) => 66,
            Failure::Unavailable(_) => 69,
            Failure::Io(_) => 74,
            Failure::Config(_) => 78,
        }
    }

    /// An I/O failure while doing `what`.
    pub fn io(what: &str, error: impl std::fmt::Display) -> Failure {
        Failure::Io(format!("{what}: {error}"))
    }
}

/// Ends a program: prints the failure, if there is one, and gives its exit code.
pub fn end(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(f) => {
            eprintln!("error: {f}");
            ExitCode::from(f.code())
        }
    }
}
