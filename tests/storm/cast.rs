//! The programs of a run, each with its connections through a proxy, and what can be asked of them from outside.
//!
//! It starts, kills and restarts them, makes faults on connections and disks, and counts progress in records and frames,
//! not in seconds.

use crate::disk::Disk;
use crate::plan::{Fault, Link, Victim};
use harness::proxy::{Mode, Proxy};
use harness::services::{Kafka, Mosquitto};
use harness::spool::{self, Kept};
use harness::traffic::Traffic;
use harness::{House, Running, free_port, media, wait_for};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long anything may take before the run has failed.
pub const LIMIT: Duration = Duration::from_secs(120);
/// How long records may take to gather at a victim that was stopped; then it is killed with what there is.
const GATHER_LIMIT: Duration = Duration::from_secs(5);
/// The edges' event is that a frame has so many clusters: frames of the clip do and do not in turns.
pub const MANY_CLUSTERS: u64 = 22;
/// How often the store is asked by a program of its own.
const ASK: Duration = Duration::from_millis(100);

/// What stands between edge and store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Middle {
    /// Mosquitto and Apache Kafka 4.
    Kafka,
    /// The bridge's own broker, and the local journal.
    Embedded,
}

/// What the edges look at, and what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// The clip; one edge has all pictures as records, in a small spool.
    Clip,
    /// A small synthetic scene, reports only.
    Plain,
}

/// How a run of an edge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its boot.
    pub boot: u64,
    /// Its own summary, if it ended cleanly.
    pub summary: Option<Summary>,
}

/// An edge's summary of its frames at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Frames that it worked on.
    pub frames: u64,
    /// Frames that the camera lost.
    pub lost: u64,
    /// Frames that the spool refused.
    pub refused: u64,
}

/// One edge.
pub struct Edge {
    /// Its device.
    pub name: String,
    /// Its spool.
    pub spool: PathBuf,
    /// Its runs so far.
    pub runs: Vec<Run>,
    process: Running,
    log: PathBuf,
    read: u64,
    frames: u64,
}

/// The programs.
pub struct Cast {
    /// Their folder.
    pub house: House,
    /// The middle.
    pub middle: Middle,
    /// The edges.
    pub edges: Vec<Edge>,
    /// What passes between the edges and the broker.
    pub traffic: Arc<Traffic>,
    /// Kafka, if there is one.
    pub kafka: Option<Kafka>,
    /// The MQTT broker, if it is a process of its own.
    pub mosquitto: Option<Mosquitto>,
    /// The bridge.
    pub bridge: Running,
    metrics: Running,
    scene: Scene,
    bridge_url: String,
    edges_wire: Proxy,
    bridge_wire: Option<Proxy>,
    kafka_wire: Option<Proxy>,
    /// Last, so that nobody has it open any more when it goes.
    disk: Option<Disk>,
}

impl Cast {
    /// Starts all of them, and waits until records of each edge have come through.
    pub fn start(middle: Middle, edges: usize, scene: Scene) -> Cast {
        let mut house = House::new("", "");
        let traffic = Arc::new(Traffic::default());
        let (mut mosquitto, mut kafka, mut bridge_wire, mut kafka_wire) = (None, None, None, None);
        let (broker, bridge_url) = match middle {
            Middle::Kafka => {
                let broker = Mosquitto::start(house.dir());
                let port = free_port();
                let wire = Proxy::start(port, None);
                house.journal = format!("kafka://127.0.0.1:{}", wire.port);
                kafka = Some(Kafka::behind("4", house.dir(), port, wire.port));
                kafka_wire = Some(wire);
                let wire = Proxy::start(broker.port, None);
                let url = format!("mqtt://127.0.0.1:{}", wire.port);
                bridge_wire = Some(wire);
                let port = broker.port;
                mosquitto = Some(broker);
                (port, url)
            }
            Middle::Embedded => {
                house.journal = format!("local:{}", house.path("journal.sqlite").display());
                let port = free_port();
                (port, format!("embedded:{port}"))
            }
        };
        house.mqtt.clone_from(&bridge_url);
        let bridge = house.bridge(&[]);
        let metrics = house.metrics().0;
        let edges_wire = Proxy::start(broker, Some(traffic.clone()));
        house.mqtt = format!("mqtt://127.0.0.1:{}", edges_wire.port);
        let small = house.path("disk");
        let disk = if scene == Scene::Clip { Disk::mount(&small) } else { None };
        let names: Vec<String> = (1..=edges).map(|n| format!("pi-{n}")).collect();
        let started = names.into_iter().enumerate().map(|(n, name)| {
            let is_small = scene == Scene::Clip && n + 1 == edges && disk.is_some();
            let spool = if is_small { small.join("spool") } else { house.path(&format!("spool-{name}")) };
            let process = start_edge(&house, &name, &spool, scene, n + 1 == edges, None);
            let log = process.log().to_path_buf();
            Edge { name, spool, runs: Vec::new(), process, log, read: 0, frames: 0 }
        });
        let edges = started.collect();
        let mut cast = Cast {
            house,
            middle,
            edges,
            traffic,
            kafka,
            mosquitto,
            bridge,
            metrics,
            scene,
            bridge_url,
            edges_wire,
            bridge_wire,
            kafka_wire,
            disk,
        };
        let each = 30 * cast.edges.len() as u64;
        cast.pass_records(each);
        wait_for("records in the store", LIMIT, || (cast.stored() >= each).then_some(()));
        cast
    }

    /// Whether the disk of the last edge can be filled.
    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Waits until so many records more are acknowledged by the journal.
    pub fn pass_records(&mut self, records: u64) {
        let from = self.traffic.acked();
        let start = Instant::now();
        while self.traffic.acked() < from + records {
            if start.elapsed() > LIMIT {
                panic!("only {} of {records} records in {LIMIT:?}; {}", self.traffic.acked() - from, self.dead());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until so many frames more are logged, over all edges.
    pub fn pass_frames(&mut self, frames: u64) {
        let from = self.frames();
        wait_for("frames", LIMIT, || (self.frames() >= from + frames).then_some(()));
    }

    /// Waits until so many records more are in the store.
    pub fn pass_stored(&self, records: u64) {
        let from = self.stored();
        wait_for("records in the store", LIMIT, || {
            std::thread::sleep(ASK);
            (self.stored() >= from + records).then_some(())
        });
    }

    /// Frames that the edges have logged.
    pub fn frames(&mut self) -> u64 {
        self.edges.iter_mut().map(Edge::frames).sum()
    }

    /// Records in the store, of all streams.
    pub fn stored(&self) -> u64 {
        let rows = self.rows("SELECT coalesce(sum(hi - lo), 0) FROM spans WHERE what = 'stored'");
        rows.first().and_then(|r| r.parse().ok()).unwrap_or(0)
    }

    /// Rows of the store.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.house.store(), sql)
    }

    /// Whom we find dead that should live.
    fn dead(&mut self) -> String {
        let mut dead: Vec<String> =
            self.edges.iter_mut().filter_map(|e| (!e.process.is_running()).then(|| e.name.clone())).collect();
        if !self.bridge.is_running() {
            dead.push("bridge".to_owned());
        }
        if !self.metrics.is_running() {
            dead.push("metrics".to_owned());
        }
        format!("not running: {dead:?}; logs in {}", self.house.dir().display())
    }

    fn wire(&self, link: Link) -> Option<&Proxy> {
        match link {
            Link::Edges => Some(&self.edges_wire),
            Link::Bridge => self.bridge_wire.as_ref(),
            Link::Kafka => self.kafka_wire.as_ref(),
        }
    }

    /// Begins a fault. Gives whether records cannot pass while it lasts.
    pub fn begin(&mut self, fault: Fault) -> bool {
        let (link, mode) = match fault {
            Fault::Cut(link) => {
                self.wire(link).map(Proxy::cut);
                return false;
            }
            Fault::Hold(link) => (link, Mode::Hold),
            Fault::Slow(link, rate) => (link, Mode::Slow(rate)),
            Fault::Fill => {
                if let (Some(disk), Some(edge)) = (&self.disk, self.edges.last()) {
                    // One that was killed on a full disk may still refuse, and logs it only once.
                    let refuses = || {
                        let refused = edge.last_said("refused and counted");
                        refused > edge.last_said("takes records again") && refused > edge.last_said("see] memory: ")
                    };
                    wait_for("a frame to be refused", LIMIT, || {
                        // Again and again: the spool makes room by itself as the journal takes what is in it.
                        disk.fill();
                        refuses().then_some(())
                    });
                }
                return false;
            }
        };
        if let Some(wire) = self.wire(link) {
            wire.set(mode);
        }
        true
    }

    /// Ends a fault. `was_killed`: the last edge was killed since it began.
    pub fn end(&mut self, fault: Fault, was_killed: bool) {
        match fault {
            Fault::Cut(_) => {}
            Fault::Hold(link) | Fault::Slow(link, _) => {
                if let Some(wire) = self.wire(link) {
                    wire.set(Mode::Open);
                }
            }
            Fault::Fill => {
                if let (Some(disk), Some(edge)) = (&self.disk, self.edges.last()) {
                    disk.clear();
                    // One that was killed has forgotten that it had refused anything.
                    let takes = || edge.last_said("takes records again") > edge.last_said("refused and counted");
                    if !was_killed {
                        wait_for("the disk to take records again", LIMIT, || takes().then_some(()));
                    }
                }
            }
        }
    }

    /// Takes Kafka away: refused by its wire, and killed.
    pub fn take_kafka(&mut self) {
        if let (Some(wire), Some(kafka)) = (&self.kafka_wire, &mut self.kafka) {
            wire.set(Mode::Refuse);
            wire.cut();
            kafka.kill();
        }
    }

    /// Gives it back, and waits until it answers.
    pub fn give_kafka(&mut self) {
        if let (Some(wire), Some(kafka)) = (&self.kafka_wire, &mut self.kafka) {
            kafka.restart();
            wire.set(Mode::Open);
            kafka.wait();
        }
    }

    /// Stops a victim, and waits until so many records are in flight at it.
    pub fn freeze(&mut self, victim: Victim, want: u64) {
        match victim {
            Victim::Edge(n) => self.edges[n].process.signal("STOP"),
            Victim::Mosquitto => self.mosquitto.iter_mut().for_each(|m| m.process.signal("STOP")),
            Victim::Bridge => self.bridge.signal("STOP"),
            Victim::Kafka => self.kafka.iter_mut().for_each(|k| k.signal("STOP")),
            Victim::Metrics => self.metrics.signal("STOP"),
        }
        let start = Instant::now();
        while self.in_flight(victim) < want && start.elapsed() < GATHER_LIMIT {
            std::thread::sleep(if victim == Victim::Metrics { ASK } else { ASK / 10 });
        }
    }

    /// Records that a victim other than an edge has in its hands: on their way to the journal or the store through it.
    fn in_flight(&self, victim: Victim) -> u64 {
        match victim {
            Victim::Metrics => self.traffic.acked().saturating_sub(self.stored()),
            _ => self.traffic.in_flight(),
        }
    }

    /// Kills a victim without warning. Gives how many records were in flight at it, and of an edge what its disk holds.
    pub fn kill(&mut self, victim: Victim) -> (u64, Vec<Kept>) {
        let flying = if matches!(victim, Victim::Edge(_)) { 0 } else { self.in_flight(victim) };
        match victim {
            Victim::Edge(n) => {
                let edge = &mut self.edges[n];
                edge.process.kill();
                edge.note_run(None);
                let kept = spool::records(&edge.spool);
                let held = kept.iter().filter(|k| !self.traffic.is_acked(&edge.name, k.stream, k.seq));
                return (held.count() as u64, kept);
            }
            Victim::Mosquitto => self.mosquitto.iter_mut().for_each(|m| m.process.kill()),
            Victim::Bridge => self.bridge.kill(),
            Victim::Kafka => self.kafka.iter_mut().for_each(Kafka::kill),
            Victim::Metrics => self.metrics.kill(),
        }
        (flying, Vec::new())
    }

    /// Starts a victim again.
    pub fn restart(&mut self, victim: Victim) {
        match victim {
            Victim::Edge(n) => self.start_again(n, None),
            Victim::Mosquitto => self.mosquitto.iter_mut().for_each(Mosquitto::restart),
            Victim::Bridge => {
                let edges = std::mem::replace(&mut self.house.mqtt, self.bridge_url.clone());
                self.bridge = self.house.bridge(&[]);
                self.house.mqtt = edges;
            }
            Victim::Kafka => self.kafka.iter_mut().for_each(Kafka::restart),
            Victim::Metrics => self.metrics = self.house.metrics().0,
        }
    }

    fn start_again(&mut self, n: usize, frames: Option<u64>) {
        let last = n + 1 == self.edges.len();
        let edge = &mut self.edges[n];
        edge.process = start_edge(&self.house, &edge.name, &edge.spool, self.scene, last, frames);
    }

    /// Stops the edges as a user would, and lets each run once more until the journal has all that they had left.
    pub fn finish(&mut self) {
        self.edges.iter_mut().for_each(|e| e.process.signal("TERM"));
        for edge in &mut self.edges {
            edge.end();
        }
        (0..self.edges.len()).for_each(|n| self.start_again(n, Some(1)));
        for edge in &mut self.edges {
            edge.end();
        }
    }

    /// Resident bytes of the edges together, of the bridge and of the broker.
    pub fn resident(&self) -> [u64; 3] {
        let edges = self.edges.iter().map(|e| e.process.resident()).sum();
        [edges, self.bridge.resident(), self.mosquitto.as_ref().map_or(0, |m| m.process.resident())]
    }
}

impl Edge {
    fn frames(&mut self) -> u64 {
        let Ok(mut file) = std::fs::File::open(&self.log) else { return self.frames };
        let mut new = String::new();
        if file.seek(SeekFrom::Start(self.read)).is_ok() && file.read_to_string(&mut new).is_ok() {
            // The last line may not be whole yet.
            let whole = new.rfind('\n').map_or(0, |i| i + 1);
            self.frames += new[..whole].matches("colours detected").count() as u64;
            self.read += whole as u64;
        }
        self.frames
    }

    /// Where in its log a text stands for the last time.
    fn last_said(&self, text: &str) -> Option<usize> {
        std::fs::read_to_string(&self.log).unwrap_or_default().rfind(text)
    }

    fn note_run(&mut self, summary: Option<Summary>) {
        // With a disk that was full at its start it could not write which boot it is.
        let boot = spool::boot(&self.spool).unwrap_or(0);
        self.runs.push(Run { boot, summary });
    }

    /// Waits for a clean end.
    fn end(&mut self) {
        let code = self.process.wait(LIMIT);
        assert!(code == 0, "{} ended with {code}: see {}", self.name, self.log.display());
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        // The summary has a line of frames and a line of records; what there is none of is not in it.
        let before = |word: &str| {
            let line = log.lines().rfind(|l| l.contains(word))?;
            line.split(word).next()?.split_whitespace().last()?.parse().ok()
        };
        let printed = (before(" frames in "), before(" lost by the camera"), before(" held"));
        let (Some(frames), Some(lost), Some(_)) = printed else {
            panic!("{}: no summary at the end of {}", self.name, self.log.display())
        };
        let refused = before(" frames refused").unwrap_or(0);
        self.note_run(Some(Summary { frames, lost, refused }));
    }
}

/// Starts an edge; `tight`: with all pictures as records, in a small spool.
fn start_edge(house: &House, name: &str, spool: &Path, scene: Scene, last: bool, frames: Option<u64>) -> Running {
    let clip = format!("file:{}", media::clip().display());
    let source = if scene == Scene::Clip { clip.as_str() } else { "synthetic:160x120@30" };
    let mut args = vec!["--source", source, "--loop", "--log-frames"];
    let tight = last && scene == Scene::Clip;
    args.extend(["--video", if tight { "all" } else { "off" }]);
    args.extend(["--census-every", if scene == Scene::Clip { "5" } else { "0" }]);
    let frames = frames.map(|n| n.to_string());
    if let Some(n) = &frames {
        args.extend(["--frames", n]);
    }
    let mut command: Command = house.edge_command_with_spool(name, spool, &args);
    if scene == Scene::Clip {
        command.env("HUEFLOW_EDGE__EVENT", format!("[{{ name = \"many\", when = \"clusters >= {MANY_CLUSTERS}\" }}]"));
    }
    if tight {
        command.env("HUEFLOW_EDGE__SPOOL__BYTES_MAX", (2 << 20).to_string());
    }
    Running::start(&format!("edge-{name}"), house.dir(), &mut command)
}

/// Rows of a query by the `sqlite3` program; none while the file is not there or busy.
pub fn rows(file: &Path, sql: &str) -> Vec<String> {
    let mut command = Command::new("sqlite3");
    let out = command.args(["-readonly", "-cmd", ".timeout 5000"]).arg(file).arg(sql).output().expect("sqlite3");
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}
