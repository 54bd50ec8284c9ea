//! The display `auto`: the first that works of those that make sense here.
//!
//! What surrounds the program (a desktop, a terminal, an attached display) decides which are tried and in which order. The
//! log says which one was taken and why not those before it.

use super::{Panel, PanelError};
use crate::spec::DisplaySpec;
use std::io::IsTerminal;

/// The framebuffer that `auto` tries: the first one is the screen of a Pi without a desktop.
const FRAMEBUFFER: &str = "/dev/fb0";

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
    fn candidates(self) -> [(DisplaySpec, Option<&'static str>); 5] {
        let unless = |there: bool, why| (!there).then_some(why);
        [
            (DisplaySpec::Spi, unless(self.spi, "spi.board names none")),
            // A desktop would draw over the framebuffer, so there only a window is seen.
            (DisplaySpec::Window, unless(self.desktop, "there is no desktop")),
            (DisplaySpec::Framebuffer(FRAMEBUFFER.into()), unless(!self.desktop, "the desktop covers it")),
            (DisplaySpec::Terminal, unless(self.terminal, "this is not run from one")),
            (DisplaySpec::Preview(None), None),
        ]
    }
}

/// The displays that are tried, in order, by someone at a terminal.
pub fn order(spi: bool, desktop: bool) -> impl Iterator<Item = DisplaySpec> {
    let around = Around { spi, desktop, terminal: true };
    around.candidates().into_iter().filter(|(_, never)| never.is_none()).map(|(spec, _)| spec)
}

/// Opens the first display that works, and logs which it is and why.
///
/// # Errors
/// [`PanelError::Unavailable`] with the reasons of all of them.
pub(super) fn open(
    around: Around,
    mut open: impl FnMut(&DisplaySpec) -> Result<Option<Box<dyn Panel>>, PanelError>,
) -> Result<Box<dyn Panel>, PanelError> {
    let (found, why) = choose(around, &mut open);
    let why = why.join("; ");
    let (spec, panel) = found.ok_or_else(|| PanelError::Unavailable { name: "auto", why: why.clone() })?;
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    log::info!("display auto: {spec}{why}");
    Ok(panel)
}

fn choose<P>(
    around: Around,
    open: &mut impl FnMut(&DisplaySpec) -> Result<Option<P>, PanelError>,
) -> (Option<(DisplaySpec, P)>, Vec<String>) {
    let mut not = Vec::new();
    for (spec, never) in around.candidates() {
        if let Some(why) = never {
            not.push(format!("no {spec}: {why}"));
            continue;
        }
        match open(&spec) {
            Ok(Some(panel)) => return (Some((spec, panel)), not),
            Ok(None) => {}
            Err(PanelError::Unavailable { why, .. } | PanelError::Impossible { why, .. }) => {
                not.push(format!("no {spec}: {why}"));
            }
            Err(other) => not.push(format!("no {spec}: {other}")),
        }
    }
    (None, not)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen where only `work` can be opened, and why not the others.
    fn chosen(spi: bool, desktop: bool, terminal: bool, work: &[&str]) -> (Option<String>, String) {
        let mut open = |spec: &DisplaySpec| match work.contains(&spec.to_string().as_str()) {
            true => Ok(Some(())),
            false => Err(PanelError::Unavailable { name: "x", why: "it is broken".into() }),
        };
        let (found, why) = choose(Around { spi, desktop, terminal }, &mut open);
        (found.map(|(spec, ())| spec.to_string()), why.join("; "))
    }

    #[test]
    fn the_first_display_that_works_is_used() {
        let all = ["spi", "window", "fb:/dev/fb0", "terminal", "preview"];
        assert_eq!(chosen(true, true, true, &all).0.as_deref(), Some("spi"));
        assert_eq!(chosen(false, true, true, &all).0.as_deref(), Some("window"));
        assert_eq!(chosen(false, false, true, &all).0.as_deref(), Some("fb:/dev/fb0"));
        assert_eq!(chosen(false, false, true, &all[3..]).0.as_deref(), Some("terminal"));
        assert_eq!(chosen(false, false, false, &all[3..]).0.as_deref(), Some("preview"));
        assert_eq!(chosen(true, true, true, &[]).0.as_deref(), None);
    }

    #[test]
    fn a_desktop_never_has_its_framebuffer_drawn_on() {
        assert_eq!(chosen(false, true, true, &["fb:/dev/fb0", "terminal"]).0.as_deref(), Some("terminal"));
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
