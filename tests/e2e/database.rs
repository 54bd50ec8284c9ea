//! PostgreSQL as the store of one machine: over TLS, with a second instance that waits, and moved to a file.
//!
//! A real PostgreSQL, relay and edge over the embedded broker and a local journal. The password must be in no output.

use harness::certs::Certs;
use harness::postgres::Postgres;
use harness::{House, bin, journal, wait_for};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

/// A configuration of metrics with the store's password in a file.
fn configure(house: &House, postgres: &Postgres, name: &str, ca: &Path, password_file: &Path) -> String {
    let text = format!(
        "[journal]\nurl = \"{}\"\n[store]\nurl = \"postgres://hueflow@localhost:{}/hueflow?sslmode=require\"\n\
         password_file = \"{}\"\nca_file = \"{}\"\n[web]\nlisten = \"127.0.0.1:0\"\n",
        house.journal,
        postgres.port,
        password_file.display(),
        ca.display()
    );
    std::fs::write(house.path(name), text).unwrap();
    house.path(name).display().to_string()
}

/// Has the server speak TLS with a certificate for localhost. Its user writes the files.
fn serve_tls(postgres: &Postgres, certs: &Certs) {
    for end in ["pem", "key"] {
        let text = std::fs::read_to_string(certs.path(&format!("localhost.{end}"))).unwrap();
        let file = if end == "pem" { "server.crt" } else { "server.key" };
        postgres.query(&format!(
            "COPY (SELECT unnest(string_to_array('{}', E'\\n'))) TO PROGRAM 'umask 077; cat > {file}'",
            text.trim_end()
        ));
    }
    postgres.query("ALTER SYSTEM SET ssl = on");
    postgres.query("SELECT pg_reload_conf()");
    wait_for("TLS", LIMIT, || (postgres.query("SHOW ssl") == ["on"]).then_some(()));
}

#[test]
fn a_database_over_tls_with_one_instance_at_a_time_and_moved_to_a_file() {
    let (house, bridge) = House::embedded();
    let postgres = Postgres::start();
    let certs = Certs::new(&house.path("certs"));
    certs.certify(&["server", "localhost"]);
    serve_tls(&postgres, &certs);
    let right = configure(&house, &postgres, "right.toml", &certs.ca(), &postgres.password_file());

    // Doctor says what is wrong, and what to type.
    let doctor = |config: &str| {
        let out = house.run("hueflow-metrics", &["doctor", "--config", config]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines().find(|l| l.contains(" store ")).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(doctor(&right).contains("no store yet (will be made)"), "{}", doctor(&right));
    let other = Certs::new(&house.path("other"));
    let untrusted = configure(&house, &postgres, "untrusted.toml", &other.ca(), &postgres.password_file());
    assert!(
        doctor(&untrusted).starts_with("wrong") && doctor(&untrusted).contains("certificate"),
        "{}",
        doctor(&untrusted)
    );
    std::fs::write(house.path("wrong"), "wrong").unwrap();
    let denied = configure(&house, &postgres, "denied.toml", &certs.ca(), &house.path("wrong"));
    assert!(doctor(&denied).contains("password authentication failed"), "{}", doctor(&denied));

    let start = |name: &str| {
        let mut command = Command::new(bin("hueflow-metrics"));
        command.args(["run", "--config", &right]);
        let metrics = harness::Running::start(name, house.dir(), &mut command);
        metrics.wait_for_line("http://127.0.0.1:", LIMIT);
        metrics
    };
    let stored = || postgres.ask("SELECT count(*) FROM report_rows").ok()?.first()?.parse::<u64>().ok();
    let mut first = start("first");
    let mut edge = house.edge("pi-1", &["--source", "synthetic:160x120@30", "--frames", "100000"]);
    wait_for("records in the database", LIMIT, || (stored()? > 30).then_some(()));
    let encrypted = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                     WHERE a.application_name = 'hueflow-metrics'";
    assert_eq!(postgres.query(encrypted), ["t"]);
    // A local journal has one reader. The second instance waits, and takes over.
    let mut second = start("second");
    second.wait_for_line("this one waits until that one ends", LIMIT);
    let before = stored().unwrap();
    wait_for("the first one to go on", LIMIT, || (stored()? > before + 30).then_some(()));
    first.kill();
    let before = stored().unwrap();
    wait_for("the second one to go on", LIMIT, || (stored()? > before + 30).then_some(()));
    edge.signal("TERM");
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let ledger = |arguments: &[&str]| -> Vec<Value> {
        let out = house.run("hueflow-metrics", &[&["ledger", "--json"], arguments].concat());
        String::from_utf8_lossy(&out.stdout).lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    };
    let mut last = Vec::new();
    wait_for("a settled ledger", LIMIT, || {
        let is_read = journal::is_read(&house.journal, || postgres.offsets());
        last = ledger(&["--config", &right]);
        (is_read && last.len() == 1 && last[0]["missing"] == 0 && last[0]["produced"] == last[0]["stored"])
            .then_some(())
    });
    let reports = stored().unwrap();
    assert_eq!(postgres.query("SELECT count(DISTINCT (sid, seq)) FROM report_rows"), [reports.to_string()]);
    second.stop();

    let from = format!("postgres://hueflow@localhost:{}/hueflow?sslmode=require", postgres.port);
    let store = house.store().display().to_string();
    let moved = house.run("hueflow-metrics", &["store", "move", "--config", &right, "--from", &from, "--to", &store]);
    let move_output = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert!(
        move_output.contains(&format!("{reports} reports")),
        "{move_output}{}",
        String::from_utf8_lossy(&moved.stderr)
    );
    assert_eq!(house.query("SELECT count(*) FROM reports"), [reports.to_string()]);
    assert_eq!(ledger(&["--store", &store]), last);

    let password = std::fs::read_to_string(postgres.password_file()).unwrap();
    let printed = house.run("hueflow-metrics", &["print-config", "--store", &postgres.url()]);
    for text in [first.stderr(), second.stderr(), move_output, String::from_utf8_lossy(&printed.stdout).into_owned()] {
        assert!(!text.contains(password.trim_end()), "the password is in: {text}");
    }
    drop(bridge);
}
