//! The what-if slider: how long after a move the page shows the estimate, and how long after it the exact answer.
//!
//! A real edge clusters frames of 96,000 pixels, nearly all of different colours, at 30 frames a second and sends a census every
//! three seconds. Chromium has the device's page open. The slider is moved to many places, and each time is taken in the page
//! itself, from the move until the numbers and the diagram are there. It judges nothing.

use harness::browser::{Browser, get};
use harness::{House, wait_for};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WIDTH: usize = 400;
const HEIGHT: usize = 240;
/// Frames of the clip, which is looped.
const FRAMES: usize = 4;
/// A move that is not answered by then fails the run. The browser's session has a longer limit.
const GIVEN_UP_MS: u64 = 50_000;
const LIMIT: Duration = Duration::from_secs(120);
/// Steps of the slider, lambda 35 to 115: between them the clip has 2 to 60 clusters, as real scenes do.
const LEAST: usize = 100;
const STEPS: usize = 160;

/// Milliseconds from each move.
pub struct Figures {
    /// Colours of the last census.
    colours: u64,
    /// Until the first answer, an estimate.
    estimate_ms: Vec<f64>,
    /// Until the exact one, its waiting for the slider to rest included.
    exact_ms: Vec<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} colours, {} moves", self.colours, self.estimate_ms.len())?;
        for (name, times) in [("estimate", &self.estimate_ms), ("exact", &self.exact_ms)] {
            let mut times = times.clone();
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
            writeln!(f, "{name} in the page: median {:.0}, 95 % {:.0}, longest {:.0} ms", at(0.5), at(0.95), at(1.0))?;
        }
        Ok(())
    }
}

/// A clip whose pixels have nearly all different colours: smooth in luma, and scattered around a few hues.
fn clip(dir: &Path) -> PathBuf {
    let path = dir.join("colours.y4m");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("the clip"));
    writeln!(file, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F30:1 C444").expect("the clip");
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as usize
    };
    for _ in 0..FRAMES {
        let pixels: Vec<[u8; 3]> = (0..WIDTH * HEIGHT)
            .map(|at| {
                let (x, y) = (at % WIDTH, at / WIDTH);
                let [cb, cr] = [[96, 150], [140, 100], [120, 128], [150, 140]][(x / 50 + y / 60) % 4];
                let luma = 60 + x * 100 / WIDTH + random() % 30;
                [luma, cb + random() % 40 - 20, cr + random() % 40 - 20].map(|v| v as u8)
            })
            .collect();
        file.write_all(b"FRAME\n").expect("the clip");
        for plane in 0..3 {
            let samples: Vec<u8> = pixels.iter().map(|px| px[plane]).collect();
            file.write_all(&samples).expect("the clip");
        }
    }
    file.flush().expect("the clip");
    path
}

/// Moves the slider and gives the milliseconds until the estimate and until the exact answer.
fn moved(browser: &mut Browser, step: usize) -> [f64; 2] {
    let times = format!(
        "(async () => {{
            const frame = () => new Promise(done => requestAnimationFrame(done));
            const slider = document.getElementById('lambda-slider'), note = document.getElementById('whatif-note'), knife = document.getElementById('whatif-knife');
            const start = performance.now();
            slider.value = {step};
            slider.dispatchEvent(new Event('input'));
            const wanted = document.getElementById('lambda-number').value;
            const is = exact => note.dataset.lambda === wanted && (note.dataset.exact === 'true' || !exact) && knife.complete && knife.naturalWidth > 0;
            const since = () => performance.now() - start, isLate = () => since() > {GIVEN_UP_MS};
            while (!is(false) && !isLate()) await frame();
            const estimate = since();
            while (!is(true) && !isLate()) await frame();
            return isLate() ? [note.textContent, note.dataset.lambda, note.dataset.exact, knife.complete] : [estimate, since()];
        }})()"
    );
    let value = browser.resolved(&times);
    [0, 1].map(|i| value[i].as_f64().unwrap_or_else(|| panic!("step {step}: {value}")))
}

/// Runs it with so many moves.
pub fn run(moves: usize) -> Figures {
    let (house, _bridge) = House::embedded();
    let (_metrics, page) = house.metrics();
    let source = format!("file:{}", clip(house.dir()).display());
    let _edge = house.edge("desk", &["--source", &source, "--loop", "--census-every", "3"]);
    wait_for("a census", LIMIT, || (get(&page, "/api/devices/desk/what-if?lambda=50").0 == 200).then_some(()));
    let mut browser = Browser::open(house.dir(), &format!("{page}device/desk"), 1300, 1400);
    browser.wait_until("the first diagram", "document.getElementById('whatif-knife')?.naturalWidth > 0");
    browser.wait_until("curves", "document.querySelectorAll('.curves svg').length === 3");
    let (mut estimate_ms, mut exact_ms) = (Vec::new(), Vec::new());
    for n in 0..moves {
        // Far moves and near ones.
        let [estimate, exact] = moved(&mut browser, LEAST + n * 37 % (STEPS - LEAST));
        estimate_ms.push(estimate);
        exact_ms.push(exact);
    }
    let (_, body) = get(&page, "/api/devices/desk/what-if?lambda=50");
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("an answer");
    let colours = answer["silhouette"]["colours"].as_u64().unwrap_or(0);
    Figures { colours, estimate_ms, exact_ms }
}
