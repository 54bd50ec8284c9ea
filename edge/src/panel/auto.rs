//! Auto: chooses a display when the configuration names none.
//!
//! Inputs are the program's surroundings and a function that opens a display. The result is the first display that opens; the log
//! names it, and why those before it did not open. The variables that name a desktop and systemd's list of sessions are read. If no
//! display opens, the edge still clusters and sends.

use super::{Panel, PanelError};
use crate::spec::DisplaySpec;
use std::io::IsTerminal;
use std::path::Path;

/// The framebuffer that `auto` tries: the first one is the screen of a Pi without a desktop.
const FRAMEBUFFER: &str = "/dev/fb0";
/// Where systemd describes the sessions of a machine, readable by everyone.
const SESSIONS_DIR: &str = "run/systemd/sessions";

/// The program's surroundings, as far as they decide on a display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Around {
    /// The configuration describes an attached display.
    pub spi: bool,
    /// A desktop to open a window on.
    pub desktop: bool,
    /// The desktop of another session has the screen; this process, for example a service, cannot draw on it.
    pub covered: bool,
    /// A person at a terminal.
    pub terminal: bool,
}

/// Why the screen cannot be used while a desktop has it, and what to do.
const COVERED: &str = "a desktop has the screen, and a service cannot draw on a desktop: start hueflow-edge in the desktop's \
                       session, boot to the console (sudo raspi-config nonint do_boot_behaviour B1), or use preview or spi";

/// Returns true if a desktop has the screen of the machine whose files are under `root`, or takes it later while the machine
/// starts. A program that takes the screen earlier keeps the desktop from starting.
pub fn has_desktop(root: &Path) -> bool {
    has_session(&root.join(SESSIONS_DIR))
        || will_start(&root.join("etc/systemd/system"), &root.join("usr/lib/systemd/system"))
}

/// Whether a graphical session is active on the screen, by the files of systemd-logind.
fn has_session(dir: &Path) -> bool {
    let sessions = std::fs::read_dir(dir).into_iter().flatten().flatten();
    sessions.filter_map(|e| std::fs::read_to_string(e.path()).ok()).any(|text| {
        let is = |key: &str, values: &[&str]| {
            text.lines().filter_map(|l| l.split_once('=')).any(|(k, v)| k == key && values.contains(&v))
        };
        is("TYPE", &["x11", "wayland", "mir"]) && is("ACTIVE", &["1"]) && is("SEAT", &["seat0"])
    })
}

/// Whether the machine starts a display manager, by the units that are enabled.
fn will_start(enabled: &Path, shipped: &Path) -> bool {
    let target = |dir: &Path| std::fs::read_link(dir.join("default.target"));
    let target = target(enabled).or_else(|_| target(shipped));
    let is_graphical = target.is_ok_and(|t| t.file_name().is_some_and(|name| name == "graphical.target"));
    is_graphical && enabled.join("display-manager.service").symlink_metadata().is_ok()
}

impl Around {
    /// The surroundings of this process. `spi`: the configuration describes an attached display.
    pub(super) fn here(spi: bool) -> Around {
        let set = |variable| std::env::var_os(variable).is_some_and(|v| !v.is_empty());
        let desktop = set("DISPLAY") || set("WAYLAND_DISPLAY");
        Around {
            spi,
            desktop,
            covered: !desktop && has_desktop(Path::new("/")),
            terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        }
    }

    /// The displays in the order in which they are tried. A display that is not tried has a reason.
    fn candidates(self) -> [(DisplaySpec, Option<&'static str>); 6] {
        let unless = |there: bool, why| (!there).then_some(why);
        // A desktop draws over the framebuffer and is the only program that may set a mode, so only a window is visible.
        let screen = match self {
            Around { desktop: true, .. } => Some("the desktop has the screen"),
            Around { covered: true, .. } => Some(COVERED),
            _ => None,
        };
        [
            (DisplaySpec::Spi, unless(self.spi, "spi.board names none")),
            (DisplaySpec::Window, unless(self.desktop, "there is no desktop")),
            (DisplaySpec::Kms(None), screen),
            // The same reason applies to both, so it is given once.
            (DisplaySpec::Framebuffer(FRAMEBUFFER.into()), screen.map(|_| "as kms")),
            (DisplaySpec::Terminal, unless(self.terminal, "this is not run from one")),
            (DisplaySpec::Preview(None), None),
        ]
    }
}

/// The displays that are tried for a person at a terminal, in order.
pub fn order(spi: bool, desktop: bool, covered: bool) -> impl Iterator<Item = DisplaySpec> {
    let around = Around { spi, desktop, covered, terminal: true };
    around.candidates().into_iter().filter(|(_, never)| never.is_none()).map(|(spec, _)| spec)
}

/// Opens the first display that works, and logs its name and why others did not open.
///
/// # Errors
/// [`PanelError::Unavailable`] with every display's reason.
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

    /// The display that is chosen if only `work` can be opened, and why the others are not.
    fn chosen(around: Around, work: &[&str]) -> (Option<String>, String) {
        let mut open = |spec: &DisplaySpec| match work.contains(&spec.to_string().as_str()) {
            true => Ok(Some(())),
            false => Err(PanelError::Unavailable { name: "x", why: "it is broken".into() }),
        };
        let (found, why) = choose(around, &mut open);
        (found.map(|(spec, ())| spec.to_string()), why.join("; "))
    }

    const BARE: Around = Around { spi: false, desktop: false, covered: false, terminal: false };
    const DESKTOP: Around = Around { desktop: true, terminal: true, ..BARE };

    #[test]
    fn the_first_display_that_works_is_used() {
        let all = ["spi", "window", "kms", "fb:/dev/fb0", "terminal", "preview"];
        let console = Around { terminal: true, ..BARE };
        assert_eq!(chosen(Around { spi: true, ..DESKTOP }, &all).0.as_deref(), Some("spi"));
        assert_eq!(chosen(DESKTOP, &all).0.as_deref(), Some("window"));
        assert_eq!(chosen(console, &all).0.as_deref(), Some("kms"));
        assert_eq!(chosen(console, &all[3..]).0.as_deref(), Some("fb:/dev/fb0"));
        assert_eq!(chosen(console, &all[4..]).0.as_deref(), Some("terminal"));
        assert_eq!(chosen(BARE, &all[4..]).0.as_deref(), Some("preview"));
        assert_eq!(chosen(Around { spi: true, ..DESKTOP }, &[]).0.as_deref(), None);
    }

    #[test]
    fn a_desktop_never_has_its_screen_drawn_on_and_a_service_beside_it_is_told_what_works() {
        let screens = ["kms", "fb:/dev/fb0", "terminal", "preview"];
        assert_eq!(chosen(DESKTOP, &screens).0.as_deref(), Some("terminal"));
        let (found, why) = chosen(Around { covered: true, ..BARE }, &screens);
        assert_eq!(found.as_deref(), Some("preview"));
        assert!(why.contains("no kms: a desktop has the screen") && why.contains("preview or spi"), "{why}");
    }

    #[test]
    fn a_desktop_is_an_active_graphical_session_on_the_screen() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(SESSIONS_DIR);
        std::fs::create_dir_all(&dir).unwrap();
        let session = |text: &str| {
            std::fs::write(dir.join("1"), text).unwrap();
            has_desktop(root.path())
        };
        assert!(session("UID=1000\nACTIVE=1\nTYPE=wayland\nCLASS=user\nSEAT=seat0\n"));
        assert!(!session("UID=1000\nACTIVE=0\nTYPE=wayland\nSEAT=seat0\n"), "another console is in front");
        assert!(!session("UID=1000\nACTIVE=1\nTYPE=tty\nSEAT=seat0\n"));
        assert!(!session("UID=1000\nACTIVE=1\nTYPE=x11\n"), "a session over the network");
        assert!(!has_desktop(&dir.join("none")));
    }

    #[test]
    fn a_desktop_that_is_yet_to_start_has_the_screen_too() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let (enabled, shipped) = (root.path().join("etc/systemd/system"), root.path().join("usr/lib/systemd/system"));
        std::fs::create_dir_all(&enabled).unwrap();
        std::fs::create_dir_all(&shipped).unwrap();
        symlink("graphical.target", shipped.join("default.target")).unwrap();
        assert!(!has_desktop(root.path()), "no display manager is installed");
        symlink("/lib/systemd/system/lightdm.service", enabled.join("display-manager.service")).unwrap();
        assert!(has_desktop(root.path()));
        symlink("/lib/systemd/system/multi-user.target", enabled.join("default.target")).unwrap();
        assert!(!has_desktop(root.path()), "the machine starts to the console");
    }

    #[test]
    fn each_display_passed_over_is_named_with_the_reason() {
        let (_, why) = chosen(Around { spi: true, ..BARE }, &["preview"]);
        assert_eq!(
            why,
            "no spi: it is broken; no window: there is no desktop; no kms: it is broken; no fb:/dev/fb0: it is broken; \
             no terminal: this is not run from one"
        );
    }
}
