//! What every display has in common: the trait [`Panel`], what someone there may want, and its errors.
//!
//! A panel draws the pictures that it is given. It decides neither what is shown (`firmware::view` does) nor what happens
//! after an error (`crate::show` does).

use crate::exit::{Failure, Reason};
use crate::slot::Shot;
use std::path::PathBuf;

/// What someone at the display wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To see more.
    GoOn,
    /// To end the stream.
    Stop,
}

/// A display.
pub trait Panel {
    /// Shows a picture.
    ///
    /// # Errors
    /// [`PanelError`]; the panel is then of no more use.
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError>;

    /// Looks after keys and window sizes, many times a second.
    ///
    /// # Errors
    /// As [`Panel::show`].
    fn tend(&mut self) -> Result<Wish, PanelError>;

    /// Whether it leaves no room for lines on the terminal.
    fn fills_terminal(&self) -> bool {
        false
    }

    /// Whether no frame may be skipped.
    fn wants_every_frame(&self) -> bool {
        false
    }
}

/// Why a display cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// This program or this configuration can never show anything there.
    #[error("display {name} cannot be used: {why}")]
    Impossible {
        /// Which.
        name: &'static str,
        /// Why not, and what to change.
        why: String,
    },
    /// It is not there now.
    #[error("display {name} cannot be opened: {why}")]
    Unavailable {
        /// Which.
        name: &'static str,
        /// Why not.
        why: String,
    },
    /// It was there, and is there no more.
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
    /// Returns true if trying again is of no use.
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
