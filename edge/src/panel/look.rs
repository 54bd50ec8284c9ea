//! Look: how a display shows pictures.
//!
//! The input is the configuration; the result is a [`Look`], which each panel gets when it is opened. It has no side effects.

use crate::spec::ViewChoice;
use crate::turn::Turn;

/// The view and the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The clustered picture alone, or the original beside it.
    pub view: ViewChoice,
    /// Rotation and flip of the whole screen, caption and palette included.
    pub turn: Turn,
}

impl From<ViewChoice> for Look {
    /// Upright.
    fn from(view: ViewChoice) -> Look {
        Look { view, turn: Turn::default() }
    }
}
