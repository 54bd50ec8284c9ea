//! Real mosquitto and real Apache Kafka, one of each for a test.
//!
//! A service is started in the caller's folder on a free loopback port, and its address is returned once it answers.
//! Kafka's jars come from the cache. Instances are never shared, so a test may kill its own.

use crate::process::{Running, wait_for};
use crate::{free_port, root};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(90);

/// Who may come to a broker, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Open,
    Closed,
    Tls,
}

/// A mosquitto on a port of its own.
pub struct Mosquitto {
    /// Its loopback port.
    pub port: u16,
    dir: PathBuf,
    access: Access,
    more: String,
    /// The process.
    pub process: Running,
}

impl Mosquitto {
    /// Starts one with the settings of `deploy/mosquitto/hueflow.conf`.
    pub fn start(dir: &Path) -> Mosquitto {
        Mosquitto::start_with(dir, "")
    }

    /// The same with more lines of settings, which win.
    pub fn start_with(dir: &Path, more: &str) -> Mosquitto {
        Mosquitto::on_a_port(dir, Access::Open, more)
    }

    fn on_a_port(dir: &Path, access: Access, more: &str) -> Mosquitto {
        let port = free_port();
        let process = Mosquitto::run(dir, port, access, more);
        Mosquitto { port, dir: dir.to_path_buf(), access, more: more.to_owned(), process }
    }

    /// Starts one with `deploy/mosquitto/closed.conf` too. Each user's password is in `NAME.password` in `dir`.
    pub fn closed(dir: &Path, users: &[&str]) -> Mosquitto {
        Mosquitto::with_users(dir, users, Access::Closed)
    }

    /// The same with `deploy/mosquitto/tls.conf`: it speaks nothing but TLS. Certificate and key are `certs/hueflow.pem` and
    /// `certs/hueflow.key` in `dir`; with `certs/ca.pem` there too, it wants certificates of its clients.
    pub fn tls(dir: &Path, users: &[&str]) -> Mosquitto {
        Mosquitto::with_users(dir, users, Access::Tls)
    }

    fn with_users(dir: &Path, users: &[&str], access: Access) -> Mosquitto {
        for user in users {
            let mut command = Command::new(root().join("deploy/mosquitto/add-user"));
            command.arg(user).arg(dir.join("hueflow.passwd")).arg(dir.join(format!("{user}.password")));
            let out = command.output().expect("add-user starts");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        Mosquitto::on_a_port(dir, access, "")
    }

    /// A user's password, of a closed one.
    pub fn password(&self, user: &str) -> String {
        let text = std::fs::read_to_string(self.dir.join(format!("{user}.password"))).expect("a password");
        text.trim_end().to_string()
    }

    fn run(dir: &Path, port: u16, access: Access, more: &str) -> Running {
        let shipped = std::fs::read_to_string(root().join("deploy/mosquitto/hueflow.conf")).expect("the configuration");
        let listener = format!("listener {port} 127.0.0.1\n");
        let (listener, access) = if access == Access::Open {
            (listener, "allow_anonymous true".to_string())
        } else {
            let deploy = root().join("deploy/mosquitto");
            std::fs::copy(deploy.join("hueflow.acl"), dir.join("hueflow.acl")).expect("the access list");
            let shipped = |name: &str| {
                let text = std::fs::read_to_string(deploy.join(name)).expect("the configuration");
                text.replace("/etc/mosquitto", &dir.display().to_string())
            };
            let tls = || {
                let text = shipped("tls.conf").replace("listener 8883\n", &listener);
                let mutual = dir.join("certs/ca.pem").exists();
                if mutual { text.replace("# cafile", "cafile").replace("# require", "require") } else { text }
            };
            (if access == Access::Tls { tls() } else { listener.clone() }, shipped("closed.conf"))
        };
        let own = format!(
            "{listener}{access}\npersistence_location {}/\nlog_dest stderr\n{}\n{more}",
            dir.display(),
            if is_root() { "user root" } else { "" }
        );
        let conf = dir.join("mosquitto.conf");
        std::fs::write(&conf, shipped + &own).expect("mosquitto.conf");
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"].into_iter().find(|p| Path::new(p).exists());
        let mut command = Command::new(program.unwrap_or("mosquitto"));
        // It says so once it listens. That something answers on the port would not show that it is this one.
        let starts = |log: &str| log.lines().filter(|l| l.ends_with(" running")).count();
        let before = std::fs::read_to_string(dir.join("mosquitto.err")).map_or(0, |log| starts(&log));
        let mut process = Running::start("mosquitto", dir, command.arg("-c").arg(&conf));
        wait_for("mosquitto", START_LIMIT, || {
            let log = process.stderr();
            assert!(process.is_running(), "mosquitto has ended: {log}");
            (starts(&log) > before).then_some(())
        });
        process
    }

    /// Its URL for our programs.
    pub fn url(&self) -> String {
        format!("mqtt{}://127.0.0.1:{}", if self.access == Access::Tls { "s" } else { "" }, self.port)
    }

    /// Starts it again on the same port, after a test killed it.
    pub fn restart(&mut self) {
        self.process = Mosquitto::run(&self.dir, self.port, self.access, &self.more);
    }
}

/// Whether the tests run as root: mosquitto then needs a setting to stay so.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0\n"))
}

/// An Apache Kafka on a port of its own.
pub struct Kafka {
    /// Its loopback port.
    pub port: u16,
    /// The script that runs it, and ZooKeeper where there is one.
    pub process: Running,
    dir: PathBuf,
    arguments: Vec<String>,
}

impl Kafka {
    /// Starts version "4" (KRaft) or "3.4" (with ZooKeeper), and waits until it answers.
    pub fn start(version: &str, dir: &Path) -> Kafka {
        Kafka::start_with(version, dir, &[])
    }

    /// The same with more arguments for `deploy/kafka/start`.
    pub fn start_with(version: &str, dir: &Path, more: &[String]) -> Kafka {
        let port = free_port();
        Kafka::with(version, dir, port, port, more)
    }

    /// The same on `port`, telling its clients to come by `advertise`: something stands in front of it.
    pub fn behind(version: &str, dir: &Path, port: u16, advertise: u16) -> Kafka {
        Kafka::with(version, dir, port, advertise, &[])
    }

    fn with(version: &str, dir: &Path, port: u16, advertise: u16, more: &[String]) -> Kafka {
        let mut arguments = vec![version.to_string()];
        arguments.extend(["--port", &port.to_string(), "--advertise", &advertise.to_string()].map(str::to_string));
        arguments.extend_from_slice(more);
        let process = Kafka::run(dir, &arguments);
        let kafka = Kafka { port, process, dir: dir.to_path_buf(), arguments };
        kafka.wait();
        kafka
    }

    fn run(dir: &Path, arguments: &[String]) -> Running {
        let mut command = Command::new(root().join("deploy/kafka/start"));
        Running::start("kafka", dir, command.args(arguments).arg("--dir").arg(dir.join("kafka")))
    }

    /// Waits until it answers.
    pub fn wait(&self) {
        wait_for("Kafka to answer", START_LIMIT, || self.kcat(&["-L", "-m", "2"]).ok());
    }

    /// Sends a signal to the Java programs themselves.
    pub fn signal(&mut self, name: &str) {
        for pid in self.process.children() {
            // A process that ends at this very moment is no failure.
            let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        }
    }

    /// Kills it without warning, and waits until the script that ran it has noticed.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.process.wait(START_LIMIT);
    }

    /// Starts it again on the same port and data, after a test killed it. It may not answer yet.
    pub fn restart(&mut self) {
        self.process = Kafka::run(&self.dir, &self.arguments);
    }

    /// Its URL for our programs.
    pub fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.port)
    }

    /// Runs kcat against it and gives what it printed.
    ///
    /// # Errors
    /// The output of kcat, when it failed.
    pub fn kcat(&self, args: &[&str]) -> Result<String, String> {
        let broker = format!("127.0.0.1:{}", self.port);
        let run = Command::new("kcat").args(["-b", &broker]).args(args).output();
        let out = run.map_err(|e| format!("kcat does not start: {e}"))?;
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    /// A client that manages topics, and the runtime for it.
    fn admin(&self) -> (AdminClient<DefaultClientContext>, tokio::runtime::Runtime) {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{}", self.port));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        (config.create().expect("a client of Kafka"), runtime)
    }

    /// Makes a topic of one partition with these settings.
    pub fn create_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        let (admin, runtime) = self.admin();
        let mut new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()));
        made.expect("an answer").into_iter().for_each(|made| drop(made.expect("a topic")));
    }

    /// Gives a topic this setting alone, and waits until the broker reports it.
    pub fn alter_topic(&self, topic: &str, key: &str, value: &str) {
        let (admin, runtime) = self.admin();
        let altered = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let changed = runtime.block_on(admin.alter_configs([&altered], &AdminOptions::new()));
        changed.expect("an answer").into_iter().for_each(|changed| drop(changed.expect("changed settings")));
        wait_for("the topic's setting", START_LIMIT, || {
            let topic = [ResourceSpecifier::Topic(topic)];
            let described = runtime.block_on(admin.describe_configs(&topic, &AdminOptions::new())).ok()?;
            let now = described.into_iter().next()?.ok()?.get(key)?.value.clone()?;
            (now == value).then_some(())
        });
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn delete_topic(&self, topic: &str) {
        let (admin, runtime) = self.admin();
        let deleted = runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new()));
        deleted.expect("an answer").into_iter().for_each(|d| drop(d.expect("a deleted topic")));
        let listed = format!("topic \"{topic}\" ");
        wait_for("the topic to be gone", START_LIMIT, || {
            self.kcat(&["-L"]).ok().filter(|topics| !topics.contains(&listed)).map(drop)
        });
    }

    /// Everything in a topic: one line a record, formatted by kcat's `format`.
    pub fn consume(&self, topic: &str, format: &str) -> Vec<String> {
        let text = self.kcat(&["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", format]);
        text.unwrap_or_else(|e| panic!("reading {topic}: {e}")).lines().map(str::to_string).collect()
    }
}
