//! The units of distances on the page: levels in RGB, and Delta E of a device that clusters in CIELAB.
//!
//! Two real edges cluster the same moving picture, one in each space; their pages are looked at in turn. Both screenshots are
//! left in `target/test-output`.

use super::LIMIT;
use harness::House;
use harness::browser::{Browser, get};
use harness::{output, wait_for};

/// A patch that is measured and not corrected, so that each report has its drift.
const CONFIG: &str = "
[reference]
correct = \"off\"
patches = [{ rect = [0.1, 0.1, 0.2, 0.2], lab = [50.0, 0.0, 0.0] }]
";

/// What a figure of the frame shows: its label, and its number; none if it is hidden.
fn figure(browser: &mut Browser, key: &str) -> Option<(String, f64)> {
    let node = format!("document.querySelector('[data-figure={key}]')");
    if browser.value(&format!("{node}.hidden")) == true {
        return None;
    }
    let label = browser.value(&format!("{node}.querySelector('dt').textContent"));
    let number = browser.value(&format!("Number({node}.querySelector('dd').textContent)"));
    Some((label.as_str()?.to_owned(), number.as_f64()?))
}

#[test]
fn a_device_in_cielab_has_its_distances_in_delta_e_and_the_drift_of_its_reference() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let config = house.path("space.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let config = config.display().to_string();
    let source = ["--source", "synthetic:160x120@15", "--census-every", "1"];
    let mut lab = house.edge("lab", &[&source[..], &["--space", "cielab", "--config", &config]].concat());
    let mut rgb = house.edge("rgb", &source);
    for device in ["lab", "rgb"] {
        let path = format!("/api/devices/{device}/what-if?lambda=20");
        wait_for("a census", LIMIT, || (get(&page, &path).0 == 200).then_some(()));
    }
    let mut browser = Browser::open(house.dir(), &page, 1300, 1400);
    for (device, unit, lambda) in [("lab", "Delta E", 18.0), ("rgb", "levels", 50.0)] {
        browser.go(&format!("{page}device/{device}"));
        browser.wait_until("the device", &format!("document.querySelector('.title h2')?.textContent === '{device}'"));
        browser.wait_until("an answer", "document.querySelectorAll('#whatif-figures dt').length > 3");
        browser.wait_until("curves over lambda", "document.querySelectorAll('.curves .line').length === 3");
        browser.wait_until("frames", "Number(document.getElementById('fps').textContent) > 0");
        assert_eq!(figure(&mut browser, "lambda"), Some((format!("lambda in force ({unit})"), lambda)));
        assert_eq!(figure(&mut browser, "rms").map(|(label, _)| label), Some(format!("RMS distance ({unit})")));
        let (de00, drift) = (figure(&mut browser, "de00"), figure(&mut browser, "reference"));
        if device == "lab" {
            assert!(de00.is_some_and(|(_, mean)| mean > 0.0 && mean < lambda), "the mean of Delta E 2000");
            assert!(drift.is_some_and(|(_, mean)| mean > 0.0), "the drift of the reference");
        } else {
            assert_eq!((de00, drift), (None, None));
        }
        let captions =
            browser.value("[...document.querySelectorAll('figcaption, label')].map(c => c.textContent).join('|')");
        let captions = captions.as_str().unwrap();
        for caption in [
            format!("RMS distance ({unit})"),
            format!("RMS ({unit}) over lambda ({unit})"),
            format!("Lambda in {unit}: the largest distance of a colour to its palette entry"),
        ] {
            assert!(captions.contains(&caption), "{caption}: {captions}");
        }
        // The slider begins where the device is, and its ends are far enough on both sides.
        let slider = "Number(document.getElementById('lambda-slider').value)";
        let step = browser.value(slider).as_f64().unwrap();
        assert!((60.0..=140.0).contains(&step), "{device}: step {step} of 200");
        browser.whole_screenshot(&output(&format!("space-{device}.png")));
    }
    assert_eq!((lab.stop(), rgb.stop()), (0, 0));
    drop((bridge, metrics));
}
