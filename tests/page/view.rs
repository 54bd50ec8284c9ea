//! The view of a device: what it shows, what it shows after another one was chosen, and its state while its server is away.
//!
//! Real edges send a clip to a real bridge; a proxy stands between the browser and `hueflow-metrics`.

use super::LIMIT;
use harness::browser::{Browser, get};
use harness::proxy::{Mode, Proxy};
use harness::{House, Running, media, output, wait_for};
use std::io::{Read, Write};
use std::net::TcpListener;

/// Two regions, a mask, a colour, and an event that goes on and off with the clip.
const CONFIG: &str = "
[[region]]
name = \"left\"
rect = [0.05, 0.1, 0.4, 0.6]
[[region]]
name = \"right\"
polygon = [[0.6, 0.2], [0.95, 0.3], [0.7, 0.9]]
[[mask]]
rect = [0.9, 0.0, 0.1, 0.1]
[[colour]]
name = \"green\"
rgb = \"#5f7a35\"
tolerance = 20
[[event]]
name = \"many-colours\"
when = \"clusters >= 22\"
";

/// A house with an edge under way whose pictures, originals and censuses are there.
pub fn house(device: &str) -> (House, [Running; 3], String) {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let edge = sending(&house, device);
    for what in ["picture.png", "original.jpg", "knife.svg"] {
        wait_for(what, LIMIT, || (get(&page, &format!("/api/devices/{device}/{what}")).0 == 200).then_some(()));
    }
    (house, [edge, metrics, bridge], page)
}

fn sending(house: &House, device: &str) -> Running {
    let source = format!("file:{}", media::clip().display());
    let config = house.path("page.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let config = config.display().to_string();
    house.edge(device, &["--config", &config, "--source", &source, "--loop", "--original", "--census-every", "3"])
}

fn port(page: &str) -> u16 {
    page.trim_end_matches('/').rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Waits until the view shows pictures, palette, curve, knife and ledger.
pub fn wait_for_all(browser: &mut Browser) {
    browser.wait_until("live events", "document.getElementById('link').textContent === 'live'");
    browser.wait_until(
        "both pictures",
        "['original', 'clustered'].every(i => document.getElementById(i)?.naturalWidth > 0)",
    );
    super::to_the_silhouette(browser);
    browser.wait_until("the knife", "document.getElementById('knife').naturalWidth > 0");
    browser.wait_until("the palette", "document.querySelectorAll('#frame-bar i').length > 5");
    browser.wait_until("the ledger", "document.querySelectorAll('#ledger tr').length === 1");
    browser.wait_until("a curve", "document.querySelector('#curve .line.c-k')?.getAttribute('d').length > 400");
}

#[test]
fn the_view_shows_pictures_palette_curves_knife_and_ledger() {
    let (house, [mut edge, metrics, bridge], page) = house("demo");
    let mut browser = Browser::open(house.dir(), &format!("{page}device/demo"), 1400, 1500);
    wait_for_all(&mut browser);
    let started = browser.value("document.querySelector('#ledger td[data-key=started_at_ms]').textContent");
    assert!(started.as_str().is_some_and(|t| t.starts_with("20") && t.len() == 19), "when the boot started: {started}");
    let printed = browser.value("document.getElementById('settings').textContent");
    assert!(printed.as_str().unwrap().contains("Lambda 50 levels,"), "{printed}");
    assert_eq!(browser.value("document.getElementById('lambda').textContent"), "50");
    assert_eq!(browser.value("document.getElementById('missed').textContent"), "0");
    let means = browser.value("document.querySelectorAll('#means tbody tr').length").as_u64().unwrap();
    assert!(means > 5, "{means} means of clusters");
    let frame = "Number(document.getElementById('history-note').textContent.match(/to (\\d+)/)?.[1])";
    let first = browser.value(frame).as_u64().unwrap();
    browser.wait_until("frames to go on", &format!("{frame} > {first} + 30"));
    let shot = output("page.png");
    browser.screenshot(&shot);
    let (w, h, pixels) = media::png(&shot);
    let channels = pixels.len() / (w * h);
    let colours: std::collections::HashSet<&[u8]> = pixels.chunks(channels).map(|p| &p[..3]).collect();
    assert!(colours.len() > 2_000, "{} colours: the original's picture is not there", colours.len());

    // Outlines lie over both pictures, shares and events are there.
    let outlines = "['region', 'mask'].map(c => document.querySelectorAll(`.outlines .${c}`).length).join()";
    browser.wait_until("outlines", &format!("{outlines} === '4,2'"));
    browser.wait_until("shares", "document.querySelectorAll('#shares tbody tr').length === 2");
    browser.wait_until("a bar of the event", "document.querySelectorAll('#events .lane i').length > 0");
    browser.wait_until(
        "words for it",
        "/many-colours (begins|ends)/.test(document.getElementById('event-changes').textContent)",
    );
    draw(&mut browser);

    // A range is in the address, and the browser's way back leads to where one was.
    browser.value("[...document.querySelectorAll('.history button')].find(b => b.textContent === '10 min').click()");
    browser.wait_until("a range", "location.search.startsWith('?from=')");
    browser
        .wait_until("its reports", "document.getElementById('history-note').textContent.includes('from the reports')");
    browser.wait_until("its curve", "document.querySelector('#times .line.c-total')?.getAttribute('d').length > 50");
    browser.value("history.back()");
    browser.wait_until("live again", "document.getElementById('history-note').textContent.startsWith('Live: frames')");
    super::looks::check(&mut browser, &page, "demo");
    assert_eq!(edge.stop(), 0);
    browser.wait_until(
        "the interruption in words",
        "document.getElementById('state').textContent === 'stream interrupted'",
    );
    drop((bridge, metrics));
}

/// Draws a rectangle with the pointer, changes it by numbers, and makes a polygon.
fn draw(browser: &mut Browser) {
    browser.value("document.querySelector('#draw').open = true");
    browser.wait_until("the tool", "document.querySelectorAll('.outlines.drawing').length === 1");
    let pointer = |kind: &str, x: f64, y: f64| {
        format!(
            "(() => {{ const o = document.querySelector('.outlines.drawing'), b = o.getBoundingClientRect(); o.setPointerCapture = () => {{}}; \
             o.dispatchEvent(new PointerEvent('{kind}', {{ clientX: b.left + {x} * b.width, clientY: b.top + {y} * b.height, pointerId: 1 }})) }})()"
        )
    };
    let toml = "document.getElementById('draw-toml').textContent";
    for (kind, x, y) in [("pointerdown", 0.5, 0.25), ("pointermove", 0.1, 0.75), ("pointerup", 0.1, 0.75)] {
        browser.value(&pointer(kind, x, y));
    }
    let printed = browser.value(toml);
    assert!(printed.as_str().unwrap().starts_with("[[region]]\nname = \"region-1\"\nrect = [0."), "{printed}");
    let set = |field: &str, value: &str, event: &str| {
        format!(
            "(() => {{ const f = document.querySelector('{field}'); f.value = '{value}'; f.dispatchEvent(new Event('{event}')) }})()"
        )
    };
    for (label, value) in [("x", "0.7"), ("y", "0.1"), ("width", "0.9"), ("height", "0.2")] {
        browser.value(&set(&format!("#draw-fields input[aria-label={label}]"), value, "input"));
    }
    let printed = browser.value(toml);
    assert_eq!(printed, "[[region]]\nname = \"region-1\"\nrect = [0.7, 0.1, 0.3, 0.2]\n", "within the picture");
    browser.value(&set("#draw-name", "No!", "input"));
    assert_eq!(browser.value("document.getElementById('draw-copy').disabled"), true);
    browser.value(&set("#draw-kind", "mask", "change"));
    browser.value(&set("#draw-shape", "polygon", "change"));
    for (x, y) in [(0.0, 0.0), (1.0, 0.0)] {
        browser.value(&pointer("pointerdown", x, y));
    }
    assert_eq!(browser.value("document.getElementById('draw-copy').disabled"), true, "two corners");
    browser.value("document.getElementById('draw-add').click()");
    assert_eq!(browser.value(toml), "[[mask]]\npolygon = [[0, 0], [1, 0], [0.5, 0.5]]\n");
    assert_eq!(browser.value("document.getElementById('draw-copy').disabled"), false);
}

#[test]
fn another_device_clears_everything_at_once_and_late_answers_of_the_first_are_dropped() {
    let (house, [mut alpha, metrics, bridge], page) = house("alpha");
    let source = "synthetic:320x240@30";
    let mut beta = house.edge("beta", &["--source", source, "--video", "off", "--census-every", "0"]);
    wait_for("beta's report", LIMIT, || (get(&page, "/api/devices/beta/latest").0 == 200).then_some(()));
    let proxy = Proxy::start(port(&page), None);
    let mut browser = Browser::open(house.dir(), &format!("http://127.0.0.1:{}/", proxy.port), 1200, 900);
    let card = |name: &str| format!("document.querySelector('li[data-device={name}] a')");
    browser.wait_until("both cards", &format!("!!({} && {})", card("alpha"), card("beta")));
    browser.value(&format!("({}).click()", card("alpha")));
    wait_for_all(&mut browser);
    let nothing_of_alpha = "!document.getElementById('view').textContent.includes('alpha') \
                            && !document.querySelector('#view img[src*=alpha]') && document.getElementById('knife').hidden \
                            && ['original', 'clustered'].every(i => document.getElementById(i).hidden)";
    browser.value("document.querySelector('#crumbs a').click()");
    browser.wait_until("the cards", &format!("!!{}", card("beta")));
    // In the same turn of the browser in which it was chosen.
    let at_once = format!(
        "({}).click(), {nothing_of_alpha} && document.querySelectorAll('#ledger tr, #frame-bar i, #means tr').length === 0 \
         && document.getElementById('clusters').textContent === '\\u2013'",
        card("beta")
    );
    assert_eq!(browser.value(&at_once), true, "something of alpha is still there");
    browser.wait_until("beta's palette", "document.querySelectorAll('#frame-bar i').length > 0");

    // Answers for alpha that come when beta has been chosen long since.
    browser.value("document.querySelector('#crumbs a').click()");
    browser.wait_until("the cards", &format!("!!{}", card("alpha")));
    proxy.set(Mode::Hold);
    browser.value(&format!("({}).click()", card("alpha")));
    browser.value("history.back()");
    browser.wait_until("the fleet", "location.pathname === '/'");
    browser.value("history.forward(), history.back()");
    browser.value("history.pushState(null, '', '/device/beta'), dispatchEvent(new PopStateEvent('popstate'))");
    browser.wait_until("beta", "document.querySelector('.title h2')?.textContent === 'beta'");
    proxy.set(Mode::Open);
    browser.wait_until("beta's palette", "document.querySelectorAll('#frame-bar i').length > 0");
    browser.wait_until("beta's ledger", "document.querySelectorAll('#ledger tr').length === 1");
    assert_eq!(browser.value(nothing_of_alpha), true, "a late answer of alpha has landed in beta");
    assert_eq!((alpha.stop(), beta.stop()), (0, 0));
    drop((bridge, metrics));
}

/// A server that answers 503 to whatever it is asked.
fn unavailable() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

#[test]
fn a_lost_connection_is_shown_and_opened_again_and_what_was_missed_is_loaded() {
    let (house, [mut edge, metrics, bridge], page) = house("demo");
    let proxy = Proxy::start(port(&page), None);
    let mut browser = Browser::open(house.dir(), &format!("http://127.0.0.1:{}/device/demo", proxy.port), 1200, 900);
    wait_for_all(&mut browser);
    let link = "document.getElementById('link').textContent";
    let frame = "Number(document.getElementById('history-note').textContent.match(/to (\\d+)/)?.[1])";
    // An answer that is not 200 makes a browser give up by itself.
    let other = unavailable();
    for target in [other, 1] {
        let before = browser.value(frame).as_u64().unwrap();
        proxy.lead_to(target);
        proxy.cut();
        browser.wait_until("the word", &format!("{link} === 'reconnecting'"));
        browser.wait_until("the banner", "document.getElementById('banner').textContent.includes('lost its server')");
        proxy.lead_to(port(&page));
        browser.wait_until("live again", &format!("{link} === 'live' && document.getElementById('banner').hidden"));
        browser.wait_until("frames after it", &format!("{frame} > {before} + 60"));
        // A line has as many beginnings as pieces: a gap would make two.
        let pieces = "document.querySelector('#curve .line.c-k').getAttribute('d').split('M').length - 1";
        browser.wait_until("a curve without a gap", &format!("{pieces} === 1"));
    }
    assert_eq!(edge.stop(), 0);
    drop((bridge, metrics));
}
