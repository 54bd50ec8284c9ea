//! Bridge.
pub mod plot;
pub mod silhouette;
