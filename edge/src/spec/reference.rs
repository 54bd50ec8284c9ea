//! A reference: patches of known colour in the picture, and how colours are corrected by them.
//!
//! These are plain values, read from the configuration's `[reference]`; `camera::reference` applies them. Nothing here has side
//! effects.

use super::Region;
use firmware::color::Lab;
use firmware::reference::Correct;

/// A part of the picture whose colour is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where it is, and what messages call it.
    pub region: Region,
    /// Its colour.
    pub colour: Lab,
}

/// The patches, and what is made of them. Without patches there is no reference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferenceSpec {
    /// How colours are corrected.
    pub correct: Correct,
    /// The patches.
    pub patches: Vec<Patch>,
}
