//! Exit codes of all programs: those of `sysexits.h` that scripts and systemd look at.
//!
//! A code is part of the command line's contract. 0 is success.

/// Why a program ends without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The command line is wrong.
    Usage = 2,
    /// An input does not exist or cannot be opened.
    NoInput = 66,
    /// A service, device or program that is needed is not available.
    Unavailable = 69,
    /// Reading or writing failed, or what was read is damaged.
    Io = 74,
    /// A configuration file or variable is wrong.
    Config = 78,
}

impl Code {
    /// The number.
    pub fn number(self) -> u8 {
        self as u8
    }
}
