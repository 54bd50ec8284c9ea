//! Display: whether each display that is configured can be used, and for `auto` which one it would be.
//!
//! Inputs are the configuration and the machine, the result is one line for each display. SPI device, GPIO chips, cards,
//! framebuffers and their descriptions are opened, and a socket listens for a moment. Nothing is drawn, no mode is set, and no
//! line is driven.

use super::host::Host;
use crate::config::Config;
use crate::panel::board::Board;
use crate::panel::{auto, framebuffer};
use crate::spec::DisplaySpec;
use crate::spec::display::preview_address;
use ::host::check::{Line, State};
use std::io::ErrorKind;

const BUFSIZ: &str = "/sys/module/spidev/parameters/bufsiz";
/// The kernel's default.
const BUFSIZ_DEFAULT: usize = 4096;
/// More gains nothing.
const BUFSIZ_GOOD: usize = 65_536;

/// A GPIO line's name, and who uses it.
pub(super) type Gpio = (String, Option<String>);

/// The GPIO lines of this machine, and which chips refused; nothing is known of another's.
fn gpio(host: &Host) -> (Vec<Gpio>, Vec<String>) {
    #[cfg(feature = "spi")]
    if host.is_this() {
        return crate::panel::spi::line_names();
    }
    let _ = host;
    Default::default()
}

/// A line for each display.
pub(super) fn check(host: &Host, config: &Config) -> Vec<Line> {
    let (lines, refused) = gpio(host);
    check_with(host, config, &lines, &refused)
}

fn check_with(host: &Host, config: &Config, gpio: &[Gpio], refused: &[String]) -> Vec<Line> {
    let one = |spec: &DisplaySpec| match spec {
        DisplaySpec::None | DisplaySpec::Auto => Line::ok("display", "none is asked for"),
        DisplaySpec::Spi => spi(host, config.spi.as_ref(), gpio, refused),
        DisplaySpec::Kms(card) => kms(host, &card.as_deref().unwrap_or("".as_ref()).to_string_lossy()),
        DisplaySpec::Framebuffer(device) => fb(host, &device.to_string_lossy()),
        DisplaySpec::Window => window(host),
        DisplaySpec::Terminal => terminal(host),
        DisplaySpec::Preview(address) => page(address.as_deref().unwrap_or_default()),
        DisplaySpec::Png(dir) => folder(host, &dir.to_string_lossy()),
    };
    let auto = || {
        let mut not = Vec::new();
        for spec in crate::panel::auto_order(config.spi.is_some(), has_desktop(host), is_covered(host)) {
            let line = one(&spec);
            if matches!(line.state, State::Ok | State::Warning) {
                let why = if not.is_empty() { String::new() } else { format!("; not {}", not.join("; not ")) };
                return Line { what: format!("auto takes {}{why}", line.what), ..line };
            }
            not.push(line.what);
        }
        Line::warning("display", format!("auto finds none: {}", not.join("; ")), "")
    };
    config.panels.iter().map(|spec| if *spec == DisplaySpec::Auto { auto() } else { one(spec) }).collect()
}

fn spi(host: &Host, board: Option<&Board>, gpio: &[Gpio], refused: &[String]) -> Line {
    if !cfg!(feature = "spi") {
        return Line::wrong("display", "spi: this hueflow-edge was built without it", "cargo build --features spi");
    }
    let Some(board) = board else {
        return Line::misconfigured(
            "display",
            "spi: the configuration names no display",
            "spi.board = \"waveshare-2inch\", or another",
        );
    };
    let device = board.device.as_str();
    if let Err(e) = host.open(device) {
        return match e.kind() {
            ErrorKind::NotFound => Line::wrong(
                "display",
                format!("spi: there is no {device}"),
                "sudo raspi-config nonint do_spi 0 (dtparam=spi=on in /boot/firmware/config.txt), then restart",
            ),
            ErrorKind::PermissionDenied => {
                Line::wrong("display", format!("spi: {device}: {e}"), "sudo usermod -aG spi USER, then log in again")
            }
            _ => Line::wrong("display", format!("spi: {device}: {e}"), ""),
        };
    }
    if let Some(first) = refused.first() {
        return Line::wrong("display", format!("spi: {first}"), "sudo usermod -aG gpio USER, then log in again");
    }
    let wanted = [
        ("spi.dc", Some(&board.data)),
        ("spi.reset", board.reset.as_ref()),
        ("spi.backlight", board.backlight.as_ref()),
    ];
    for (key, name) in wanted.into_iter().filter_map(|(key, name)| Some((key, name?))) {
        match gpio.iter().find(|(n, _)| n == name) {
            None => {
                let there: Vec<&str> = gpio.iter().map(|(n, _)| n.as_str()).filter(|n| !n.is_empty()).collect();
                let there = if there.is_empty() { "no line has a name".into() } else { there.join(" ") };
                let what = format!("spi: {key}: no GPIO line is called {name}; there are: {there}");
                return Line::misconfigured("display", what, format!("{key} = \"NAME\", one of these"));
            }
            Some((_, Some(other))) if other != "hueflow-edge" => {
                return Line::wrong(
                    "display",
                    format!("spi: {key}: {name} is in use by {other}"),
                    "remove what uses it from /boot/firmware/config.txt",
                );
            }
            _ => {}
        }
    }
    let (width, height) = board.turned();
    let bufsiz = host.text(BUFSIZ).and_then(|t| t.parse().ok()).unwrap_or(BUFSIZ_DEFAULT).max(1);
    let bytes = usize::from(width) * usize::from(height) * 2;
    let what = format!(
        "spi: {} {width}x{height} on {device}, {} writes a picture of {bytes} bytes",
        board.name,
        bytes.div_ceil(bufsiz)
    );
    if bufsiz < BUFSIZ_GOOD.min(bytes) {
        let advice =
            format!("spidev.bufsiz={BUFSIZ_GOOD} at the end of the line in /boot/firmware/cmdline.txt, then restart");
        return Line::warning("display", format!("{what} (bufsiz {bufsiz})"), advice);
    }
    Line::ok("display", what)
}

fn fb(host: &Host, device: &str) -> Line {
    let real = host.at(device).canonicalize().unwrap_or_else(|_| host.at(device));
    let name = real.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match host.open(device) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Line::wrong(
                "display",
                format!("fb: {device}: {e}"),
                "sudo usermod -aG video USER, then log in again",
            );
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Line::wrong("display", format!("fb: there is no {device}"), "attach a display, then restart");
        }
        Err(e) => return Line::wrong("display", format!("fb: {device}: {e}"), ""),
    }
    match framebuffer::describe(&host.at(format!("/sys/class/graphics/{name}"))) {
        Ok(what) if has_desktop(host) || is_covered(host) => {
            Line::warning("display", format!("fb: {device}: {what}, which a desktop covers"), "--display window")
        }
        Ok(what) => Line::ok("display", format!("fb: {device}: {what}")),
        Err(why) => Line::wrong("display", format!("fb: {device}: {why}"), "another --display"),
    }
}

/// A screen without a desktop. Cards can be asked on this machine only; of another one it is known that they are there.
fn kms(host: &Host, card: &str) -> Line {
    if has_desktop(host) || is_covered(host) {
        let advice = "hueflow-edge in the desktop's session, or sudo raspi-config nonint do_boot_behaviour B1";
        return Line::wrong("display", "kms: a desktop has the screen; a service cannot draw on it", advice);
    }
    #[cfg(feature = "kms")]
    if host.is_this() {
        return match crate::panel::kms::describe(card) {
            Ok(what) => Line::ok("display", format!("kms: {what}")),
            Err(why) => Line::wrong("display", format!("kms: {why}"), "attach a display, or another --display"),
        };
    }
    if cfg!(not(feature = "kms")) {
        return Line::wrong("display", "kms: this hueflow-edge was built without it", "cargo build --features kms");
    }
    let card = if card.is_empty() { "/dev/dri/card0" } else { card };
    match host.open(card) {
        Ok(()) => Line::ok("display", format!("kms: {card}")),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            Line::wrong("display", format!("kms: {card}: {e}"), "sudo usermod -aG video USER, then log in again")
        }
        Err(_) => Line::wrong("display", format!("kms: there is no {card}"), "attach a display, then restart"),
    }
}

/// Whether another session's desktop has the screen, or will have it.
fn is_covered(host: &Host) -> bool {
    !has_desktop(host) && auto::has_desktop(&host.root)
}

fn has_desktop(host: &Host) -> bool {
    desktop(host).is_some()
}

fn desktop(host: &Host) -> Option<String> {
    ["WAYLAND_DISPLAY", "DISPLAY"].into_iter().find_map(|v| host.variable(v).map(|value| format!("{v}={value}")))
}

fn window(host: &Host) -> Line {
    match desktop(host) {
        _ if !cfg!(feature = "window") => {
            Line::wrong("display", "window: this hueflow-edge was built without it", "cargo build --features window")
        }
        Some(where_) => Line::ok("display", format!("window: on {where_}")),
        None => Line::wrong(
            "display",
            "window: there is no desktop: DISPLAY and WAYLAND_DISPLAY are not set",
            "--display preview, or ssh -X",
        ),
    }
}

fn terminal(host: &Host) -> Line {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok().filter(|s| s.ws_col > 0 && host.is_this());
    let Some(size) = size else {
        return Line::wrong("display", "terminal: this is not run from one", "ssh -t, or --display preview");
    };
    let what = format!("terminal: {}x{} characters", size.ws_col, size.ws_row);
    let colours = host.variable("COLORTERM").is_some_and(|c| c.contains("truecolor") || c.contains("24bit"));
    if colours {
        return Line::ok("display", what);
    }
    Line::warning("display", format!("{what}; it does not report true colour"), "COLORTERM=truecolor, if it has")
}

/// The page's address can be listened on.
fn page(address: &str) -> Line {
    let Some((host, port)) = preview_address(address) else {
        return Line::misconfigured(
            "display",
            format!("preview:{address} is no address"),
            "--display preview:127.0.0.1:8090",
        );
    };
    match std::net::TcpListener::bind((host.as_str(), port)) {
        Ok(_) => Line::ok("display", format!("preview: a page on http://{host}:{port}")),
        Err(e) if e.kind() == ErrorKind::AddrInUse => Line::warning(
            "display",
            format!("preview: {host}:{port} is in use, by a running edge perhaps"),
            "--display preview:127.0.0.1:PORT",
        ),
        Err(e) => Line::wrong("display", format!("preview: {host}:{port}: {e}"), "--display preview:127.0.0.1:PORT"),
    }
}

fn folder(host: &Host, dir: &str) -> Line {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
    let there = dir.ancestors().find(|d| host.has(d)).unwrap_or(&dir);
    match host.may_write(there) {
        Ok(()) => Line::ok("display", format!("png: into {}", dir.display())),
        Err(e) => Line::wrong("display", format!("png: {}: {e}", there.display()), "--display png:DIR, another folder"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;
    use crate::config::{Origin, Raw};
    use toml::Value;

    fn config(board: &str, panel: &str) -> Config {
        let mut raw = Raw::default();
        raw.put("spi.board", board.into(), Origin::Default).unwrap();
        raw.put("display.panels", Value::Array(vec![panel.into()]), Origin::Default).unwrap();
        Config::check(raw).unwrap()
    }

    #[cfg(feature = "spi")]
    fn lines(names: &[&str]) -> Vec<Gpio> {
        names.iter().map(|n| ((*n).to_owned(), None)).collect()
    }

    #[cfg(feature = "spi")]
    const PINS: [&str; 3] = ["GPIO25", "GPIO27", "GPIO18"];

    #[cfg(feature = "spi")]
    #[test]
    fn an_attached_display_is_found_whole_or_what_is_missing_is_said() {
        let config = config("waveshare-2inch", "spi");
        let look = |fake: &Fake, gpio: &[Gpio]| check_with(&fake.host, &config, gpio, &[]).remove(0);
        let none = look(&Fake::new(), &lines(&PINS));
        assert!(none.state == State::Wrong && none.advice.contains("dtparam=spi=on"), "{none}");
        let bus = || Fake::new().file("/dev/spidev0.0", "");
        let denied = look(&bus().locked("/dev/spidev0.0", 0), &lines(&PINS));
        assert!(denied.state == State::Wrong && denied.advice.contains("usermod -aG spi"), "{denied}");
        let slow = look(&bus(), &lines(&PINS));
        assert!(slow.state == State::Warning && slow.advice.contains("spidev.bufsiz=65536"), "{slow}");
        let fast = look(&bus().file(BUFSIZ, "65536\n"), &lines(&PINS));
        assert_eq!(
            fast,
            Line::ok("display", "spi: waveshare-2inch 320x240 on /dev/spidev0.0, 3 writes a picture of 153600 bytes")
        );
        let unnamed = look(&bus(), &lines(&PINS[..2]));
        assert!(
            unnamed.state == State::Misconfigured
                && unnamed.what.contains("spi.backlight: no GPIO line is called GPIO18"),
            "{unnamed}"
        );
        let mut taken = lines(&PINS);
        taken[0].1 = Some("fan".into());
        assert!(look(&bus(), &taken).what.contains("in use by fan"));
        taken[0].1 = Some("hueflow-edge".into());
        assert_eq!(look(&bus(), &taken).state, State::Warning, "by an edge that runs");
        let refused = check_with(&bus().host, &config, &[], &["/dev/gpiochip0: denied".into()]).remove(0);
        assert!(refused.advice.contains("usermod -aG gpio"), "{refused}");
        let no_board = check_with(&bus().host, &super::tests::config("none", "spi"), &[], &[]).remove(0);
        assert_eq!(no_board.state, State::Misconfigured);
    }

    const SESSION: &str = "UID=1000\nACTIVE=1\nTYPE=wayland\nCLASS=user\nSEAT=seat0\n";

    fn screen() -> Fake {
        let dir = "/sys/class/graphics/fb0";
        [("virtual_size", "800,480"), ("bits_per_pixel", "16"), ("stride", "1600")]
            .iter()
            .fold(Fake::new().file("/dev/fb0", ""), |f, (name, text)| f.file(&format!("{dir}/{name}"), text))
    }

    #[test]
    fn a_framebuffer_says_its_geometry() {
        let look = |fake: &Fake| check_with(&fake.host, &config("none", "fb:/dev/fb0"), &[], &[]).remove(0);
        assert_eq!(look(&screen()), Line::ok("display", "fb: /dev/fb0: 800x480 pixels of 16 bits"));
        assert!(look(&screen().locked("/dev/fb0", 0)).advice.contains("usermod -aG video"));
        assert_eq!(look(&screen().variable("DISPLAY", ":0")).state, State::Warning);
        assert!(look(&Fake::new()).what.contains("there is no /dev/fb0"));
        assert_eq!(look(&Fake::new().file("/dev/fb0", "")).state, State::Wrong);
    }

    #[test]
    fn auto_names_the_one_it_takes_and_why_not_the_others() {
        let look = |fake: &Fake| check_with(&fake.host, &config("none", "auto"), &[], &[]).remove(0);
        let line = look(&screen());
        assert!(line.state == State::Ok && line.what.starts_with("auto takes fb: /dev/fb0: 800x480 pixels"), "{line}");
        assert!(line.what.contains("; not kms: "), "{line}");
        if cfg!(feature = "window") {
            assert!(look(&screen().variable("DISPLAY", ":0")).what.starts_with("auto takes window: on DISPLAY=:0"));
        }
        let page = look(&Fake::new());
        assert!(page.what.contains("preview") && page.what.contains("not fb: there is no /dev/fb0"), "{page}");
        if cfg!(feature = "kms") {
            let line = look(&screen().file("/dev/dri/card0", ""));
            assert_eq!((line.state, line.what.contains("auto takes kms: /dev/dri/card0")), (State::Ok, true), "{line}");
        }
    }

    #[test]
    fn a_service_beside_a_desktop_is_told_that_it_cannot_draw_there_and_what_works() {
        let beside = || screen().file("/dev/dri/card0", "").file("/run/systemd/sessions/1", SESSION);
        let look = |panel: &str| check_with(&beside().host, &config("none", panel), &[], &[]).remove(0);
        let kms = look("kms");
        assert!(kms.state == State::Wrong && kms.what.contains("a desktop has the screen"), "{kms}");
        assert_eq!(look("fb:/dev/fb0").state, State::Warning);
        let auto = look("auto");
        assert!(!auto.what.contains("auto takes kms") && !auto.what.contains("auto takes fb"), "{auto}");
    }

    #[test]
    fn a_page_has_a_port_or_not() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let line = page(&format!("127.0.0.1:{}", taken.local_addr().unwrap().port()));
        assert!(line.state == State::Warning && line.what.contains("in use"), "{line}");
        assert_eq!(page("127.0.0.1:0").state, State::Ok);
        assert_eq!(window(&Fake::new().host).state, State::Wrong);
    }
}
