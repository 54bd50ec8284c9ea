//! What only a PostgreSQL store has: claims, takeovers, retention by the chunk, and faults of a server and a connection.
//!
//! Faults are injected at every statement of a transaction: by triggers on every table, by the end of the server's process
//! in the middle of a statement, and by a connection that is cut before or after each message. Rows and ledger are compared
//! afterwards.

use super::common::{envelope, loss, record, window};
use super::ground::{Ground, SERVER, begin};
use super::{batch, busy, frames, line, rows};
use firmware::custody::{Envelope, Kind};
use firmware::wire::{CensusHead, Report};
use hueflow_bridge::config::StoreConfig;
use hueflow_bridge::journal::Batch;
use hueflow_bridge::metrics::store::reader::Unit;
use hueflow_bridge::metrics::store::{Store, StoreError};
use hueflow_bridge::relay::verdict::seal;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The same records in another topic's partition.
fn in_place(batch: Batch, place: &str, partition: i32) -> Batch {
    let mut batch = batch;
    for record in &mut batch.records {
        (record.place, record.partition) = (place.to_owned(), partition);
    }
    batch
}

fn scope(place: &str, partition: i32) -> (String, i32) {
    (place.to_owned(), partition)
}

#[test]
fn a_claim_goes_on_at_the_partitions_offset_and_fences_off_the_former_holder() {
    let g = &Ground::postgres();
    let (mut first, mut second) = (g.open(), g.open());
    begin(&mut first, "j");
    first.apply(&batch(1, &frames(0, 10))).unwrap();
    assert_eq!(begin(&mut second, "j").into_values().collect::<Vec<_>>(), [11]);
    // The first one, which was held up, goes on with what it has read meanwhile.
    assert!(matches!(first.apply(&batch(11, &frames(10, 20))), Err(StoreError::Fenced)));
    assert_eq!(second.apply(&batch(11, &frames(10, 15))).unwrap().len(), 5);
    assert!(first.apply(&batch(11, &frames(10, 20))).is_err(), "it stays fenced off");
    assert_eq!(begin(&mut first, "j").into_values().collect::<Vec<_>>(), [16]);
    assert_eq!(first.apply(&batch(16, &frames(14, 20))).unwrap().len(), 5);
    assert_eq!(rows(g), (0..20).collect::<Vec<_>>());
    assert_eq!((line(&mut first).stored, line(&mut first).duplicates), (20, 1));
    assert_eq!(line(&mut first), line(&mut second), "all instances see one ledger");
}

#[test]
fn an_instance_stopped_in_the_middle_of_a_transaction_delays_no_other() {
    let g = &Ground::postgres();
    let (mut first, mut second) = (g.open(), g.open());
    begin(&mut first, "j");
    first.apply(&batch(1, &frames(0, 10))).unwrap();
    // As an instance that was stopped while it copied its reports: the server waits for the rest of them.
    let mut client = g.client();
    let mut held = client.transaction().unwrap();
    held.execute("UPDATE claims SET stamp = 1", &[]).unwrap();
    let mut copy = held.copy_in("COPY hours FROM STDIN").unwrap();
    copy.write_all(b"pi\t1").unwrap();
    copy.flush().unwrap();
    assert_eq!(begin(&mut second, "j").into_values().collect::<Vec<_>>(), [11]);
    assert_eq!(second.apply(&batch(11, &frames(10, 15))).unwrap().len(), 5);
    assert!(copy.finish().is_err(), "its session was ended");
    assert_eq!(rows(g), (0..15).collect::<Vec<_>>());
}

#[test]
fn instances_share_a_stream_whose_records_are_in_several_topics() {
    let g = &Ground::postgres();
    let (mut reports, mut windows) = (g.open(), g.open());
    reports.begin("j").unwrap();
    reports.claim(&[scope("metrics", 0), scope("metrics", 1)]).unwrap();
    windows.begin("j").unwrap();
    windows.claim(&[scope("status", 0)]).unwrap();
    // Seq 5 is a loss: it is in another topic than the reports around it.
    let all: Vec<_> = (0..5).chain(6..10).map(|seq| ("metrics", record(8, seq))).collect();
    reports.apply(&in_place(batch(0, &all), "metrics", 0)).unwrap();
    let of_status = [
        ("window", window(20, 1, None, &[(20, 0, 0, 0), (8, 0, 0, 10)])),
        ("metrics", loss(8, 5, 8, 3, 4)),
        ("window", window(8, 1, None, &[(8, 0, 0, 10)])),
    ];
    windows.apply(&in_place(batch(0, &of_status), "status", 0)).unwrap();
    let ledger = reports.ledger().unwrap();
    assert_eq!(ledger.iter().map(|l| l.boot.as_str()).collect::<Vec<_>>(), ["20", "8"], "by their first windows");
    assert_eq!((ledger[1].produced, ledger[1].stored, ledger[1].missing), (10, 10, 0));
    // What another instance named is known to the one that stores reports.
    let events = reports.apply(&in_place(batch(9, &[("metrics", record(8, 10))]), "metrics", 0)).unwrap();
    assert_eq!(g.reader().latest("pi").unwrap().unwrap().1.seq, 10);
    assert_eq!(events.len(), 1);
    // A third one takes over: the holes in the topic's numbers are filled, and duplicates stay out.
    let mut third = g.open();
    third.begin("j").unwrap();
    third.claim(&[scope("metrics", 0)]).unwrap();
    let spans = "SELECT count(*) FROM spans p JOIN claims c USING (cid) WHERE c.place = 'metrics'";
    assert_eq!(g.number(spans), 1);
    assert_eq!(third.apply(&in_place(batch(10, &all), "metrics", 0)).unwrap().len(), 0);
    assert_eq!(third.ledger().unwrap()[1].duplicates, 9);
    assert!(matches!(
        reports.apply(&in_place(batch(10, &[("metrics", record(8, 11))]), "metrics", 0)),
        Err(StoreError::Fenced)
    ));
}

#[test]
fn the_spans_of_a_topic_whose_numbers_have_holes_do_not_grow_for_ever() {
    let g = &Ground::postgres();
    let mut store = g.open();
    store.begin("j").unwrap();
    store.claim(&[scope("metrics", 0), scope("status", 0)]).unwrap();
    let odd: Vec<_> = (0..600).map(|n| ("metrics", record(8, 2 * n + 1))).collect();
    let even: Vec<_> = (0..600).map(|n| ("metrics", loss(8, 2 * n, 8, 1 << 40, (1 << 40) + 1))).collect();
    store.apply(&in_place(batch(0, &odd), "metrics", 0)).unwrap();
    store.apply(&in_place(batch(0, &even), "status", 0)).unwrap();
    let spans = "SELECT count(*) FROM spans WHERE what = 'stored'";
    assert_eq!(g.number(spans), 1_200);
    for _ in 0..60 {
        store.maintain().unwrap();
    }
    store.apply(&in_place(batch(600, &[("metrics", record(8, 1_200))]), "metrics", 0)).unwrap();
    assert_eq!(g.number(spans), 2);
    assert_eq!((line(&mut store).stored, line(&mut store).duplicates), (1_201, 0));
}

#[test]
fn a_partition_that_was_added_doubles_nothing_that_an_old_one_has() {
    let g = &Ground::postgres();
    let mut store = g.open();
    store.begin("j").unwrap();
    store.claim(&[scope("metrics", 0)]).unwrap();
    store.apply(&in_place(batch(0, &frames(0, 10)), "metrics", 0)).unwrap();
    store.claim(&[scope("metrics", 0), scope("metrics", 1)]).unwrap();
    assert_eq!(store.apply(&in_place(batch(0, &frames(5, 15)), "metrics", 1)).unwrap().len(), 5);
    assert_eq!((line(&mut store).stored, line(&mut store).duplicates), (15, 5));
}

#[test]
fn retention_drops_the_oldest_chunks_and_lets_no_old_duplicate_in() {
    let g = &Ground::postgres();
    let config = StoreConfig { bytes_max: 2 << 20, keep_days: 7, keep_minutes_days: 30, ..g.config() };
    let mut store = Store::open(&config).unwrap();
    begin(&mut store, "j");
    let of = |from: u64| (from..from + 1_000).map(|seq| ("metrics", busy(8, seq))).collect::<Vec<_>>();
    for from in (0..16_000).step_by(1_000) {
        store.apply(&batch(from as i64, &of(from))).unwrap();
        while store.maintain().unwrap().is_zero() {}
    }
    assert!(g.used_bytes() <= config.bytes_max + (config.bytes_max / 4), "{}", g.used_bytes());
    let kept = rows(g);
    assert!(kept.len() > 1_000 && kept.len() < 6_000, "{}", kept.len());
    assert_eq!(kept, (16_000 - kept.len() as u64..16_000).collect::<Vec<_>>(), "the newest");
    store.apply(&batch(0, &of(0))).unwrap();
    assert_eq!(rows(g), kept);
    assert_eq!((line(&mut store).stored, line(&mut store).duplicates), (16_000, 1_000));
    let sum = |unit| g.reader().roll_ups("pi", unit, 0, u64::MAX).unwrap().iter().map(|(_, r)| r.reports).sum::<u64>();
    assert_eq!((sum(Unit::Minute), sum(Unit::Hour)), (0, 16_000), "minutes of 2023 are too old, hours stay");
    // By days: all chunks but the newest began more than eight days ago.
    g.execute("UPDATE chunks SET started_at_us = started_at_us - 8 * 86400000000");
    while store.maintain().unwrap().is_zero() {}
    store.apply(&batch(0, &of(16_000))).unwrap();
    assert_eq!(rows(g), (16_000..17_000).collect::<Vec<_>>());
}

#[test]
fn a_text_that_postgresql_does_not_take_holds_nothing_up() {
    let g = &Ground::postgres();
    let mut store = g.open();
    begin(&mut store, "j");
    let mut b = batch(1, &[frames(0, 3), vec![("status", br#"{"state":"a\u0000b"}"#.to_vec())]].concat());
    b.records[1].entry.key = "nul\0".to_owned();
    b.records[2].entry.key = "long".repeat(1_000);
    store.apply(&b).unwrap();
    store.apply(&batch(5, &frames(3, 4))).unwrap();
    assert_eq!(rows(g), [0, 3]);
    assert_eq!(g.number("SELECT count(*) FROM report_rows"), 4);
}

/// Round `n`: two reports, a census, a loss, a dead letter, a status, a window, and one of the last round's reports again.
pub fn round(n: u64) -> Batch {
    let census = |seq| {
        let head = CensusHead {
            frame: seq,
            part: 0,
            parts: 1,
            pixels: 1,
            colours: 1,
            in_part: 1,
            centroids_q6: heapless::Vec::from_slice(&[[0; 3]]).unwrap(),
            ids: heapless::Vec::from_slice(&[4]).unwrap(),
            space: Default::default(),
        };
        seal(&envelope(Kind::Census, 8, seq), &head, &[0, 1]).unwrap()
    };
    let report = Report { seed: n, ..super::report(3 * n) };
    let dead = Envelope { payload_version: 200, ..envelope(Kind::Report, 8, (1 << 30) + n) };
    let mut all = vec![
        ("metrics", seal(&envelope(Kind::Report, 8, 3 * n), &report, &[]).unwrap()),
        ("census", census(3 * n + 1)),
        ("metrics", record(8, 3 * n + 2)),
        ("metrics", loss(9, n, 8, 1 << 40, (1 << 40) + n + 1)),
        ("metrics", seal(&dead, &report, &[]).unwrap()),
        ("status", br#"{"state":"online"}"#.to_vec()),
        ("window", window(8, n + 1, None, &[(8, 0, 0, 3 * n + 3), (9, 0, 0, n + 1)])),
    ];
    if n > 0 {
        all.push(("metrics", record(8, 3 * n - 1)));
    }
    batch(10 * n as i64, &all)
}

/// Rows against the ledger after `rounds` rounds.
fn check(g: &Ground, store: &mut Store, rounds: u64) {
    assert_eq!(g.number("SELECT count(*) FROM report_rows"), 2 * rounds);
    assert_eq!(g.number("SELECT count(DISTINCT seq) FROM report_rows"), 2 * rounds);
    assert_eq!(g.number("SELECT sum(reports) FROM minutes"), 2 * rounds);
    assert_eq!((g.number("SELECT count(*) FROM dead"), g.number("SELECT count(*) FROM losses")), (rounds, rounds));
    assert_eq!(
        g.number("SELECT count(*) FROM report_rows r LEFT JOIN settings s ON s.id = r.settings WHERE s.id IS NULL"),
        0
    );
    assert_eq!(g.number("SELECT count(*) FROM report_rows r LEFT JOIN streams s USING (sid) WHERE s.sid IS NULL"), 0);
    let l = line(store);
    assert_eq!((l.stored, l.dead, l.duplicates), (4 * rounds, rounds, rounds - 1), "{l:?}");
    // An instance that starts now sees the same.
    let mut other = g.open();
    assert_eq!(
        begin(&mut other, "j").into_values().collect::<Vec<_>>(),
        [(10 * (rounds - 1) + 7 + u64::from(rounds > 1)) as i64]
    );
    assert_eq!(line(&mut other), l);
}

/// Every table that a batch writes, each kind of statement on it made to fail in turn.
fn fail_at_every_statement(action: &str, timing: &str) {
    let g = &Ground::postgres();
    let mut store = g.open();
    begin(&mut store, "j");
    let mut client = g.client();
    let sql = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1";
    let tables: Vec<String> = client.query(sql, &[]).unwrap().iter().map(|r| r.get(0)).collect();
    client
        .batch_execute(&format!(
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NULL; END $$"
        ))
        .unwrap();
    let (mut rounds, mut failed) = (0, BTreeSet::new());
    for table in &tables {
        for verb in ["INSERT", "UPDATE", "DELETE"] {
            let trigger = timing.replace("VERB", verb).replace("TABLE", table);
            client.batch_execute(&trigger).unwrap();
            let batch = round(rounds);
            rounds += 1;
            let result = store.apply(&batch);
            if result.is_err() {
                failed.insert(table.as_str());
                assert!(store.apply(&batch).is_err(), "{verb} on {table} fails as long as the fault is there");
            }
            client.batch_execute(&format!("DROP TRIGGER fault ON {table}")).unwrap();
            if result.is_err() {
                store.apply(&batch).unwrap();
            }
        }
    }
    check(g, &mut store, rounds);
    let want = [
        "accounts",
        "census",
        "claims",
        "dead",
        "hours",
        "losses",
        "minutes",
        "report_rows_0",
        "settings",
        "spans",
        "statuses",
        "streams",
        "windows",
    ];
    // The streams are there after the first round, in which no table of a name before theirs failed.
    let want: BTreeSet<&str> = want.into_iter().filter(|t| *t != "streams" || failed.contains("streams")).collect();
    assert_eq!(failed, want);
}

#[test]
fn whichever_statement_of_a_transaction_raises_rows_and_ledger_agree() {
    fail_at_every_statement(
        "RAISE EXCEPTION 'injected'",
        "CREATE TRIGGER fault AFTER VERB ON TABLE FOR EACH ROW EXECUTE FUNCTION fault()",
    );
}

#[test]
fn the_same_if_it_is_the_commit_that_fails() {
    fail_at_every_statement(
        "RAISE EXCEPTION 'injected'",
        "CREATE CONSTRAINT TRIGGER fault AFTER VERB ON TABLE DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fault()",
    );
}

#[test]
fn the_same_if_the_server_s_process_ends_there() {
    fail_at_every_statement(
        "PERFORM pg_terminate_backend(pg_backend_pid())",
        "CREATE TRIGGER fault AFTER VERB ON TABLE FOR EACH ROW EXECUTE FUNCTION fault()",
    );
}

/// A proxy in front of the server that cuts a connection at the n-th piece that the client sends.
struct Cutter {
    port: u16,
    /// Pieces until the cut; negative: none.
    left: Arc<AtomicI64>,
    /// Whether the piece reaches the server first, whose answer is lost.
    is_answer_lost: Arc<AtomicBool>,
}

impl Cutter {
    fn start() -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (left, is_answer_lost) = (Arc::new(AtomicI64::new(-1)), Arc::new(AtomicBool::new(false)));
        let of_thread = (left.clone(), is_answer_lost.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (left, is_answer_lost) = of_thread.clone();
                let (mut client, mut server) =
                    (client.unwrap(), TcpStream::connect(("127.0.0.1", SERVER.port)).unwrap());
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let is_cut = Arc::new(AtomicBool::new(false));
                let cut = is_cut.clone();
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = answers.read(&mut buffer) {
                        // What was sent before the cut has had its effect when its answer is there.
                        if cut.load(Ordering::SeqCst) || back.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = (back.shutdown(Shutdown::Both), answers.shutdown(Shutdown::Both));
                });
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = client.read(&mut buffer) {
                        if left.fetch_sub(1, Ordering::SeqCst) == 0 {
                            is_cut.store(true, Ordering::SeqCst);
                            if !is_answer_lost.load(Ordering::SeqCst) {
                                break;
                            }
                        }
                        if server.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                });
            }
        });
        Cutter { port, left, is_answer_lost }
    }
}

fn cut_at_every_piece(is_answer_lost: bool) {
    let g = &Ground::postgres();
    let cutter = Cutter::start();
    cutter.is_answer_lost.store(is_answer_lost, Ordering::SeqCst);
    let mut store = Store::open(&g.config_at(cutter.port)).unwrap();
    begin(&mut store, "j");
    let (mut rounds, mut piece, mut failed) = (0, 0, 0);
    loop {
        let batch = round(rounds);
        rounds += 1;
        cutter.left.store(piece, Ordering::SeqCst);
        let is_over = store.apply(&batch).is_ok() && cutter.left.swap(-1, Ordering::SeqCst) >= 0;
        if is_over {
            break;
        }
        failed += 1;
        // The connection is made again with the retry; the fault may have hit that one, too.
        cutter.left.store(-1, Ordering::SeqCst);
        store.apply(&batch).unwrap();
        piece += 1;
    }
    assert!(failed > 10, "{failed} cuts: the proxy does not see the statements");
    check(g, &mut store, rounds);
}

#[test]
fn whichever_message_is_cut_off_rows_and_ledger_agree() {
    cut_at_every_piece(false);
}

#[test]
fn the_same_if_the_answer_is_lost_the_commit_s_too() {
    cut_at_every_piece(true);
}
