//! `store move`: whatever a store holds is in the other one, and that one goes on where the first one stood.
//!
//! A store is moved from SQLite to PostgreSQL and back, and all that both hold is compared.

use super::common::{event, record, window};
use super::ground::{Ground, begin};
use super::postgres_only::round;
use super::{batch, busy, line, rows};
use firmware::wire::EventChange;
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::metrics::store::Store;
use hueflow_bridge::metrics::store::transfer::{Item, export, move_store};

/// All that a store holds, in an order of its own.
fn all(config: &StoreConfig) -> Vec<String> {
    let mut all = Vec::new();
    export(config, &mut |item: Item| {
        all.push(format!("{item:?}"));
        Ok(())
    })
    .unwrap();
    all.sort();
    all
}

pub fn fill(store: &mut Store) {
    begin(store, "j");
    for n in 0..20 {
        store.apply(&round(n)).unwrap();
    }
    let busy: Vec<_> = (0..6_000).map(|seq| ("metrics", busy(20, seq))).collect();
    store.apply(&batch(1_000, &busy)).unwrap();
    store.apply(&batch(8_000, &[("event", event(20, 6_001, "door", EventChange::Begin))])).unwrap();
    store.apply(&batch(9_000, &[("window", window(20, 1, None, &[(20, 0, 0, 6_002), (8, 0, 0, 60)]))])).unwrap();
}

#[test]
fn a_store_is_the_same_in_the_other_database_and_back_again() {
    for (from, to, back) in [
        (Ground::sqlite(), Ground::postgres(), Ground::sqlite()),
        (Ground::postgres(), Ground::sqlite(), Ground::postgres()),
    ] {
        let mut store = from.open();
        fill(&mut store);
        let ledger = store.ledger().unwrap();
        drop(store);
        let counts = move_store(&from.config(), &to.config()).unwrap();
        assert_eq!((counts["reports"], counts["accounts"]), (6_040, 3), "{counts:?}");
        move_store(&to.config(), &back.config()).unwrap();
        let (first, second, third) = (all(&from.config()), all(&to.config()), all(&back.config()));
        assert!(first.len() > 6_090, "{}", first.len());
        for (a, b) in first.iter().zip(&second) {
            assert_eq!(a, b);
        }
        assert_eq!((first.len(), &first), (second.len(), &third));
        // The other one goes on: at the same offset, without old duplicates, with the boots in their order.
        let mut store = to.open();
        assert_eq!(begin(&mut store, "j").into_values().collect::<Vec<_>>(), [9_001]);
        assert_eq!(store.ledger().unwrap(), ledger);
        let more = [("metrics", record(20, 5)), ("metrics", record(20, 6_000)), ("metrics", record(8, 59))];
        assert_eq!(store.apply(&batch(9_001, &more)).unwrap().len(), 1);
        assert_eq!(to.reader().latest("pi").unwrap().unwrap().1.seq, 6_000);
        assert_eq!(line(&mut store).duplicates, ledger[0].duplicates + 1);
        assert_eq!(rows(&to).len(), 6_041);
        drop(store);
        // A store with records is no target.
        assert!(move_store(&from.config(), &to.config()).unwrap_err().to_string().contains("holds records already"));
    }
}

#[test]
fn a_move_that_fails_leaves_the_target_empty() {
    let (from, to) = (Ground::sqlite(), Ground::postgres());
    fill(&mut from.open());
    drop(to.open());
    to.execute(
        "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'injected'; END $$; \
         CREATE TRIGGER fault AFTER INSERT ON hours FOR EACH ROW EXECUTE FUNCTION fault()",
    );
    assert!(move_store(&from.config(), &to.config()).unwrap_err().to_string().contains("injected"));
    assert_eq!(to.number("SELECT count(*) FROM report_rows"), 0);
    to.execute("DROP TRIGGER fault ON hours");
    move_store(&from.config(), &to.config()).unwrap();
    let nowhere = Ground::sqlite();
    assert!(
        move_store(&nowhere.config(), &Ground::postgres().config()).unwrap_err().to_string().contains("no such store")
    );
    assert!(!nowhere.file().exists(), "nothing is made");
}
