//! What-if and commands: the slider redraws palette and knife, and the device confirms what is applied to it.
//!
//! A real edge on a real mosquitto; a proxy stands between `hueflow-metrics` and the broker, for the outage.

use super::LIMIT;
use harness::browser::{Browser, get};
use harness::proxy::{Mode, Proxy};
use harness::services::Mosquitto;
use harness::{House, Running, bin, media, wait_for};
use std::process::Command;

#[test]
fn the_slider_redraws_palette_and_knife_and_the_device_confirms_what_is_applied() {
    let mut house = House::new("", "");
    let broker = Mosquitto::start(house.dir());
    house.mqtt = broker.url();
    house.journal = format!("local:{}", house.path("journal.sqlite").display());
    let bridge = house.bridge(&[]);
    let proxy = Proxy::start(broker.port, None);
    let by_proxy = format!("mqtt://127.0.0.1:{}", proxy.port);
    let mut command = Command::new(bin("hueflow-metrics"));
    command.args([
        "run",
        "--journal",
        &house.journal,
        "--listen",
        "127.0.0.1:0",
        "--mqtt",
        &by_proxy,
        "--site",
        "test",
    ]);
    let metrics = Running::start("metrics", house.dir(), command.arg("--store").arg(house.store()));
    let line = metrics.wait_for_line("http://127.0.0.1:", LIMIT);
    let page = line[line.find("http://").unwrap()..].trim().to_owned();
    let source = format!("file:{}", media::clip().display());
    let mut edge = house.edge("desk", &["--source", &source, "--loop", "--census-every", "3"]);
    wait_for("a census", LIMIT, || (get(&page, "/api/devices/desk/what-if?lambda=50").0 == 200).then_some(()));
    assert_eq!(get(&page, "/api/devices/desk/what-if?lambda=0").0, 400);

    let mut browser = Browser::open(house.dir(), &format!("{page}device/desk"), 1300, 1400);
    let shown = |lambda: &str, exact: &str| {
        format!(
            "document.getElementById('whatif-note').dataset.lambda === '{lambda}' \
             && (e => '{exact}' === '' || e === '{exact}')(document.getElementById('whatif-note').dataset.exact) \
             && document.getElementById('whatif-knife').naturalWidth > 0"
        )
    };
    browser.wait_until("the knife for lambda 50", &shown("50", ""));
    browser.wait_until("curves over lambda", "document.querySelectorAll('.curves .line').length === 3");
    let colours = "document.querySelectorAll('#whatif-bar i').length";
    let before = browser.value(colours).as_u64().unwrap();
    let slide = |step: u32| {
        format!(
            "(s => {{ s.value = {step}; s.dispatchEvent(new Event('input')) }})(document.getElementById('lambda-slider'))"
        )
    };
    let observe = "window.seen = [], new MutationObserver(() => { const { lambda, exact } = document.getElementById('whatif-note').dataset; \
                   window.seen.push(lambda + ' ' + exact) }).observe(document.getElementById('whatif-note'), { attributes: true })";
    browser.value(observe);
    browser.value(&slide(150));
    browser.wait_until("the knife for lambda 94", &shown("94", ""));
    let fewer = browser.value(colours).as_u64().unwrap();
    assert!(fewer < before, "{before} colours with lambda 50, {fewer} with 94");
    browser.wait_until("the exact silhouette", &shown("94", "true"));
    let seen = browser.value("[...new Set(window.seen.filter(s => s.startsWith('94 ')))].join()");
    assert_eq!(seen, "94 false,94 true", "an estimate at once, and then the exact answer");
    // An estimate that takes long is shown all the same, before the exact answer.
    let slow = "window.quick = window.fetch, window.fetch = async (url, options) => { \
                if (String(url).includes('exact=0')) await new Promise(done => setTimeout(done, 1500)); \
                return window.quick(url, options) }, 0";
    browser.value(slow);
    browser.value(&slide(140));
    browser.wait_until("the exact silhouette", &shown("77", "true"));
    let seen = browser.value("[...new Set(window.seen.filter(s => s.startsWith('77 ')))].join()");
    assert_eq!(seen, "77 false,77 true", "a slow estimate, and then the exact answer");
    browser.value("window.fetch = window.quick, 0");
    browser.value(&slide(150));
    browser.wait_until("the knife for lambda 94 again", &shown("94", ""));

    browser.wait_until("that commands are on", "!document.getElementById('apply').disabled");
    browser.value("document.getElementById('apply').click()");
    let outcome = "document.getElementById('outcome').textContent";
    browser.wait_until("the device's word", &format!("{outcome} === '\u{2713} desk confirms: lambda 94 is in force.'"));
    browser.wait_until("the new lambda on the page", "document.getElementById('lambda').textContent === '94'");

    // The same from the terminal, and a refusal.
    let run = |args: &[&str]| {
        house.run("hueflow-metrics", &[&["cmd", "desk", "--mqtt", &broker.url(), "--site", "test"], args].concat())
    };
    let out = run(&["--lambda", "60"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "desk: in force: lambda 60.0\n", "{out:?}");
    let out = run(&["--lambda", "900"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("desk refuses lambda = 900"), "{out:?}");
    let nobody =
        house.run("hueflow-metrics", &["cmd", "nobody", "--mqtt", &broker.url(), "--site", "test", "--snapshot"]);
    assert_eq!(nobody.status.code(), Some(69), "{nobody:?}");

    // A page of another origin cannot send commands, nor can a form.
    let foreign = "fetch('/api/devices/desk/command', { method: 'POST', headers: { 'content-type': 'application/json' }, \
                   body: '{\"lambda\":1}' }).then(r => r.status)";
    assert_eq!(browser.resolved(foreign), 403, "without the session's number");

    proxy.set(Mode::Refuse);
    proxy.cut();
    browser.wait_until(
        "the banner",
        "document.querySelector('#banner [data-part=broker]') !== null && !document.getElementById('banner').hidden",
    );
    proxy.set(Mode::Open);
    browser.wait_until("the recovery", "document.getElementById('banner').hidden");
    assert_eq!(edge.stop(), 0);
    drop((bridge, metrics));
}
