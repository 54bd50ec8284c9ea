//! Framebuffer: a device of the kernel such as `/dev/fb0`, with 16, 24 or 32 bits a pixel.
//!
//! Inputs are pictures, results are writes of the whole screen, because some kernels do not show a write of one row. The device's
//! description under `/sys/class/graphics` is read. The mode is not changed, and no ioctl is made. The order of colours follows from
//! the driver's name, because the description does not have it.

use super::canvas::Canvas;
use super::look::Look;
use super::{Panel, PanelError, Wish, draw};
use crate::slot::Shot;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the kernel describes its framebuffers.
const SYSFS: &str = "/sys/class/graphics";
/// The longest side of a screen: 8K.
const SIDE_MAX: usize = 8192;

/// The layout of a pixel in memory, lowest byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Red 5 bits, green 6, blue 5.
    Rgb565,
    /// Blue, green, red.
    Rgb888,
    /// Blue, green, red, unused.
    Xrgb8888,
}

impl Depth {
    fn bytes(self) -> usize {
        match self {
            Depth::Rgb565 => 2,
            Depth::Rgb888 => 3,
            Depth::Xrgb8888 => 4,
        }
    }
}

/// The screen's geometry and pixel layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Geometry {
    width: usize,
    height: usize,
    /// Bytes from one row to the next; the end of a row may be unused.
    stride_bytes: usize,
    depth: Depth,
    /// Red and blue are swapped.
    red_first: bool,
}

/// Returns true if the driver that `dir` names has red and blue swapped. Two drivers may: the firmware's own on older Raspberry Pi
/// systems, unless it is configured otherwise, and the boot loader's (`simple`), whose device tree has the order.
///
/// # Errors
/// The driver's order is not supported.
fn red_first(dir: &Path) -> Result<bool, String> {
    let read =
        |path: PathBuf| std::fs::read_to_string(path).map(|text| text.trim_matches(['\0', '\n', ' ']).to_owned());
    let text = |name: &str| read(dir.join(name));
    // The folder itself may be a link; its parent is not.
    let module = dir.parent().unwrap_or(dir).join("../../module/bcm2708_fb/parameters/fbswap");
    match text("name").unwrap_or_default().as_str() {
        "BCM2708 FB" => Ok(read(module).is_ok_and(|swap| swap == "0" || swap == "N")),
        "simple" => match text("device/of_node/format").as_deref() {
            Ok("a8b8g8r8" | "x8b8g8r8" | "b8g8r8") => Ok(true),
            Ok("r5g6b5" | "r8g8b8" | "a8r8g8b8" | "x8r8g8b8") | Err(_) => Ok(false),
            Ok(other) => Err(format!("its pixels are {other}, which cannot be drawn; use kms")),
        },
        _ => Ok(false),
    }
}

impl Geometry {
    /// Reads `virtual_size`, `bits_per_pixel`, `stride` and, for the size of the visible part, `mode`.
    fn read(dir: &Path) -> Result<Geometry, String> {
        let text = |name: &str| {
            let path = dir.join(name);
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok::<_, String>(text.trim().to_owned())
        };
        let odd = |name: &str, text: &str| format!("{} has {text:?}", dir.join(name).display());
        let number = |name: &str| text(name).and_then(|t| t.parse::<usize>().map_err(|_| odd(name, &t)));
        let size = text("virtual_size")?;
        let (mut width, mut height) = pair(&size, ',').ok_or_else(|| odd("virtual_size", &size))?;
        // `U:640x480p-60`. The virtual size may include a second page, which is never visible.
        // `modes` lists modes that could be set. A driver without `mode` has one page.
        let mode = text("mode").unwrap_or_default();
        let mode = mode.split_once(':').and_then(|(_, m)| m.split(['p', 'i', 'd']).next());
        if let Some((w, h)) = mode.and_then(|m| pair(m, 'x')) {
            (width, height) = (width.min(w), height.min(h));
        }
        let depth = match number("bits_per_pixel")? {
            16 => Depth::Rgb565,
            24 => Depth::Rgb888,
            32 => Depth::Xrgb8888,
            bits => return Err(format!("it has {bits} bits a pixel; 16, 24 and 32 are supported")),
        };
        let stride_bytes = number("stride")?;
        let sane = (1..=SIDE_MAX).contains(&width) && (1..=SIDE_MAX).contains(&height);
        let fits = (width * depth.bytes()..=SIDE_MAX * 8).contains(&stride_bytes);
        if !sane || !fits {
            return Err(format!("{width}x{height} pixels with {stride_bytes} bytes a row make no screen"));
        }
        Ok(Geometry { width, height, stride_bytes, depth, red_first: depth != Depth::Rgb565 && red_first(dir)? })
    }
}

fn pair(text: &str, between: char) -> Option<(usize, usize)> {
    let (a, b) = text.split_once(between)?;
    Some((a.trim().parse().ok()?, b.trim().parse().ok()?))
}

/// A description of a framebuffer in words, from its folder in sysfs.
///
/// # Errors
/// Why it cannot be used.
pub fn describe(dir: &Path) -> Result<String, String> {
    let Geometry { width, height, depth, .. } = Geometry::read(dir)?;
    Ok(format!("{width}x{height} pixels of {} bits", depth.bytes() * 8))
}

/// The screen.
#[derive(Debug)]
pub struct Framebuffer {
    device: File,
    path: PathBuf,
    geometry: Geometry,
    look: Look,
    canvas: Canvas,
    screen: Vec<u8>,
}

impl Framebuffer {
    /// Opens a device.
    ///
    /// # Errors
    /// [`PanelError::Unavailable`] with what to do.
    pub fn open(device: &Path, look: Look) -> Result<Framebuffer, PanelError> {
        Framebuffer::open_as_described_in(device, Path::new(SYSFS), look)
    }

    /// Opens a device that `sysfs` describes, in a folder of the device's name.
    ///
    /// # Errors
    /// As [`Framebuffer::open`].
    pub fn open_as_described_in(device: &Path, sysfs: &Path, look: Look) -> Result<Framebuffer, PanelError> {
        let unavailable = |why| PanelError::Unavailable { name: "fb", why };
        let file = File::options().write(true).open(device).map_err(|e| unavailable(advice(device, &e)))?;
        // `/dev/fb/0` and links such as `/dev/fb-lcd` are described under the name of their target.
        let real = device.canonicalize().unwrap_or_else(|_| device.into());
        let name = real.file_name().ok_or_else(|| unavailable(format!("{} is no device", device.display())))?;
        let geometry = Geometry::read(&sysfs.join(name)).map_err(unavailable)?;
        let Geometry { width, height, stride_bytes, .. } = geometry;
        Ok(Framebuffer {
            device: file,
            path: device.into(),
            geometry,
            look,
            canvas: Canvas::new(width, height).turned(look.turn),
            screen: vec![0; stride_bytes * height],
        })
    }
}

/// An error of the system, with what to do.
fn advice(device: &Path, error: &io::Error) -> String {
    let device = device.display();
    match error.kind() {
        ErrorKind::NotFound => {
            format!("there is no {device}: is a display attached, and was it when the machine started?")
        }
        ErrorKind::PermissionDenied => {
            format!("{device}: {error}; add the user to the group video (sudo usermod -aG video USER) and log in again")
        }
        _ => format!("{device}: {error}"),
    }
}

/// The word `0x00RRGGBB`, or `0x00BBGGRR` if red and blue are swapped.
fn in_order(word: u32, red_first: bool) -> u32 {
    if red_first { word.swap_bytes() >> 8 } else { word }
}

/// Converts the canvas to the screen's format. Bytes after a row's last pixel are not changed.
fn convert(canvas: &Canvas, geometry: &Geometry, screen: &mut [u8]) {
    let rows = canvas.words().chunks_exact(geometry.width).zip(screen.chunks_exact_mut(geometry.stride_bytes));
    for (words, row) in rows {
        match geometry.depth {
            Depth::Rgb565 => {
                for (px, &word) in row.as_chunks_mut::<2>().0.iter_mut().zip(words) {
                    *px = super::rgb565(word).to_le_bytes();
                }
            }
            Depth::Rgb888 => {
                for (px, &word) in row.as_chunks_mut::<3>().0.iter_mut().zip(words) {
                    let [a, b, c, _] = in_order(word, geometry.red_first).to_le_bytes();
                    *px = [a, b, c];
                }
            }
            Depth::Xrgb8888 => {
                for (px, &word) in row.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                    *px = in_order(word, geometry.red_first).to_le_bytes();
                }
            }
        }
    }
}

impl Panel for Framebuffer {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        draw(&mut self.canvas, self.look.view, shot);
        convert(&self.canvas, &self.geometry, &mut self.screen);
        // One write at offset 0 unless a signal or the device cuts it short.
        self.device
            .write_all_at(&self.screen, 0)
            .map_err(|e| PanelError::Unavailable { name: "fb", why: format!("{}: {e}", self.path.display()) })
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        Ok(Wish::GoOn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ViewChoice;
    use crate::panel::tests::shot;

    /// A folder with a device (an ordinary file) and its description.
    fn fake(size: &str, bits: &str, stride: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("fb7");
        std::fs::write(&device, "").unwrap();
        let described = dir.path().join("sys/fb7");
        std::fs::create_dir_all(&described).unwrap();
        for (name, text) in [("virtual_size", size), ("bits_per_pixel", bits), ("stride", stride)] {
            std::fs::write(described.join(name), format!("{text}\n")).unwrap();
        }
        (dir, device)
    }

    fn open(dir: &tempfile::TempDir, device: &Path) -> Result<Framebuffer, PanelError> {
        Framebuffer::open_as_described_in(device, &dir.path().join("sys"), ViewChoice::Clustered.into())
    }

    fn refusal(size: &str, bits: &str, stride: &str) -> String {
        let (dir, device) = fake(size, bits, stride);
        open(&dir, &device).unwrap_err().to_string()
    }

    #[test]
    fn a_screen_of_32_bits_has_blue_first_and_its_rows_are_padded() {
        let (dir, device) = fake("8,4", "32", "40");
        let mut fb = open(&dir, &device).unwrap();
        fb.show(&shot()).unwrap();
        fb.show(&shot()).unwrap();
        let bytes = std::fs::read(&device).unwrap();
        assert_eq!(bytes.len(), 160, "the second picture lies over the first");
        // Two by one pixels, red and green, fit 8x4 exactly.
        assert_eq!((&bytes[..4], &bytes[3 * 40 + 28..3 * 40 + 32]), (&[0, 0, 200, 0][..], &[0, 100, 0, 0][..]));
        assert_eq!(bytes[32..40], [0; 8], "the padding");
    }

    #[test]
    fn a_screen_of_16_bits_has_565() {
        let (dir, device) = fake("8,4", "16", "20");
        open(&dir, &device).unwrap().show(&shot()).unwrap();
        let bytes = std::fs::read(&device).unwrap();
        let at = |x: usize, y: usize| u16::from_le_bytes([bytes[y * 20 + x * 2], bytes[y * 20 + x * 2 + 1]]);
        assert_eq!((bytes.len(), at(0, 0), at(3, 3), at(4, 0)), (80, 25 << 11, 25 << 11, 25 << 5));
    }

    #[test]
    fn only_the_visible_page_is_drawn() {
        let (dir, device) = fake("8,8", "32", "32");
        std::fs::write(dir.path().join("sys/fb7/mode"), "U:8x4p-60\n").unwrap();
        // Modes that could be set are ignored.
        std::fs::write(dir.path().join("sys/fb7/modes"), "U:4x2p-60\nU:8x4p-60\n").unwrap();
        open(&dir, &device).unwrap().show(&shot()).unwrap();
        assert_eq!(std::fs::read(&device).unwrap().len(), 8 * 4 * 4);
    }

    #[test]
    fn three_bytes_a_pixel_and_the_order_that_the_driver_has() {
        let first = |bits: &str, stride: &str, name: &str, format: Option<&str>| {
            let (dir, device) = fake("8,4", bits, stride);
            let sys = dir.path().join("sys/fb7");
            std::fs::write(sys.join("name"), format!("{name}\n")).unwrap();
            if let Some(format) = format {
                std::fs::create_dir_all(sys.join("device/of_node")).unwrap();
                std::fs::write(sys.join("device/of_node/format"), format!("{format}\0")).unwrap();
            }
            open(&dir, &device).map_err(|e| e.to_string()).map(|mut fb| {
                fb.show(&shot()).unwrap();
                std::fs::read(&device).unwrap()[..3].to_vec()
            })
        };
        assert_eq!(first("24", "24", "vc4drmfb", None), Ok(vec![0, 0, 200]));
        assert_eq!(first("32", "32", "BCM2708 FB", None), Ok(vec![0, 0, 200]), "as the boot loader sets it up");
        assert_eq!(first("32", "32", "simple", Some("a8r8g8b8")), Ok(vec![0, 0, 200]));
        assert_eq!(first("32", "32", "simple", Some("a8b8g8r8")), Ok(vec![200, 0, 0]));
        assert_eq!(first("24", "24", "simple", Some("b8g8r8")), Ok(vec![200, 0, 0]));
        assert!(first("32", "32", "simple", Some("x2r10g10b10")).unwrap_err().contains("x2r10g10b10"));
    }

    #[test]
    fn what_is_no_screen_is_refused_and_says_why() {
        assert!(refusal("8,4", "8", "8").contains("8 bits a pixel; 16, 24 and 32"));
        assert!(refusal("8;4", "32", "32").contains("virtual_size has \"8;4\""));
        assert!(refusal("8,4", "32", "31").contains("8x4 pixels with 31 bytes a row"));
        assert!(refusal("0,4", "32", "32").contains("make no screen"));
        assert!(refusal("99999,99999", "32", "399996").contains("make no screen"));
        let (dir, device) = fake("8,4", "32", "32");
        let gone = open(&dir, &device.with_file_name("fb8")).unwrap_err().to_string();
        assert!(gone.contains("there is no") && gone.contains("fb8"), "{gone}");
        std::fs::remove_dir_all(dir.path().join("sys")).unwrap();
        assert!(open(&dir, &device).unwrap_err().to_string().contains("virtual_size"));
    }

    #[test]
    fn permission_denied_names_the_group() {
        let text = advice(Path::new("/dev/fb0"), &io::Error::from(ErrorKind::PermissionDenied));
        assert!(text.contains("group video") && text.contains("/dev/fb0"), "{text}");
    }
}
