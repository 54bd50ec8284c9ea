//! How a program ends when it cannot do what it was asked, and with which exit code.
//!
//! Inputs are sentences for a person. Results are the line on standard error and the code that scripts and systemd look at.
//! Whatever a user, a file or a network does ends here and not in a panic.

use host::exit::Code;
use std::path::Path;
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
        let code = match self {
            Failure::Usage(_) => Code::Usage,
            Failure::NoInput(_) => Code::NoInput,
            Failure::Unavailable(_) => Code::Unavailable,
            Failure::Io(_) => Code::Io,
            Failure::Config(_) => Code::Config,
        };
        code.number()
    }

    /// An I/O failure while doing `what`.
    pub fn io(what: &str, error: impl std::fmt::Display) -> Failure {
        Failure::Io(format!("{what}: {error}"))
    }
}

/// Whether the folder that a file of `setting` lies in exists. Without it no waiting helps.
///
/// # Errors
/// [`Failure::Io`], with the folder and the flag that names another file.
pub fn check_folder(setting: &str, file: &Path, flag: &str) -> Result<(), Failure> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        None => Ok(()),
        Some(folder) => Err(Failure::Io(format!(
            "{setting}: {}: folder {} does not exist: make it, or name another file with {flag}",
            file.display(),
            folder.display()
        ))),
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
