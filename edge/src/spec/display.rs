//! A display as a person names it: `window`, `terminal`, `spi`, `kms`, `fb:/dev/fb0`, `preview:ADDRESS`, `png:DIR`, `auto`, `none`.
//!
//! [`DisplaySpec::parse`] reads the text once; printing gives the same text again. Parsing opens nothing.

use std::fmt;
use std::path::PathBuf;

/// Where the preview listens unless the specification names another address.
pub const PREVIEW_ADDRESS: &str = "127.0.0.1:8090";

/// Which picture is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewChoice {
    /// The clustered picture.
    Clustered,
    /// The original beside it.
    SideBySide,
}

/// Where pictures are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisplaySpec {
    /// Nowhere.
    None,
    /// The first display that works.
    Auto,
    /// A desktop window.
    Window,
    /// The terminal of this process.
    Terminal,
    /// The attached display that the `[spi]` section describes.
    Spi,
    /// A screen without a desktop: the first card with one, or the card of this path.
    Kms(Option<PathBuf>),
    /// A framebuffer device.
    Framebuffer(PathBuf),
    /// A page in a browser, at `HOST:PORT`, at `PORT`, or at [`PREVIEW_ADDRESS`] if empty; none: without a colon.
    Preview(Option<String>),
    /// A directory that gets every frame as a PNG.
    Png(PathBuf),
}

impl DisplaySpec {
    /// Reads a display's specification; none if it is not one.
    pub fn parse(text: &str) -> Option<DisplaySpec> {
        let (kind, argument) = text.split_once(':').map_or((text, None), |(kind, argument)| (kind, Some(argument)));
        let path = || argument.filter(|p| !p.is_empty()).map(PathBuf::from);
        match (kind, argument) {
            ("none", None) => Some(DisplaySpec::None),
            ("auto", None) => Some(DisplaySpec::Auto),
            ("window", None) => Some(DisplaySpec::Window),
            ("terminal", None) => Some(DisplaySpec::Terminal),
            ("spi", None) => Some(DisplaySpec::Spi),
            ("kms", None) => Some(DisplaySpec::Kms(None)),
            ("kms", _) => path().map(|card| DisplaySpec::Kms(Some(card))),
            ("fb", _) => path().map(DisplaySpec::Framebuffer),
            ("png", _) => path().map(DisplaySpec::Png),
            ("preview", _) => {
                preview_address(argument.unwrap_or("")).map(|_| DisplaySpec::Preview(argument.map(str::to_owned)))
            }
            _ => None,
        }
    }

    /// Returns true if no frame may be skipped.
    pub fn wants_every_frame(&self) -> bool {
        matches!(self, DisplaySpec::Png(_))
    }

    /// Returns true if a person sits in front of it: such a display is asked for on a command line, not by a service.
    pub fn is_interactive(&self) -> bool {
        matches!(self, DisplaySpec::Window | DisplaySpec::Terminal)
    }
}

impl fmt::Display for DisplaySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DisplaySpec::None => f.write_str("none"),
            DisplaySpec::Auto => f.write_str("auto"),
            DisplaySpec::Window => f.write_str("window"),
            DisplaySpec::Terminal => f.write_str("terminal"),
            DisplaySpec::Spi => f.write_str("spi"),
            DisplaySpec::Kms(None) => f.write_str("kms"),
            DisplaySpec::Kms(Some(card)) => write!(f, "kms:{}", card.display()),
            DisplaySpec::Framebuffer(path) => write!(f, "fb:{}", path.display()),
            DisplaySpec::Preview(None) => f.write_str("preview"),
            DisplaySpec::Preview(Some(address)) => write!(f, "preview:{address}"),
            DisplaySpec::Png(path) => write!(f, "png:{}", path.display()),
        }
    }
}

/// Host and port in `HOST:PORT`, `PORT` or nothing; none if it is no address.
pub fn preview_address(address: &str) -> Option<(String, u16)> {
    let address = if address.is_empty() { PREVIEW_ADDRESS } else { address };
    let (host, port) = address.rsplit_once(':').unwrap_or(("127.0.0.1", address));
    let host = host.strip_prefix('[').map_or(host, |h| h.trim_end_matches(']'));
    (!host.is_empty() && !host.contains(['/', ' '])).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_reads_back(path in "[^:]{1,20}", port in 0..=u16::MAX) {
            for spec in [
                DisplaySpec::Png(path.clone().into()),
                DisplaySpec::Framebuffer(path.clone().into()),
                DisplaySpec::Kms(Some(path.clone().into())),
                DisplaySpec::Preview(Some(format!("127.0.0.1:{port}"))),
            ] {
                let text = spec.to_string();
                prop_assert_eq!(DisplaySpec::parse(&text), Some(spec));
            }
        }
    }

    #[test]
    fn a_display_has_a_known_name_and_prints_its_argument() {
        for text in [
            "none",
            "auto",
            "window",
            "terminal",
            "spi",
            "kms",
            "kms:/dev/dri/card1",
            "png:d",
            "fb:/dev/fb0",
            "preview",
            "preview:",
            "preview:8090",
        ] {
            assert_eq!(DisplaySpec::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "png:", "png", "fb:", "fb", "kms:", "preview:x", "screen", "window:0", "none:"] {
            assert_eq!(DisplaySpec::parse(bad), None, "{bad}");
        }
    }
}
