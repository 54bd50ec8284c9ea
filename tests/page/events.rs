//! Events over time: each change arrives by itself, and the bar of an event ends where its edge last sent something.
//!
//! The modules are run in the page with given changes; and a real edge is killed while its event is active.

use super::LIMIT;
use harness::browser::{Browser, get};
use harness::{House, media, wait_for};

/// An event that is active as long as there is a picture.
const ALWAYS: &str = "[[event]]\nname = \"picture\"\nwhen = \"clusters >= 1\"\n";

#[test]
fn a_change_of_an_event_is_an_event_of_its_own_and_leaves_no_gap() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let mut browser = Browser::open(house.dir(), &page, 800, 600);
    browser.wait_until("live", "document.getElementById('link').textContent === 'live'");
    // A stream of events as the server numbers them.
    let received = "(async () => {
        const { connect } = await import('/ui/link.js'), received = [];
        let source;
        window.EventSource = class extends EventTarget { constructor() { super(); source = this; } close() {} };
        const take = kind => data => received.push(kind + (data.n ?? ''));
        const end = connect('/', { hello: take('hello'), report: take('report'), event: take('event'), missed: take('missed') });
        const send = (kind, id, data) => source.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data), lastEventId: id }));
        send('hello', '', { last: 4 });
        [['report', 5], ['event', 6], ['report', 7]].forEach(([kind, n]) => send(kind, String(n), { n }));
        end();
        return received.join();
    })()";
    assert_eq!(browser.resolved(received), "hello,report5,event6,report7");
    drop((metrics, bridge));
}

#[test]
fn a_bar_ends_where_its_edge_last_sent_something() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let mut browser = Browser::open(house.dir(), &page, 800, 600);
    browser.wait_until("live", "document.getElementById('link').textContent === 'live'");
    // Left end, right end and kind of end of each bar on a lane of 100 px for 100 ms, for what arrives from the device.
    let bars = |received: &str, more: &str| {
        format!(
            "import('/ui/events.js').then(({{ eventsPart }}) => {{
                const part = eventsPart({{ from: 0, to: 100, x: t => t, step: 1 }});
                const change = (stream, seq, change, t) => ({{ stream, seq, event: 'e', change, frame: 1, captured_at: new Date(t).toISOString() }});
                {received};
                part.set([change('1', 1, 'begin', 10){more}]);
                const lane = part.nodes[0].querySelector('.lane');
                return [...lane.querySelectorAll('i')].map(i => [parseFloat(i.style.left), parseFloat(i.style.left) + parseFloat(i.style.width), i.dataset.end].join(' ')).join();
            }})"
        )
    };
    for (received, more, want) in [
        ("part.noteContact('1', 40, 'online')", "", "10 100 now"),
        ("part.noteContact('1', 40, 'online')", ", change('1', 2, 'end', 30)", "10 30 end"),
        ("part.noteContact('1', 40, 'offline')", "", "10 40 open"),
        ("part.noteContact('1', 40, 'offline'), part.noteContact('1', 60, 'online')", "", "10 100 now"),
        // Another boot: the one before last sent something at 40.
        ("part.noteContact('1', 40, 'online'), part.noteContact('2', 70, 'online')", "", "10 40 open"),
        (
            "part.noteContact('1', 40, 'online'), part.noteContact('2', 70, 'online')",
            ", change('2', 3, 'begin', 80)",
            "10 40 open,80 100 now",
        ),
        // Of a boot of which this page received nothing, no more is known than the next change.
        ("part.noteContact('2', 70, 'online')", ", change('2', 3, 'begin', 80)", "10 80 open,80 100 now"),
        ("part.noteContact('2', 70, 'online')", "", "10 12 open"),
    ] {
        assert_eq!(browser.resolved(&bars(received, more)), want, "{received}{more}");
    }
    drop((metrics, bridge));
}

#[test]
fn an_event_of_an_edge_that_was_killed_has_an_open_end() {
    let (house, bridge) = House::embedded();
    let (metrics, page) = house.metrics();
    let config = house.path("event.toml");
    std::fs::write(&config, ALWAYS).unwrap();
    let (config, source) = (config.display().to_string(), format!("file:{}", media::clip().display()));
    let mut edge = house.edge("desk", &["--config", &config, "--source", &source, "--loop"]);
    wait_for("a report", LIMIT, || (get(&page, "/api/devices/desk/latest").0 == 200).then_some(()));
    let mut browser = Browser::open(house.dir(), &format!("{page}device/desk"), 1200, 900);
    let ends = "[...document.querySelectorAll('#events .lane i')].map(i => i.dataset.end).join()";
    browser.wait_until("the bar", &format!("{ends} === 'now'"));
    edge.kill();
    browser.wait_until("that it is offline", "document.getElementById('state').textContent === 'stream interrupted'");
    for range in ["live", "10 min"] {
        let button =
            format!("[...document.querySelectorAll('.history button')].find(b => b.textContent === '{range}')");
        browser.value(&format!("{button}.click()"));
        browser.wait_until("the range", &format!("{button}.getAttribute('aria-pressed') === 'true'"));
        browser.wait_until("the open end", &format!("{ends} === 'open'"));
        browser.wait_until(
            "its words",
            "/picture is not known since/.test(document.getElementById('event-changes').textContent)",
        );
    }
    drop((metrics, bridge));
}
