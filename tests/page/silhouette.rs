//! The silhouette on the page: the server is asked for it when a person can see it, and not for each census.
//!
//! A page counts its own requests. A second connection to the same events receives an event for each census.

use super::view;
use harness::browser::Browser;

#[test]
fn censuses_that_nobody_looks_at_are_not_scored() {
    let (house, [mut edge, metrics, bridge], page) = view::house("demo");
    let mut browser = Browser::open(house.dir(), &format!("{page}device/demo"), 900, 500);
    browser.wait_until("live events", "document.getElementById('link').textContent === 'live'");
    browser.value(
        "window.censuses = 0, new EventSource('/api/events?device=demo').addEventListener('census', () => window.censuses++), 0",
    );
    let asked = "performance.getEntriesByType('resource').filter(r => r.name.includes('/silhouette?')).length";
    browser.wait_until("two censuses", "window.censuses >= 2");
    assert_eq!(browser.value(asked), 0, "nobody sees the silhouette");
    super::to_the_silhouette(&mut browser);
    let exact = "document.getElementById('knife').naturalWidth > 0 && document.querySelector('.silhouettes .note').textContent.includes(', exact')";
    browser.wait_until("the exact silhouette", exact);
    let first = browser.value(asked).as_u64().unwrap();
    assert!((1..=2).contains(&first), "{first} requests for one silhouette");
    assert_eq!(edge.stop(), 0);
    drop((bridge, metrics));
}
