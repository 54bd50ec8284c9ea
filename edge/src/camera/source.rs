//! The interface of every source of frames: the trait [`Source`], the picture that it lends, and its errors.
//!
//! A source fetches one picture at a time into its own memory and lends it until the next one is fetched. `Camera` adds
//! numbers and time stamps.

use crate::exit::{Failure, Reason};
use crate::health::Child;
use crate::spec::SpecError;
use firmware::frame::{FrameError, Layout, Yuv};
use std::path::PathBuf;
use std::sync::Arc;

/// A picture in a source's memory.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// The layout of its bytes.
    pub layout: Layout,
    /// The YCbCr variant, used only with a YCbCr layout.
    pub yuv: Yuv,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The bytes, without padding.
    pub data: &'a [u8],
}

/// A camera or a clip.
pub trait Source: Send {
    /// Fetches the next picture; false at the end. After an error or the end the last complete picture is kept.
    ///
    /// # Errors
    /// [`SourceError`]; the source cannot be used after it.
    fn advance(&mut self) -> Result<bool, SourceError>;

    /// The picture fetched last.
    fn picture(&self) -> Option<Picture<'_>>;

    /// Pictures a second; none for stills.
    fn rate(&self) -> Option<f64>;

    /// Returns to the first picture.
    ///
    /// # Errors
    /// [`SourceError`], also for a source that cannot be read again (standard input).
    fn rewind(&mut self) -> Result<(), SourceError>;

    /// Returns true if the source sets the pace, so that the caller need not wait.
    fn is_live(&self) -> bool {
        false
    }

    /// Pictures that were lost since it was opened, before the last one fetched.
    fn lost(&self) -> u64 {
        0
    }

    /// Takes the child to which a live source reports its state.
    fn watched_by(&mut self, child: Arc<Child>) {
        drop(child);
    }

    /// When the last picture was captured, if the source reports that: microseconds since the Unix epoch.
    fn captured_at_us(&self) -> Option<u64> {
        None
    }
}

/// An error of a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The specification cannot be parsed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// It does not exist or may not be read.
    #[error("cannot open {path}: {error}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The device is absent now.
    #[error("{0}")]
    Absent(String),
    /// A program that is needed to read it is not installed.
    #[error("{0}")]
    Missing(String),
    /// Reading failed.
    #[error("reading {what}: {error}")]
    Read {
        /// What was read.
        what: String,
        /// Why.
        error: std::io::Error,
    },
    /// It ends in the middle of a frame.
    #[error("{what} ends in the middle of frame {frame}; the {frame} whole frames before it were read")]
    Cut {
        /// What was read.
        what: String,
        /// The frame, from 0.
        frame: u64,
    },
    /// The data are not valid.
    #[error("{what}: {why}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The picture is empty or too large.
    #[error("a picture that cannot be used: {0}")]
    Frame(#[from] FrameError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Failure {
        let reason = match &error {
            SourceError::Spec(_) => Reason::Usage,
            SourceError::Open { .. } => Reason::NoInput,
            SourceError::Missing(_) | SourceError::Absent(_) => Reason::Unavailable,
            _ => Reason::Io,
        };
        Failure::new(reason, error)
    }
}

/// Refuses a picture whose size no frame may have, before memory is taken for it.
pub(super) fn check_size(width: usize, height: usize) -> Result<(), SourceError> {
    use firmware::limits::{PIXELS_MAX, WIDTH_PX_MAX};
    if width == 0 || height == 0 {
        return Err(FrameError::Empty.into());
    }
    if width > WIDTH_PX_MAX || width.checked_mul(height).is_none_or(|n| n > PIXELS_MAX) {
        return Err(FrameError::TooLarge.into());
    }
    Ok(())
}
