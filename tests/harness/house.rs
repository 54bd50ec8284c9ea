//! Edge, bridge and metrics of one test, over the brokers that the test chose.
//!
//! A [`House`] starts the three programs in a temporary folder and reads what they made: ledger, rows, pictures. Everything
//! comes from the real programs; there are no canned answers.

use crate::journal;
use crate::process::{Running, bin, wait_for};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// How long one of our programs may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The folder of one test, and the URLs of what stands in the middle.
pub struct House {
    dir: TempDir,
    /// The MQTT broker's URL.
    pub mqtt: String,
    /// The journal's URL.
    pub journal: String,
}

impl House {
    /// Programs over a broker and a journal; empty URLs are filled in later.
    pub fn new(mqtt: &str, journal: &str) -> House {
        let mut dir = TempDir::with_prefix("hueflow-test-").expect("a temporary folder");
        // For a person who wants to see the logs afterwards.
        dir.disable_cleanup(std::env::var_os("HUEFLOW_TEST_KEEP").is_some());
        House { dir, mqtt: mqtt.to_string(), journal: journal.to_string() }
    }

    /// Programs over the bridge's own broker and a local journal. Returns them with the bridge started.
    pub fn embedded() -> (House, Running) {
        let mut house = House::new("embedded", "");
        house.journal = format!("local:{}", house.path("journal.sqlite").display());
        let bridge = house.bridge(&[]);
        let line = bridge.wait_for_line("mqtt://127.0.0.1:", START_LIMIT);
        let at = line.find("mqtt://").expect("the URL");
        let url: String = line[at..].chars().take_while(|c| !c.is_whitespace() && *c != ',').collect();
        house.mqtt = url.trim_end_matches(|c: char| !c.is_ascii_digit()).to_string();
        (house, bridge)
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The test's folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.path("store.sqlite")
    }

    /// Starts a bridge.
    pub fn bridge(&self, more: &[&str]) -> Running {
        let mut command = Command::new(bin("hueflow-bridge"));
        command.args(["run", "--site", "test", "--mqtt", &self.mqtt, "--journal", &self.journal]).args(more);
        let bridge = Running::start("bridge", self.dir(), &mut command);
        bridge.wait_for_line("MQTT: connected", START_LIMIT);
        bridge
    }

    /// Starts metrics, and gives it with its page's address.
    pub fn metrics(&self) -> (Running, String) {
        self.instance("metrics", &self.store().to_string_lossy())
    }

    /// The same under a name, with another store.
    pub fn instance(&self, name: &str, store: &str) -> (Running, String) {
        // Of an instance that was killed.
        let _ = std::fs::remove_file(self.path(&format!("{name}.out")));
        let _ = std::fs::rename(self.path(&format!("{name}.err")), self.path(&format!("{name}.before.err")));
        let mut command = Command::new(bin("hueflow-metrics"));
        command.args(["run", "--journal", &self.journal, "--listen", "127.0.0.1:0", "--store", store]);
        let metrics = Running::start(name, self.dir(), &mut command);
        let line = metrics.wait_for_line("http://127.0.0.1:", START_LIMIT);
        let at = line.find("http://").expect("the address");
        let page = line[at..].split_whitespace().next().expect("the address").to_string();
        (metrics, page)
    }

    /// An edge command for this broker, with a spool of its own under its device's name.
    pub fn edge_command(&self, device: &str, args: &[&str]) -> Command {
        self.edge_command_with_spool(device, &self.path(&format!("spool-{device}")), args)
    }

    /// An edge command with a spool of the caller's choice.
    pub fn edge_command_with_spool(&self, device: &str, spool: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(bin("hueflow-edge"));
        command.args(["run", "--site", "test", "--device", device, "--mqtt", &self.mqtt, "--spool"]);
        command.arg(spool).args(args);
        command
    }

    /// Starts an edge.
    pub fn edge(&self, device: &str, args: &[&str]) -> Running {
        Running::start(&format!("edge-{device}"), self.dir(), &mut self.edge_command(device, args))
    }

    /// Waits for a settled ledger in which `frames` frames are seen.
    pub fn settled_after(&self, boots: usize, frames: u64, limit: Duration) -> Vec<Value> {
        let mut last = Vec::new();
        let mut seen = || {
            last = self.settled_ledger(boots, limit);
            let all = last.iter().map(|line| line["frames_seen"].as_u64().unwrap_or(0)).sum::<u64>();
            (all >= frames).then(|| last.clone())
        };
        let ledger = wait_for(&format!("{frames} frames in the ledger"), limit, &mut seen);
        let all = ledger.iter().filter_map(|line| line["frames_seen"].as_u64()).sum::<u64>();
        assert_eq!(all, frames, "{ledger:?}");
        ledger
    }

    /// Runs one of our programs to its end.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        Command::new(bin(program)).args(args).current_dir(self.dir()).output().expect("the program starts")
    }

    /// The store's ledger, one object for each device and boot.
    pub fn ledger(&self) -> Vec<Value> {
        let store = self.store();
        let out = self.run("hueflow-metrics", &["ledger", "--json", "--store", &store.to_string_lossy()]);
        String::from_utf8_lossy(&out.stdout).lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// Whether the store has read the journal to its end.
    pub fn has_read_journal(&self) -> bool {
        journal::is_read(&self.journal, || journal::rows(&self.store(), "SELECT place, part, next FROM offsets").ok())
    }

    /// Waits until every device's records are stored or accounted for, `boots` of them, and gives the ledger. Between two
    /// batches of the journal a ledger looks settled too: the store must also have read the journal to its end.
    pub fn settled_ledger(&self, boots: usize, limit: Duration) -> Vec<Value> {
        let mut last = Vec::new();
        wait_for(&format!("a settled ledger of {boots} boots"), limit, || {
            let is_read = self.has_read_journal();
            last = self.ledger();
            let number = |r: &Value, key: &str| r[key].as_u64().unwrap_or(u64::MAX);
            let settled = |r: &Value| {
                let there = number(r, "stored") + number(r, "dead") + number(r, "declared_lost");
                number(r, "produced") > 0 && number(r, "produced") == there && number(r, "missing") == 0
            };
            (is_read && last.len() == boots && last.iter().all(settled)).then(|| last.clone())
        })
    }

    /// Rows of a query on the store, by the `sqlite3` program: what a user would see.
    pub fn query(&self, sql: &str) -> Vec<String> {
        journal::rows(&self.store(), sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }
}
