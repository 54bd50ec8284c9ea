//! Temporary.
use core::sync::atomic::{AtomicU32, Ordering};
/// t
pub static KNOBS: [AtomicU32; 12] = [const { AtomicU32::new(0) }; 12];
/// t
pub fn knob(i: usize) -> u32 { KNOBS[i].load(Ordering::Relaxed) }
