//! Typed specifications of sources and displays, as a person writes them and as the modules take them.
//!
//! A configuration value such as `v4l2:0?fps=15` or `png:DIR` is parsed here, once, and printed back here. The modules
//! that open cameras and displays, work out memory or check the machine take the typed value. Nothing here opens or
//! reads anything, and nothing here knows the modules above it.

pub mod ask;
pub mod board;
pub mod display;
pub mod locks;
pub mod mask;
pub mod reference;
pub mod region;
pub mod rpicam;
pub mod run;
pub mod source;
pub mod transform;

pub use ask::{Ask, AskOptions};
pub use board::Board;
pub use display::{DisplaySpec, ViewChoice};
pub use locks::{Lock, Locks};
pub use mask::Mask;
pub use reference::{Patch, ReferenceSpec};
pub use region::{Colour, Region};
pub use run::RunOptions;
pub use source::{SourceSpec, SpecError};
pub use transform::{Crop, Transform};
