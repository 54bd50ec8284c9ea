//! PNG: every frame as a file, `000000.png` and so on, in the frame's own size. The one door to `png`'s encoder.
//!
//! Takes pictures. Gives files in a directory.
//! Touches that directory.
//! Never skips a frame: while this panel is used, See waits for Show.

use super::{Panel, PanelError, Wish};
use crate::slot::Shot;
use crate::spec::ViewChoice;
use firmware::view;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes one PNG; a file is there whole or under another name.
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

/// One PNG into anything.
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

/// The directory as a panel.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    view: ViewChoice,
    clustered: Vec<u8>,
    both: Vec<u8>,
}

impl Files {
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// [`PanelError::Disk`].
    pub fn open(dir: PathBuf, view: ViewChoice) -> Result<Files, PanelError> {
        std::fs::create_dir_all(&dir).map_err(|error| PanelError::Disk { path: dir.clone(), error })?;
        Ok(Files { dir, view, clustered: Vec::new(), both: Vec::new() })
    }
}

impl Panel for Files {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        let (width, height) = (shot.report.width as usize, shot.report.height as usize);
        self.clustered.resize(width * height * 3, 0);
        view::recolour(&shot.report, &shot.labels, &mut self.clustered);
        let path = self.dir.join(format!("{:06}.png", shot.report.frame));
        let (picture, columns) = match self.view {
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
        write(&path, columns as u32, height as u32, ::png::ColorType::Rgb, picture)
            .map_err(|error| PanelError::Disk { path, error })
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        Ok(Wish::GoOn)
    }

    fn wants_every_frame(&self) -> bool {
        true
    }
}
