//! The interface of every display: the trait [`Panel`], the wishes of a person at the display, and errors.
//!
//! Inputs of a panel are pictures, results are wishes. `firmware::view` decides what is drawn, and `crate::show` decides what happens
//! after an error.

use crate::exit::{Failure, Reason};
use crate::slot::Shot;
use std::path::PathBuf;

/// A wish of a person at the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To continue.
    GoOn,
    /// To end the stream.
    Stop,
}

/// A display.
pub trait Panel {
    /// Shows a picture.
    ///
    /// # Errors
    /// [`PanelError`]; the panel cannot be used after it.
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError>;

    /// Reads keys and window sizes. Called many times a second.
    ///
    /// # Errors
    /// As [`Panel::show`].
    fn tend(&mut self) -> Result<Wish, PanelError>;

    /// Returns true if it leaves no room for lines on the terminal.
    fn fills_terminal(&self) -> bool {
        false
    }

    /// Returns true if no frame may be skipped.
    fn wants_every_frame(&self) -> bool {
        false
    }
}

/// Why a display cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// This program or configuration can never use the display.
    #[error("display {name} cannot be used: {why}")]
    Impossible {
        /// Which.
        name: &'static str,
        /// Why not, and what to change.
        why: String,
    },
    /// The display is absent now.
    #[error("display {name} cannot be opened: {why}")]
    Unavailable {
        /// Which.
        name: &'static str,
        /// Why not.
        why: String,
    },
    /// The display was open and has gone.
    #[error("display {name} is gone: {why}")]
    Lost {
        /// Which.
        name: &'static str,
        /// What happened to it.
        why: String,
    },
    /// A picture cannot be written.
    #[error("writing pictures to {path}: {error}")]
    Disk {
        /// Where to.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

impl PanelError {
    /// Returns true if another attempt cannot succeed.
    pub fn is_final(&self) -> bool {
        matches!(self, PanelError::Impossible { .. })
    }
}

impl From<PanelError> for Failure {
    fn from(error: PanelError) -> Failure {
        let reason = if matches!(error, PanelError::Disk { .. }) { Reason::Io } else { Reason::Unavailable };
        Failure::new(reason, error)
    }
}
