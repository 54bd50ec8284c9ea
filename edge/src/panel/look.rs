//! Look: what every display is told about the pictures that it shows.
//!
//! A [`Look`] is made from the configuration and handed to each panel when it is opened. It has no side effects.

use crate::spec::ViewChoice;
use crate::turn::Turn;

/// Which picture is shown, and how it is turned.
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
