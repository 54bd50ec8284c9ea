//! The chain over TLS and with passwords, to the broker and to Kafka, and what is reported when one of them is wrong.
//!
//! Configurations and `deploy/certify` are the shipped ones. No password may be in a log, and no record may be lost to a
//! wrong one.

use harness::certs::Certs;
use harness::services::{Kafka, Mosquitto};
use harness::{House, Running, bin, free_port, media};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const USERS: [&str; 2] = ["pi-1", "hueflow-bridge"];
const KAFKA_PASSWORD: &str = "a-word-between-bridge-and-kafka";

/// Programs whose broker speaks TLS alone, and whose journal is a file until [`Secure::kafka`].
struct Secure {
    house: House,
    certs: Certs,
    mosquitto: Mosquitto,
}

impl Secure {
    /// `server`: the arguments of `deploy/certify` for the broker's certificate.
    fn new(server: &[&str]) -> Secure {
        let mut house = House::new("", "");
        house.journal = format!("local:{}", house.path("journal.sqlite").display());
        let certs = Certs::new(&house.path("ca"));
        certs.certify(&[&["server"], server].concat());
        certs.install(server[0], &house.path("certs"));
        let mosquitto = Mosquitto::tls(house.dir(), &USERS);
        house.mqtt = mosquitto.url();
        Secure { house, certs, mosquitto }
    }

    /// Puts a Kafka that wants TLS and a user in the place of the file.
    fn kafka(&mut self) -> Kafka {
        self.certs.certify(&["server", "localhost", "127.0.0.1"]);
        std::fs::write(self.house.path("kafka.password"), KAFKA_PASSWORD).unwrap();
        let (sasl, ssl) = (free_port(), free_port());
        let user = format!("hueflow:{}", self.house.path("kafka.password").display());
        let certs = self.house.path("ca").display().to_string();
        let args = ["--sasl", &sasl.to_string(), "--ssl", &ssl.to_string(), "--certs", &certs, "--user", &user];
        let kafka = Kafka::start_with("4", self.house.dir(), &args.map(str::to_owned));
        self.house.journal = format!("kafka+ssl://hueflow@127.0.0.1:{sasl}");
        kafka
    }

    fn url(&self, user: &str) -> String {
        format!("mqtts://{user}@127.0.0.1:{}", self.mosquitto.port)
    }

    fn password(&self, user: &str) -> PathBuf {
        self.house.path(&format!("{user}.password"))
    }

    /// One of our programs, with CA and passwords.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(bin(program));
        let (prefix, user) = match program {
            "hueflow-edge" => ("EDGE", "pi-1"),
            "hueflow-bridge" => ("BRIDGE", "hueflow-bridge"),
            _ => ("METRICS", ""),
        };
        if !user.is_empty() {
            command.env(format!("HUEFLOW_{prefix}__MQTT__CA_FILE"), self.certs.ca());
            command.env(format!("HUEFLOW_{prefix}__MQTT__PASSWORD_FILE"), self.password(user));
            command.env(format!("HUEFLOW_{prefix}__MQTT__URL"), self.url(user));
            command.args(args).args(["--site", "test"]);
        } else {
            command.args(args);
        }
        if prefix != "EDGE" {
            command.args(["--journal", &self.house.journal]);
            if self.house.journal.starts_with("kafka") {
                command.env(format!("HUEFLOW_{prefix}__JOURNAL__CA_FILE"), self.certs.ca());
                let password = self.house.path("kafka.password");
                command.env(format!("HUEFLOW_{prefix}__JOURNAL__PASSWORD_FILE"), password);
            }
        }
        command
    }

    fn start(&self, name: &str, command: &mut Command) -> Running {
        Running::start(name, self.house.dir(), command)
    }

    fn bridge(&self) -> Running {
        self.start("bridge", &mut self.command("hueflow-bridge", &["run"]))
    }

    fn metrics(&self) -> Running {
        let store = self.house.store().display().to_string();
        let args = ["run", "--listen", "127.0.0.1:0", "--store", &store];
        self.start("metrics", &mut self.command("hueflow-metrics", &args))
    }

    fn edge_command(&self, args: &[&str]) -> Command {
        let source = format!("file:{}", media::clip().display());
        let spool = self.house.path("spool").display().to_string();
        let mut command =
            self.command("hueflow-edge", &["run", "--device", "pi-1", "--source", &source, "--spool", &spool]);
        command.args(args);
        command
    }

    fn edge(&self, args: &[&str]) -> Running {
        self.start("edge", &mut self.edge_command(args))
    }

    /// The line of `doctor` for `check`, with one more variable or another URL.
    fn doctor(&self, program: &str, check: &str, change: impl FnOnce(&mut Command)) -> String {
        let mut command = match program {
            "hueflow-edge" => self.command(program, &["doctor", "--device", "pi-1"]),
            _ => self.command(program, &["doctor"]),
        };
        change(&mut command);
        let out = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let line = text.lines().find(|l| l.split_whitespace().nth(1) == Some(check));
        line.unwrap_or_else(|| panic!("no {check} in {text} {}", String::from_utf8_lossy(&out.stderr))).to_owned()
    }

    /// That no password is in any of these.
    fn tells_no_secret(&self, texts: &[String]) {
        let keys = ["ca/ca.key", "certs/hueflow.key"].map(|k| std::fs::read_to_string(self.house.path(k)).unwrap());
        let secrets = USERS.map(|u| self.mosquitto.password(u)).into_iter().chain([KAFKA_PASSWORD.to_owned()]);
        for secret in secrets.chain(keys.iter().filter_map(|k| k.lines().nth(1).map(str::to_owned))) {
            assert!(!texts.iter().any(|t| t.contains(&secret)), "a secret is in the output: {secret}");
        }
    }
}

fn all_output(process: &Running) -> String {
    process.stdout() + &process.stderr()
}

fn output(mut command: Command) -> String {
    let out = command.output().expect("it starts");
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn the_whole_chain_over_tls_stores_every_record_and_tells_no_secret() {
    let mut secure = Secure::new(&["127.0.0.1"]);
    let kafka = secure.kafka();
    let (bridge, metrics) = (secure.bridge(), secure.metrics());
    bridge.wait_for_line("MQTT: connected to mqtts://", LIMIT);
    bridge.wait_for_line("journal kafka+ssl://hueflow@", LIMIT);
    let mut edge = secure.edge(&["--frames", "60", "--fast"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    secure.house.settled_after(1, 60, LIMIT);

    let doctors = [
        secure.doctor("hueflow-edge", "broker", |_| {}),
        secure.doctor("hueflow-bridge", "broker", |_| {}),
        secure.doctor("hueflow-bridge", "journal", |_| {}),
        secure.doctor("hueflow-metrics", "journal", |_| {}),
        // The other ways in: SCRAM with the shorter hash, and the password under TLS alone.
        secure.doctor("hueflow-bridge", "journal", |c| _ = c.env("HUEFLOW_BRIDGE__JOURNAL__SASL", "scram-sha-256")),
        secure.doctor("hueflow-metrics", "journal", |c| _ = c.env("HUEFLOW_METRICS__JOURNAL__SASL", "plain")),
    ];
    assert!(doctors.iter().all(|d| d.starts_with("ok ")), "{doctors:#?}");
    let edges = output(secure.command("hueflow-edge", &["print-config", "--all"]));
    let others = ["hueflow-bridge", "hueflow-metrics"]
        .map(|program| output(secure.command(program, &["print-config"])))
        .concat();
    let configs = edges + &others;
    assert!(configs.contains("ca_file") && configs.contains("kafka.password"), "{configs}");
    // The status that everybody may read has the configuration in it too.
    let mut texts: Vec<String> =
        [&bridge, &metrics, &edge, &kafka.process, &secure.mosquitto.process].map(all_output).into();
    texts.extend([configs, doctors.concat(), kafka.consume("status", "%s").concat()]);
    secure.tells_no_secret(&texts);
}

#[test]
fn a_wrong_password_on_each_hop_is_said_and_what_waited_arrives_when_it_is_put_right() {
    let mut secure = Secure::new(&["127.0.0.1"]);
    let kafka = secure.kafka();
    let files = [secure.password("pi-1"), secure.password("hueflow-bridge"), secure.house.path("kafka.password")];
    let right = files.each_ref().map(|f| std::fs::read(f).unwrap());
    files.iter().for_each(|f| std::fs::write(f, "wrong").unwrap());

    let (mut bridge, mut metrics) = (secure.bridge(), secure.metrics());
    let line = bridge.wait_for_line("MQTT: mqtts://127.0.0.1", LIMIT);
    assert!(line.contains("refuses user and password") && line.contains("mqtt.password_file"), "{line}");
    for program in [&bridge, &metrics] {
        let line = program.wait_for_line("the journal cannot be reached", LIMIT);
        assert!(line.contains("SASL authentication error") && line.contains("journal.password_file"), "{line}");
    }
    let doctor = secure.doctor("hueflow-metrics", "journal", |_| {});
    assert!(doctor.starts_with("wrong ") && doctor.contains("journal.password_file"), "{doctor}");
    let mut edge = secure.edge(&["--frames", "30", "--fast", "--no-drain"]);
    assert_eq!(edge.wait(LIMIT), 0, "a camera goes on without a broker: {}", edge.stderr());
    let text = edge.stderr();
    assert!(text.contains("refuses user and password: check the user in mqtt.url, mqtt.password_file"), "{text}");
    assert_eq!((bridge.stop(), metrics.stop()), (0, 0));

    files.iter().zip(&right).for_each(|(f, password)| std::fs::write(f, password).unwrap());
    let (bridge, metrics) = (secure.bridge(), secure.metrics());
    let mut edge = secure.edge(&["--frames", "10", "--fast"]);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    let ledger = secure.house.settled_after(2, 40, LIMIT);
    assert!(ledger.iter().all(|l| l["declared_lost"] == 0), "{ledger:?}");
    secure.tells_no_secret(&[&bridge, &metrics, &edge, &kafka.process].map(all_output));
}

#[test]
fn an_expired_certificate_is_said_once_and_with_a_new_one_all_that_waited_arrives() {
    let mut secure = Secure::new(&["127.0.0.1", "--days", "0"]);
    let (bridge, _metrics) = (secure.bridge(), secure.metrics());
    let mut edge = secure.edge(&["--frames", "90"]);
    for line in [bridge.wait_for_line("has expired", LIMIT), edge.wait_for_line("has expired", LIMIT)] {
        assert!(line.contains("the broker needs a new one"), "{line}");
    }
    let doctor = secure.doctor("hueflow-edge", "broker", |_| {});
    assert!(doctor.starts_with("wrong ") && doctor.contains("has expired"), "{doctor}");
    // All frames, three seconds of them, without a broker; meanwhile it is tried again and again, and not too often.
    edge.wait_for_line("waiting until the journal has the last", LIMIT);
    let tries = secure.mosquitto.process.stderr().matches("New connection").count();
    assert!((2..60).contains(&tries), "{tries} connections");
    assert_eq!(edge.stderr().matches("has expired").count(), 1, "{}", edge.stderr());
    assert!(edge.is_running(), "it waits for the journal to have all");

    secure.mosquitto.process.stop();
    for end in ["pem", "key"] {
        std::fs::remove_file(secure.certs.path(&format!("127.0.0.1.{end}"))).unwrap();
    }
    secure.certs.certify(&["server", "127.0.0.1"]);
    secure.certs.install("127.0.0.1", &secure.house.path("certs"));
    // The bridge first: what is sent before anybody subscribes is gone in the broker, and only sent again after time-outs.
    edge.signal("STOP");
    secure.mosquitto.restart();
    bridge.wait_for_line("MQTT: connected to mqtts://", LIMIT);
    edge.signal("CONT");
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    secure.house.settled_after(1, 90, LIMIT);
}

#[test]
fn an_unknown_ca_a_wrong_name_and_a_plain_port_are_reported() {
    let secure = Secure::new(&["127.0.0.1", "broker.example"]);
    let plain = Mosquitto::start(&plain_dir(&secure.house));
    let foreign = Certs::new(&secure.house.path("foreign"));
    let port = secure.mosquitto.port;
    for program in ["hueflow-edge", "hueflow-bridge"] {
        let prefix = program.replace('-', "_").to_uppercase();
        let url = format!("{prefix}__MQTT__URL");
        let ca = format!("{prefix}__MQTT__CA_FILE");
        let broker = |change: &dyn Fn(&mut Command)| secure.doctor(program, "broker", change);
        let well = broker(&|_| {});
        assert!(well.starts_with("ok "), "{well}");
        let unknown = broker(&|c| _ = c.env(&ca, foreign.ca()));
        assert!(unknown.contains("a CA that is not trusted here: mqtt.ca_file"), "{unknown}");
        // Without a file, the system's: it does not know our CA either.
        let system = broker(&|c| _ = c.env_remove(&ca));
        assert!(system.contains("mqtt.ca_file"), "{system}");
        let name = broker(&|c| _ = c.env(&url, format!("mqtts://localhost:{port}")));
        assert!(name.contains("not for localhost") && name.contains("broker.example"), "{name}");
        let to_tls = broker(&|c| _ = c.env_remove(&ca).env(&url, format!("mqtt://127.0.0.1:{port}")));
        assert!(to_tls.contains("hung up") && to_tls.contains("mqtts://"), "{to_tls}");
        let to_plain = broker(&|c| _ = c.env(&url, format!("mqtts://127.0.0.1:{}", plain.port)));
        assert!(to_plain.contains("8883"), "{to_plain}");
    }
    // A wrong file is a wrong configuration, reported before anything is done.
    let mut command = secure.edge_command(&["--frames", "1"]);
    let out = command.env("HUEFLOW_EDGE__MQTT__CA_FILE", secure.password("pi-1")).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(78) && text.contains("mqtt.ca_file") && text.contains("PEM"), "{text}");
    secure.tells_no_secret(&[text.into_owned()]);
}

fn plain_dir(house: &House) -> PathBuf {
    let dir = house.path("plain");
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

#[test]
fn a_broker_that_wants_a_certificate_gets_one() {
    let mut secure = Secure::new(&["127.0.0.1"]);
    for user in USERS {
        secure.certs.certify(&["client", user]);
    }
    std::fs::copy(secure.certs.ca(), secure.house.path("certs/ca.pem")).unwrap();
    secure.mosquitto.process.stop();
    secure.mosquitto.restart();
    let none = secure.doctor("hueflow-edge", "broker", |_| {});
    assert!(none.contains("wants a certificate of ours: mqtt.cert_file"), "{none}");
    let own = |command: &mut Command, prefix: &str, user: &str| {
        command.env(format!("HUEFLOW_{prefix}__MQTT__CERT_FILE"), secure.certs.path(&format!("{user}.pem")));
        command.env(format!("HUEFLOW_{prefix}__MQTT__KEY_FILE"), secure.certs.path(&format!("{user}.key")));
    };
    let mut command = secure.command("hueflow-bridge", &["run"]);
    own(&mut command, "BRIDGE", "hueflow-bridge");
    let bridge = secure.start("bridge", &mut command);
    bridge.wait_for_line("MQTT: connected to mqtts://", LIMIT);
    let mut command = secure.edge_command(&["--frames", "20", "--fast"]);
    own(&mut command, "EDGE", "pi-1");
    let mut edge = secure.start("edge", &mut command);
    assert_eq!(edge.wait(LIMIT), 0, "{}", edge.stderr());
    assert!(Path::new(&secure.house.path("journal.sqlite")).exists());
}
