//! Auto: which display to use when nobody says which.
//!
//! Takes what surrounds the program, and the way to open a display. Gives the first that opens, and why not those before.
//! Touches the environment's variables that name a desktop.
//! Never an error: with no display at all the edge still clusters and sends.

use super::{Panel, PanelError};
use std::io::IsTerminal;

/// What surrounds the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Around {
    /// The configuration describes an attached display.
    pub spi: bool,
    /// A desktop to open a window on.
    pub desktop: bool,
    /// A person at a terminal.
    pub terminal: bool,
}

impl Around {
    /// What surrounds this process, `spi` being what the configuration says.
    pub(super) fn here(spi: bool) -> Around {
        let set = |variable| std::env::var_os(variable).is_some_and(|v| !v.is_empty());
        Around {
            spi,
            desktop: set("DISPLAY") || set("WAYLAND_DISPLAY"),
            terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        }
    }

    /// The displays in the order in which they are tried, each with why it is not tried at all.
    fn candidates(self) -> [(&'static str, Option<&'static str>); 5] {
        let unless = |there: bool, why| (!there).then_some(why);
        [
            ("spi", unless(self.spi, "spi.board names none")),
            // A desktop would draw over the framebuffer, so there only a window is seen.
            ("window", unless(self.desktop, "there is no desktop")),
            ("fb:/dev/fb0", unless(!self.desktop, "the desktop covers it")),
            ("terminal", unless(self.terminal, "this is not run from one")),
            ("preview", None),
        ]
    }
}

/// The displays that are tried, in order, by someone at a terminal.
pub(super) fn order(spi: bool, desktop: bool) -> impl Iterator<Item = &'static str> {
    let around = Around { spi, desktop, terminal: true };
    around.candidates().into_iter().filter(|(_, never)| never.is_none()).map(|(name, _)| name)
}

/// Opens the first display that works, and says which it is and why.
pub(super) fn open(
    around: Around,
    mut open: impl FnMut(&str) -> Result<Box<dyn Panel>, PanelError>,
) -> Option<Box<dyn Panel>> {
    let (found, why) = choose(around, &mut open);
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
    match found {
        Some((name, panel)) => {
            log::info!("display auto: {name}{why}");
            Some(panel)
        }
        None => {
            log::warn!("display auto: none{why}");
            None
        }
    }
}

fn choose<P>(
    around: Around,
    open: &mut impl FnMut(&str) -> Result<P, PanelError>,
) -> (Option<(&'static str, P)>, Vec<String>) {
    let mut not = Vec::new();
    for (name, never) in around.candidates() {
        if let Some(why) = never {
            not.push(format!("no {name}: {why}"));
            continue;
        }
        match open(name) {
            Ok(panel) => return (Some((name, panel)), not),
            Err(PanelError::Unavailable { why, .. }) => not.push(format!("no {name}: {why}")),
            Err(other) => not.push(format!("no {name}: {other}")),
        }
    }
    (None, not)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen where only `work` can be opened, and why not the others.
    fn chosen(spi: bool, desktop: bool, terminal: bool, work: &[&str]) -> (Option<&'static str>, String) {
        let mut open = |name: &str| match work.contains(&name) {
            true => Ok(()),
            false => Err(PanelError::Unavailable { name: "x", why: "it is broken".into() }),
        };
        let (found, why) = choose(Around { spi, desktop, terminal }, &mut open);
        (found.map(|(name, ())| name), why.join("; "))
    }

    #[test]
    fn the_first_display_that_works_is_used() {
        let all = ["spi", "window", "fb:/dev/fb0", "terminal", "preview"];
        assert_eq!(chosen(true, true, true, &all).0, Some("spi"));
        assert_eq!(chosen(false, true, true, &all).0, Some("window"));
        assert_eq!(chosen(false, false, true, &all).0, Some("fb:/dev/fb0"));
        assert_eq!(chosen(false, false, true, &all[3..]).0, Some("terminal"));
        assert_eq!(chosen(false, false, false, &all[3..]).0, Some("preview"));
        assert_eq!(chosen(true, true, true, &[]).0, None);
    }

    #[test]
    fn a_desktop_never_has_its_framebuffer_drawn_on() {
        assert_eq!(chosen(false, true, true, &["fb:/dev/fb0", "terminal"]).0, Some("terminal"));
    }

    #[test]
    fn each_display_passed_over_is_named_with_the_reason() {
        let (_, why) = chosen(true, false, false, &["preview"]);
        assert_eq!(
            why,
            "no spi: it is broken; no window: there is no desktop; no fb:/dev/fb0: it is broken; no terminal: this is not run from one"
        );
    }
}
