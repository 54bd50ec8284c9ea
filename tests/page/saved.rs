//! Saved charts: each chart of a device becomes a PNG file with its size, its colours and a name of device, chart and time.
//!
//! The buttons are pressed by the keyboard, and the files are those that Chromium downloads. They stay in `target/test-output`
//! for people.

use super::view;
use harness::browser::Browser;
use harness::{media, output, wait_for};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const CHARTS: [&str; 10] = [
    "history-palette",
    "history-colours",
    "history-rms",
    "history-missed",
    "history-times",
    "silhouette",
    "what-if-silhouette",
    "lambda-colours",
    "lambda-rms",
    "lambda-silhouette",
];
/// The height of the line with the name above a chart, in pixels.
const TITLE_PX: usize = 26;
/// The last chunk of a PNG, without which the file is not whole (PNG specification, 11.2.5).
const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// Whether a name is `DEVICE-CHART-` with a day and a minute.
fn is_name(name: &str, chart: &str) -> bool {
    let time = name.strip_prefix(&format!("demo-{chart}-")).and_then(|rest| rest.strip_suffix(".png"));
    let is_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    time.and_then(|t| t.split_once('T'))
        .is_some_and(|(d, t)| (d.len(), t.len()) == (8, 4) && is_digits(d) && is_digits(t))
}

/// Presses the button of a chart and gives the file that comes.
fn save(browser: &mut Browser, dir: &Path, chart: &str) -> PathBuf {
    let button = format!("document.querySelector('.save[data-chart={chart}]')");
    browser.value(&format!("{button}.focus()"));
    assert_eq!(browser.value(&format!("document.activeElement === {button} && {button}.tabIndex")), 0, "{chart}");
    browser.press_enter();
    wait_for(&format!("the file of {chart}"), LIMIT, || {
        let names = std::fs::read_dir(dir).ok()?.filter_map(|e| e.ok()?.file_name().into_string().ok());
        let file = dir.join(names.into_iter().find(|name| is_name(name, chart))?);
        // Chromium makes an empty file of this name first.
        std::fs::read(&file).ok()?.ends_with(PNG_END).then_some(file)
    })
}

#[test]
fn each_chart_is_saved_as_a_png_of_its_size_in_the_colours_of_the_theme() {
    let (house, [mut edge, metrics, bridge], page) = view::house("demo");
    for scheme in ["light", "dark"] {
        // A browser of its own: Chromium drops downloads of a page that has just begun ten.
        let dir = house.path(scheme);
        std::fs::create_dir(&dir).unwrap();
        let mut browser = Browser::open(&dir, &format!("{page}device/demo"), 1280, 900);
        browser.look_like(1280, 900, scheme);
        view::wait_for_all(&mut browser);
        browser.wait_until("curves over lambda", "document.querySelectorAll('.curves .line').length === 3");
        let dark = u8::from(scheme == "dark");
        let are_drawn =
            format!("['knife', 'whatif-knife'].every(i => document.getElementById(i).dataset.dark === '{dark}')");
        browser.wait_until("the diagrams of the scheme", &are_drawn);
        browser.save_to(&dir);
        for chart in CHARTS {
            let shown = format!(
                "(b => {{ const p = b.closest('figure')?.querySelector('svg, canvas') ?? b.parentElement.nextElementSibling, r = p.getBoundingClientRect(); \
                 return `${{Math.round(r.width)}} ${{Math.round(r.height)}}` }})(document.querySelector('.save[data-chart={chart}]'))"
            );
            let shown = browser.value(&shown);
            let (width, height) = shown.as_str().unwrap().split_once(' ').unwrap();
            let [width, height] = [width, height].map(|n| n.parse::<usize>().unwrap());
            let file = save(&mut browser, &dir, chart);
            let (w, h, pixels) = media::png(&file);
            std::fs::copy(&file, output(&format!("saved-{chart}-{scheme}.png"))).unwrap();
            let legend = h.checked_sub(TITLE_PX + height);
            assert!(w == width && legend.is_some_and(|px| px <= 70), "{chart}: {w} x {h}, not {width} x {height}");
            let pixel = pixels.len() / (w * h);
            let colours = |rows: std::ops::Range<usize>| {
                pixels[rows.start * w * pixel..rows.end * w * pixel].chunks(pixel).collect::<HashSet<_>>()
            };
            let of_chart = colours(TITLE_PX + 2..TITLE_PX + height - 2);
            assert!(of_chart.len() > 3, "{chart}, {scheme}: {} colours", of_chart.len());
            assert!(colours(0..TITLE_PX).len() > 3, "{chart}, {scheme}: no title");
            // The card's ground in both themes.
            assert_eq!(pixels[..3], if dark == 1 { [0x1d, 0x1f, 0x26] } else { [255; 3] }, "{chart}, {scheme}");
            if chart == "history-colours" {
                let curve: &[u8] = if dark == 1 { &[0xf3, 0xa7, 0x12] } else { &[0xa8, 0x64, 0] };
                assert!(of_chart.iter().any(|c| c.starts_with(curve)), "{scheme}: the curve has not its colour");
            }
        }
    }
    assert_eq!(edge.stop(), 0);
    drop((bridge, metrics));
}
