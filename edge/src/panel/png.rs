//! PNG: every frame as a file, `000000.png` and so on, in the frame's own size. The one door to `png`'s encoder.
//!
//! Inputs are pictures, results are files in a directory. No frame is skipped: while this panel is used, See waits for Show.
//! A rotated or flipped picture goes through one more buffer, which grows only with the size of the frame.

use super::look::Look;
use super::{Panel, PanelError, Wish};
use crate::slot::Shot;
use crate::spec::ViewChoice;
use crate::turn::Turn;
use firmware::view;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes one PNG under a temporary name and renames it, so that a file of the final name is complete.
///
/// # Errors
/// Those of the disk.
pub fn write(path: &Path, width: u32, height: u32, color: ::png::ColorType, data: &[u8]) -> io::Result<()> {
    let new = path.with_extension("png.new");
    let mut out = BufWriter::new(File::create(&new)?);
    encode(&mut out, width, height, color, data)?;
    out.flush()?;
    std::fs::rename(new, path)
}

/// Writes one PNG to `out`.
///
/// # Errors
/// Those of `out`.
pub fn encode(out: impl Write, width: u32, height: u32, color: ::png::ColorType, data: &[u8]) -> io::Result<()> {
    let mut encoder = ::png::Encoder::new(out, width, height);
    encoder.set_color(color);
    encoder.set_depth(::png::BitDepth::Eight);
    encoder.set_compression(::png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(data)?;
    Ok(writer.finish()?)
}

/// Writes the turned RGB picture to `turned`.
fn turn(turn: Turn, size: (usize, usize), picture: &[u8], turned: &mut Vec<u8>) {
    turned.resize(picture.len(), 0);
    let (steps, pixels) = (turn.steps(size), turned.as_chunks_mut::<3>().0);
    for (y, row) in picture.chunks_exact(size.0 * 3).enumerate() {
        for (x, px) in row.as_chunks::<3>().0.iter().enumerate() {
            if let Some(to) = pixels.get_mut(steps.at(x, y)) {
                *to = *px;
            }
        }
    }
}

/// The directory as a panel.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    look: Look,
    clustered: Vec<u8>,
    both: Vec<u8>,
    turned: Vec<u8>,
}

impl Files {
    /// Creates the directory if it does not exist.
    ///
    /// # Errors
    /// [`PanelError::Disk`].
    pub fn open(dir: PathBuf, look: Look) -> Result<Files, PanelError> {
        std::fs::create_dir_all(&dir).map_err(|error| PanelError::Disk { path: dir.clone(), error })?;
        Ok(Files { dir, look, clustered: Vec::new(), both: Vec::new(), turned: Vec::new() })
    }
}

impl Panel for Files {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        let (width, height) = (shot.report.width as usize, shot.report.height as usize);
        self.clustered.resize(width * height * 3, 0);
        view::recolour(&shot.report, &shot.labels, &mut self.clustered);
        let path = self.dir.join(format!("{:06}.png", shot.report.frame));
        let (picture, columns) = match self.look.view {
            ViewChoice::Clustered => (&self.clustered, width),
            ViewChoice::SideBySide => {
                self.both.clear();
                let row = width * 3;
                for (left, right) in shot.original.chunks_exact(row).zip(self.clustered.chunks_exact(row)) {
                    self.both.extend_from_slice(left);
                    self.both.extend_from_slice(right);
                }
                (&self.both, width * 2)
            }
        };
        let (picture, (columns, rows)) = if self.look.turn.is_none() {
            (picture, (columns, height))
        } else {
            turn(self.look.turn, (columns, height), picture, &mut self.turned);
            (&self.turned, self.look.turn.size((columns, height)))
        };
        write(&path, columns as u32, rows as u32, ::png::ColorType::Rgb, picture)
            .map_err(|error| PanelError::Disk { path, error })
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        Ok(Wish::GoOn)
    }

    fn wants_every_frame(&self) -> bool {
        true
    }
}
