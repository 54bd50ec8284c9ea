//! A store of an older version of the schema, opened by this version: whatever it held is still there, and it goes on.
//!
//! The older schema is made from the present one, by dropping what came later. Several instances of a PostgreSQL store may
//! open it at once.

use super::common::{event, record, window};
use super::ground::{Ground, begin};
use super::moved::fill;
use super::{batch, rows};
use firmware::wire::EventChange;
use hueflow_bridge::metrics::store::ledger::{Line, lines};
use hueflow_bridge::metrics::store::transfer::{Item, export};
use hueflow_bridge::metrics::store::{Store, open_existing};

on_both!(a_store_of_version_4_keeps_rows_and_ledger_and_has_the_start_of_new_boots);

/// Statements that make version 4 of the schema from version 5.
fn to_version_4(g: &Ground) -> &'static str {
    match g {
        Ground::Sqlite { .. } => "ALTER TABLE streams DROP COLUMN started_at_us; PRAGMA user_version = 4",
        Ground::Postgres { .. } => {
            "ALTER TABLE accounts DROP COLUMN started_at_us; UPDATE meta SET v = '4' WHERE k = 'schema'"
        }
    }
}

/// All that a store holds, sorted, with the starts of its streams apart.
fn all(g: &Ground) -> (Vec<String>, Vec<Option<u64>>) {
    let (mut all, mut starts) = (Vec::new(), Vec::new());
    export(&g.config(), &mut |mut item: Item| {
        if let Item::Account { account, .. } = &mut item {
            starts.push(account.started_at_us.take());
        }
        all.push(format!("{item:?}"));
        Ok(())
    })
    .unwrap();
    all.sort();
    (all, starts)
}

/// The ledger without the starts of boots, and these.
fn ledger(ledger: Vec<Line>) -> (Vec<Line>, Vec<Option<u64>>) {
    ledger.into_iter().map(|l| (Line { started_at_ms: None, ..l.clone() }, l.started_at_ms)).unzip()
}

fn a_store_of_version_4_keeps_rows_and_ledger_and_has_the_start_of_new_boots(g: &Ground) {
    let mut store = g.open();
    fill(&mut store);
    let (lines_before, starts) = ledger(store.ledger().unwrap());
    assert!(lines_before.len() == 2 && starts.iter().all(Option::is_some), "{starts:?}");
    drop(store);
    let (before, starts) = all(g);
    assert!(before.len() > 6_090 && starts.iter().all(Option::is_some), "{} {starts:?}", before.len());
    g.execute(to_version_4(g));
    let Err(e) = open_existing(&g.config()) else { panic!("a store of an older version was read") };
    assert!(e.to_string().contains("`hueflow-metrics run` updates"), "{e}");
    if let Ground::Postgres { .. } = g {
        std::thread::scope(|s| {
            for opened in [(); 3].map(|()| s.spawn(|| Store::open(&g.config()).map(drop))) {
                opened.join().unwrap().unwrap();
            }
        });
    }
    drop(g.open());
    let (after, starts) = all(g);
    for (a, b) in before.iter().zip(&after) {
        assert_eq!(a, b);
    }
    assert_eq!((before.len(), starts), (after.len(), vec![Some(0); 3]), "0 is the time of what was counted before");
    assert_eq!(g.number("SELECT count(*) FROM reports"), 6_040, "by the view");
    let mut store = g.open();
    assert_eq!(begin(&mut store, "j").into_values().collect::<Vec<_>>(), [9_001], "the offset is kept");
    assert_eq!(ledger(store.ledger().unwrap()), (lines_before, vec![None; 2]));
    // It goes on: no old duplicate comes in, old boots have no start, and a new one has.
    let more = [
        ("metrics", record(20, 5)),
        ("event", event(20, 6_002, "door", EventChange::End)),
        ("metrics", record(30, 0)),
        ("window", window(30, 1, None, &[(30, 0, 0, 1), (20, 0, 0, 6_003)])),
    ];
    store.apply(&batch(9_001, &more)).unwrap();
    assert_eq!(rows(g).len(), 6_041);
    let boots = |lines: Vec<Line>| lines.into_iter().map(|l| (l.boot, l.started_at_ms.is_some())).collect::<Vec<_>>();
    let want = [("8", false), ("20", false), ("30", true)].map(|(boot, is_known)| (boot.to_owned(), is_known));
    assert_eq!(boots(store.ledger().unwrap()), want);
    assert_eq!(boots(lines(&g.reader().accounts().unwrap())), want, "as a reader has it");
    assert_eq!(g.reader().latest_events("pi").unwrap()[0].event.change, "end");
}
