//! Show: the thread that puts the newest picture on the displays.
//!
//! Takes pictures out of the slot. Gives them to each panel, and sets the stop flag when someone there wants it.
//! Touches the panels.
//! Never holds See up, unless a panel wants every frame.

use crate::config::Config;
use crate::exit::Failure;
use crate::gauge::Gauge;
use crate::panel::{self, Panel, PanelError, Wish};
use crate::slot::{Shot, Slot, Taken};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

/// Keys and windows are looked after this often.
const TEND_EVERY: Duration = Duration::from_millis(20);

/// What Show tells at its start: whether a panel wants every frame, or why there are no panels.
pub type Opened = Result<Plan, Failure>;

/// What the panels need of See.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    /// There is a panel at all.
    pub any: bool,
    /// A panel wants every frame.
    pub every_frame: bool,
    /// A panel fills the terminal.
    pub fills_terminal: bool,
}

/// Runs until the slot is closed and empty, or a panel fails.
///
/// # Errors
/// [`Failure`] of a panel; the stop flag is set then.
pub fn run(config: &Config, slot: &Slot, stop: &AtomicBool, opened: &SyncSender<Opened>) -> Result<(), Failure> {
    let mut panels = match panel::open(config, "Hueflow") {
        Ok(panels) => panels,
        Err(error) => {
            // The one who waits for this answer ends the program.
            let _ = opened.send(Err(error.into()));
            return Ok(());
        }
    };
    let _ = opened.send(Ok(Plan {
        any: !panels.is_empty(),
        every_frame: panels.iter().any(|p| p.wants_every_frame()),
        fills_terminal: panels.iter().any(|p| p.fills_terminal()),
    }));
    let end = show(&mut panels, slot, stop);
    // Whatever happened, nobody may wait for a picture to be taken any more.
    slot.close();
    if end.is_err() {
        stop.store(true, Ordering::Relaxed);
    }
    end.map_err(Failure::from)
}

fn show(panels: &mut [Box<dyn Panel>], slot: &Slot, stop: &AtomicBool) -> Result<(), PanelError> {
    let mut shot = Box::<Shot>::default();
    let mut gauge = Gauge::default();
    loop {
        match slot.take(&mut shot, TEND_EVERY) {
            Taken::Picture => {
                panels.iter_mut().try_for_each(|p| p.show(&shot))?;
                gauge.add(Instant::now(), age(&shot));
            }
            Taken::Nothing => {}
            Taken::Closed => {
                if gauge.count() > 0 && !panels.is_empty() {
                    let (count, rate) = (gauge.count(), gauge.per_second());
                    log::info!("{count} pictures shown, {rate:.1} a second; from capture to display {gauge}");
                }
                return Ok(());
            }
        }
        for panel in panels.iter_mut() {
            if panel.tend()? == Wish::Stop {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// How long ago it was captured.
fn age(shot: &Shot) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_micros(shot.captured_at_us))
}
