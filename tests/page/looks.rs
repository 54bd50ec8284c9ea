//! Looks: both views on a desk and on a phone, dark and light, without barriers and no wider than the window.
//!
//! axe-core, which `tests/run` fetches, looks for barriers: contrast, names, roles, order. Screenshots go to
//! `target/test-output/page-VIEW-WIDTH-SCHEME.png`, for people.

use super::overflow;
use harness::browser::Browser;
use harness::output;

/// The barriers of what the page shows that axe-core calls serious or critical: nothing, as it should be.
pub fn barriers(browser: &mut Browser) -> String {
    if browser.value("typeof axe") != "object" {
        let file = std::env::var("HUEFLOW_AXE").expect("HUEFLOW_AXE: the file that ./tests/run page fetches");
        browser.value(&std::fs::read_to_string(&file).expect("axe-core"));
    }
    let found = browser.resolved(
        "axe.run().then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact)) \
         .map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 120) + ' ' + n.failureSummary).join(' | ')).join('\\n'))",
    );
    found.as_str().unwrap_or("axe-core gives no answer").to_owned()
}

/// Fails if a view has a barrier that axe-core calls serious or critical, or is wider than its window.
pub fn check(browser: &mut Browser, page: &str, device: &str) {
    for (view, path, ready) in [
        ("device", format!("device/{device}"), "document.getElementById('whatif-knife')?.naturalWidth > 0"),
        ("fleet", String::new(), "document.querySelector('.cards img')?.naturalWidth > 0"),
    ] {
        browser.go(&format!("{page}{path}"));
        browser.wait_until("the view", &format!("location.pathname === '/{path}' && {ready}"));
        browser.wait_until("live", "document.getElementById('link').textContent === 'live'");
        if view == "device" {
            super::to_the_silhouette(browser);
        }
        for (width, height, scheme) in
            [(1280, 900, "dark"), (1280, 900, "light"), (390, 844, "dark"), (390, 844, "light")]
        {
            browser.look_like(width, height, scheme);
            let is_there = format!("innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches");
            browser.wait_until("the window", &is_there);
            // The diagrams are drawn by the server for each scheme and are fetched again.
            let are_drawn = format!(
                "[...document.querySelectorAll('#knife, #whatif-knife')].every(i => i.complete && i.naturalWidth > 0 \
                 && i.dataset.dark === '{}')",
                u8::from(scheme == "dark")
            );
            browser.wait_until("the diagrams of the scheme", &are_drawn);
            assert_eq!(overflow(browser), "", "{view} at {width} px");
            let found = barriers(browser);
            browser.whole_screenshot(&output(&format!("page-{view}-{width}-{scheme}.png")));
            assert_eq!(found, "", "{view}, {width} px, {scheme}");
        }
        for width in [360, 400] {
            browser.look_like(width, 800, "light");
            browser.wait_until("the phone's width", &format!("innerWidth === {width}"));
            assert_eq!(overflow(browser), "", "{view} at {width} px");
        }
    }
    browser.look_like(1280, 900, "dark");
    browser.go(&format!("{page}device/{device}"));
    browser.wait_until("the device again", "document.getElementById('state')?.textContent === 'online'");
}
