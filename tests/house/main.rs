//! Rules that the project's own files keep: dependencies, module docs, sizes, permissions, and what may not occur in them.
//!
//! A rule is a function from sources to what breaks it, with the path. Each is run on the project's files, and on planted
//! violations, which it must find.
#![allow(clippy::unwrap_used, clippy::panic)]

mod circles;
mod doors;
mod parts;
mod queues;
mod size;
mod source;
mod text;
mod tracked;
