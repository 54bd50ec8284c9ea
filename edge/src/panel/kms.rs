//! KMS: a screen without a desktop, by the kernel's mode setting (`/dev/dri/card*`). The one door to `drm`.
//!
//! The panel takes the first connected connector, sets its preferred mode, and shows each picture in one of two dumb buffers
//! by a page flip, so that no half picture is seen. Where a driver has no page flip, the buffer is set and marked as changed
//! instead. On exit the screen gets back what it showed before, usually the console. One program at a time can drive a
//! screen: beside a desktop the panel is unavailable and reports why.

use super::canvas::Canvas;
use super::look::Look;
use super::{Panel, PanelError, Wish, draw};
use crate::slot::Shot;
use drm::Device as _;
use drm::buffer::{Buffer as _, DrmFourcc};
use drm::control::dumbbuffer::DumbBuffer;
use drm::control::{
    ClipRect, Device as _, Mode, ModeTypeFlags, PageFlipFlags, ResourceHandles, connector, crtc, framebuffer,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Where the kernel's cards are.
const DIR: &str = "/dev/dri";
/// Larger modes are skipped if there is a smaller one, because the processor draws every pixel.
const MODE_PIXELS_MAX: usize = 1920 * 1200;
/// How long a page flip may take. The slowest mode has 24 pictures a second; a screen that was switched off has none.
const FLIP_LIMIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// `errno` of a call that only the program that drives the screen may make.
const EACCES: i32 = 13;

/// An open card.
#[derive(Debug)]
struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl drm::control::Device for Card {}

/// The connector, encoder and mode of a screen, as found on a card.
struct Output {
    connector: connector::Handle,
    name: String,
    crtc: crtc::Handle,
    mode: Mode,
}

/// A picture in the card's memory.
struct Page {
    memory: DumbBuffer,
    framebuffer: framebuffer::Handle,
}

/// How a finished page is brought to the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// At the next vertical blank; the kernel reports when it is done.
    Flip,
    /// At once. Drivers that keep a copy are notified of the change.
    Set,
}

/// The screen.
pub struct Kms {
    card: Card,
    path: PathBuf,
    output: Output,
    /// The screen's state before it was taken over.
    before: Option<crtc::Info>,
    pages: Vec<Page>,
    /// The page that is drawn next.
    next: usize,
    way: Way,
    /// A page flip is under way.
    pending: bool,
    look: Look,
    canvas: Canvas,
}

fn unavailable(why: String) -> PanelError {
    PanelError::Unavailable { name: "kms", why }
}

/// The cards of this machine, by number. A Pi has one for the 3D unit, which drives no screen.
fn cards() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(DIR).into_iter().flatten().flatten();
    let number = |e: &std::fs::DirEntry| e.file_name().to_str()?.strip_prefix("card")?.parse::<u32>().ok();
    let mut cards: Vec<(u32, PathBuf)> = entries.filter_map(|e| Some((number(&e)?, e.path()))).collect();
    cards.sort();
    cards.into_iter().map(|(_, path)| path).collect()
}

/// Opens the card and finds its screen.
fn look_at(path: &Path) -> Result<(Card, Output), String> {
    let file = File::options().read(true).write(true).open(path).map_err(|e| advice(path, &e))?;
    let card = Card(file);
    let resources = card.resource_handles().map_err(|_| format!("{} drives no screen", path.display()))?;
    let output = find_output(&card, &resources).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok((card, output))
}

/// The card with a screen: the one that `path` names, or the first.
fn find(path: &str) -> Result<(Card, PathBuf, Output), String> {
    let cards = if path.is_empty() { cards() } else { vec![path.into()] };
    if cards.is_empty() {
        return Err(format!("there is no {DIR}/card*: the kernel has no driver for a screen"));
    }
    let mut why = Vec::new();
    for path in cards {
        match look_at(&path) {
            Ok((card, output)) => return Ok((card, path, output)),
            Err(e) => why.push(e),
        }
    }
    Err(why.join("; "))
}

fn advice(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!("there is no {path}"),
        ErrorKind::PermissionDenied => {
            format!("{path}: {error}; add the user to the group video (sudo usermod -aG video USER) and log in again")
        }
        _ => format!("{path}: {error}"),
    }
}

fn find_output(card: &Card, resources: &ResourceHandles) -> Result<Output, String> {
    let probe = |handle: &connector::Handle| card.get_connector(*handle, true).ok();
    let connectors: Vec<connector::Info> = resources.connectors().iter().filter_map(probe).collect();
    let in_state = |state| connectors.iter().find(|c| c.state() == state && !c.modes().is_empty());
    // Some analogue outputs cannot detect a connection.
    let found = in_state(connector::State::Connected).or_else(|| in_state(connector::State::Unknown));
    let connector = found.ok_or_else(|| match connectors.len() {
        0 => "it drives no screen".to_owned(),
        n => format!("no screen is connected to its {n} connectors"),
    })?;
    let name = format!("{}-{}", connector.interface().as_str(), connector.interface_id());
    let modes: Vec<Offer> = connector.modes().iter().map(Offer::of).collect();
    let mode = choose(&modes).and_then(|i| connector.modes().get(i)).ok_or("its screen has no mode")?;
    let now = connector.current_encoder().and_then(|e| card.get_encoder(e).ok()).and_then(|e| e.crtc());
    let possible = || {
        let encoders = connector.encoders().iter().filter_map(|e| card.get_encoder(*e).ok());
        encoders.flat_map(|e| resources.filter_crtcs(e.possible_crtcs())).next()
    };
    let crtc = now.or_else(possible).ok_or("nothing can drive its screen")?;
    Ok(Output { connector: connector.handle(), name, crtc, mode: *mode })
}

/// The properties of a mode that the choice depends on.
#[derive(Debug, Clone, Copy)]
struct Offer {
    pixels: usize,
    preferred: bool,
}

impl Offer {
    fn of(mode: &Mode) -> Offer {
        let (width, height) = mode.size();
        let preferred = mode.mode_type().contains(ModeTypeFlags::PREFERRED);
        Offer { pixels: usize::from(width) * usize::from(height), preferred }
    }
}

/// The preferred mode, or the first, unless it is larger than [`MODE_PIXELS_MAX`] and another one is not: then the largest of
/// those.
fn choose(offers: &[Offer]) -> Option<usize> {
    let wanted = offers.iter().position(|o| o.preferred).unwrap_or(0);
    if offers.get(wanted)?.pixels <= MODE_PIXELS_MAX {
        return Some(wanted);
    }
    let mut smaller: Vec<usize> = (0..offers.len()).filter(|&i| offers[i].pixels <= MODE_PIXELS_MAX).collect();
    // Drivers list modes of one size by rate, the best first.
    smaller.sort_by_key(|&i| std::cmp::Reverse(offers[i].pixels));
    Some(smaller.first().copied().unwrap_or(wanted))
}

/// The connected screen of the card that `path` names, or of the first one with a screen, in words. Nothing is changed.
///
/// # Errors
/// Why there is none.
pub fn describe(path: &str) -> Result<String, String> {
    let (_, path, output) = find(path)?;
    let (width, height) = output.mode.size();
    Ok(format!("{} on {}: {width}x{height} at {} Hz", path.display(), output.name, output.mode.vrefresh()))
}

impl Kms {
    /// Takes over the screen of the card that `path` names, or of the first one with a screen if it is empty.
    ///
    /// # Errors
    /// [`PanelError::Unavailable`] if there is no screen, or another program drives it.
    pub fn open(path: &str, look: Look) -> Result<Kms, PanelError> {
        let (card, path, output) = find(path).map_err(unavailable)?;
        card.acquire_master_lock().map_err(|e| {
            unavailable(format!("{}: another program, such as a desktop, drives the screen ({e})", path.display()))
        })?;
        let (width, height) = output.mode.size();
        let before = card.get_crtc(output.crtc).ok();
        let canvas = Canvas::new(usize::from(width), usize::from(height)).turned(look.turn);
        // From here on, dropping the panel frees its resources.
        let mut kms = Kms {
            card,
            path,
            output,
            before,
            pages: Vec::with_capacity(2),
            next: 0,
            way: Way::Flip,
            pending: false,
            look,
            canvas,
        };
        for _ in 0..2 {
            let page = kms.page().map_err(|e| kms.failed("no memory for a picture of 32 bits a pixel", &e))?;
            kms.pages.push(page);
        }
        kms.set(0).map_err(|e| kms.failed("the mode cannot be set", &e))?;
        let output = &kms.output;
        log::info!("display kms: {} on {}, {width}x{height}", kms.path.display(), output.name);
        kms.next = 1;
        Ok(kms)
    }

    fn failed(&self, what: &str, error: &io::Error) -> PanelError {
        unavailable(format!("{} ({}): {what}: {error}", self.path.display(), self.output.name))
    }

    fn page(&self) -> io::Result<Page> {
        let size = (self.canvas.width() as u32, self.canvas.height() as u32);
        let memory = self.card.create_dumb_buffer(size, DrmFourcc::Xrgb8888, 32)?;
        match self.card.add_framebuffer(&memory, 24, 32) {
            Ok(framebuffer) => Ok(Page { memory, framebuffer }),
            Err(e) => {
                let _ = self.card.destroy_dumb_buffer(memory);
                Err(e)
            }
        }
    }

    /// Puts a page on the screen at once, with the mode.
    fn set(&self, page: usize) -> io::Result<()> {
        let Some(page) = self.pages.get(page) else { return Ok(()) };
        let Output { crtc, connector, mode, .. } = self.output;
        self.card.set_crtc(crtc, Some(page.framebuffer), (0, 0), &[connector], Some(mode))?;
        let (width, height) = mode.size();
        // Drivers that show the buffer itself return an error here, which is ignored.
        let _ = self.card.dirty_framebuffer(page.framebuffer, &[ClipRect::new(0, 0, width, height)]);
        Ok(())
    }

    /// Waits until the last page flip is done, so that the other page may be drawn on.
    fn settle(&mut self) -> io::Result<()> {
        while self.pending {
            let mut fds = [PollFd::new(&self.card, PollFlags::IN)];
            match poll(&mut fds, Some(&FLIP_LIMIT)) {
                Ok(0) => return Err(io::Error::new(ErrorKind::TimedOut, "the screen does not take pictures")),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
            let mut events = self.card.receive_events()?;
            if events.any(|e| matches!(e, drm::control::Event::PageFlip(_))) {
                self.pending = false;
            }
        }
        Ok(())
    }

    /// Brings the page that was just drawn to the screen.
    fn present(&mut self) -> io::Result<()> {
        if self.way == Way::Flip {
            let Some(page) = self.pages.get(self.next) else { return Ok(()) };
            match self.card.page_flip(self.output.crtc, page.framebuffer, PageFlipFlags::EVENT, None) {
                Ok(()) => {
                    self.pending = true;
                    return Ok(());
                }
                Err(e) if e.raw_os_error() == Some(EACCES) => return Err(e),
                Err(e) => {
                    log::info!("display kms: {} has no page flip ({e}); pictures may tear", self.path.display());
                    self.way = Way::Set;
                }
            }
        }
        self.set(self.next)
    }

    fn update(&mut self) -> io::Result<()> {
        self.settle()?;
        let Some(page) = self.pages.get_mut(self.next) else { return Ok(()) };
        let pitch = page.memory.pitch() as usize;
        let mut memory = self.card.map_dumb_buffer(&mut page.memory)?;
        copy(&self.canvas, pitch, &mut memory);
        drop(memory);
        self.present()?;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// Converts the canvas to XRGB8888 with rows of `pitch` bytes. Bytes after a row's last pixel are not changed.
fn copy(canvas: &Canvas, pitch: usize, to: &mut [u8]) {
    for (words, row) in canvas.words().chunks_exact(canvas.width().max(1)).zip(to.chunks_mut(pitch.max(1))) {
        for (px, &word) in row.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *px = word.to_le_bytes();
        }
    }
}

impl Panel for Kms {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        draw(&mut self.canvas, self.look.view, shot);
        self.update().map_err(|e| self.failed("the picture cannot be shown", &e))
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        Ok(Wish::GoOn)
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        // A screen that is gone cannot be restored.
        let _ = self.settle();
        let Output { crtc, connector, .. } = self.output;
        if let Some(before) = &self.before {
            let connectors: &[connector::Handle] = if before.mode().is_some() { &[connector] } else { &[] };
            let restored = self.card.set_crtc(crtc, before.framebuffer(), before.position(), connectors, before.mode());
            if let Err(e) = restored {
                log::debug!("display kms: the screen does not get back what it showed before: {e}");
            }
        }
        for page in self.pages.drain(..) {
            let _ = self.card.destroy_framebuffer(page.framebuffer);
            let _ = self.card.destroy_dumb_buffer(page.memory);
        }
        let _ = self.card.release_master_lock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ViewChoice;

    fn offers(modes: &[(usize, usize, bool)]) -> Vec<Offer> {
        modes.iter().map(|&(w, h, preferred)| Offer { pixels: w * h, preferred }).collect()
    }

    #[test]
    fn the_preferred_mode_is_taken_unless_it_is_too_large_to_draw() {
        assert_eq!(choose(&offers(&[(1024, 768, false), (1920, 1080, true), (800, 600, false)])), Some(1));
        assert_eq!(choose(&offers(&[(1024, 768, false), (800, 600, false)])), Some(0));
        let ultra = [(3840, 2160, true), (1280, 720, false), (1920, 1080, false), (1920, 1080, false)];
        assert_eq!(choose(&offers(&ultra)), Some(2));
        assert_eq!(choose(&offers(&ultra[..1])), Some(0), "the only one");
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn pixels_are_blue_green_red_and_a_rows_padding_stays() {
        use embedded_graphics::pixelcolor::Rgb888;
        use embedded_graphics::prelude::*;
        let mut canvas = Canvas::new(2, 2);
        canvas.clear(Rgb888::new(1, 2, 3)).unwrap();
        let mut memory = [9; 24];
        copy(&canvas, 12, &mut memory);
        assert_eq!(memory, [3, 2, 1, 0, 3, 2, 1, 0, 9, 9, 9, 9, 3, 2, 1, 0, 3, 2, 1, 0, 9, 9, 9, 9]);
    }

    #[test]
    fn what_is_no_card_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card0");
        let open = || Kms::open(path.to_str().unwrap(), ViewChoice::Clustered.into()).err().unwrap().to_string();
        assert!(open().contains("there is no") && open().contains("card0"), "{}", open());
        std::fs::write(&path, "").unwrap();
        assert!(open().contains("drives no screen"), "{}", open());
        let text = advice(&path, &io::Error::from(ErrorKind::PermissionDenied));
        assert!(text.contains("group video"), "{text}");
    }
}
