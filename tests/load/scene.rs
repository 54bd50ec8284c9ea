//! One measurement, with one contender, a broker and a topic of its own.
//!
//! A scene starts mosquitto and the contender in its folder, returns figures, and ends both. No time decides whether it
//! passes.

use crate::contender::{Contender, Place, cpu_us, peak_kib};
use crate::publish::{Times, greet, publish};
use crate::topic::{self, Count, Watch};
use harness::process::{Running, wait_for};
use harness::services::{Kafka, Mosquitto};
use std::path::Path;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(300);
/// How often it is looked how far it is: seldom enough to cost little.
const LOOK: Duration = Duration::from_millis(50);
/// A topic that has all and has not grown for so long is complete.
const QUIET: Duration = Duration::from_secs(2);
/// How long late records may take after the last was published.
const LATE: Duration = Duration::from_secs(60);
/// As the recipe for Telegraf has it, for all contenders; and to see who subscribes.
const BROKER: &str = "max_inflight_messages 1000\npersistence false\nlog_type error\nlog_type warning\nlog_type notice\n\
                      log_type subscribe\n";

/// Figures of a scene; those that it has not are 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Messages a second.
    pub rate: f64,
    /// The contender's processor time, us a message; and that of mosquitto and of Kafka.
    pub cpu: [f64; 3],
    /// The contender's resident KiB, at most.
    pub peak_kib: u64,
    /// From publishing to Kafka, ms: median and 99th percentile.
    pub lag_ms: [f64; 2],
    /// What is in the topic.
    pub count: Count,
}

/// What all scenes of one contender have.
pub struct Stage<'a> {
    /// Who.
    pub contender: &'a Contender,
    /// The journal of the whole run.
    pub kafka: &'a Kafka,
    /// A folder for the scene alone.
    pub dir: &'a Path,
    /// In front of its topics' names.
    pub prefix: &'a str,
    /// Devices.
    pub devices: usize,
}

/// Processor time so far of contender, mosquitto and Kafka.
struct Cpu([u64; 3]);

impl Stage<'_> {
    fn topic(&self) -> String {
        format!("{}metrics", self.prefix)
    }

    fn end(&self) -> u64 {
        topic::end(self.kafka, &self.topic()).unwrap_or(0)
    }

    fn broker(&self) -> Mosquitto {
        std::fs::create_dir_all(self.dir).expect("the scene's folder");
        topic::make(self.kafka, &self.topic());
        Mosquitto::start_with(self.dir, BROKER)
    }

    fn place<'b>(&'b self, mosquitto: &'b Mosquitto) -> Place<'b> {
        Place { mosquitto, kafka: self.kafka, prefix: self.prefix, dir: self.dir }
    }

    fn cpu(&self, contender: &Running, mosquitto: &Mosquitto) -> Cpu {
        Cpu([cpu_us(contender.pid()), cpu_us(mosquitto.process.pid()), self.cpu_of_kafka()])
    }

    /// Lets the contender subscribe, stops it, and lets the broker keep `messages` for it.
    fn backlog(&self, mosquitto: &Mosquitto, messages: u64) -> Times {
        self.contender.start_ready(&self.place(mosquitto)).stop();
        let times = Times::new(self.devices, messages / self.devices as u64);
        publish(mosquitto.port, &times, 0, None);
        times
    }

    /// From the start of a stopped contender until all that waited for it is in Kafka.
    pub fn drain(&self, messages: u64) -> Figures {
        let mosquitto = self.broker();
        let times = self.backlog(&mosquitto, messages);
        let all = times.messages();
        let idle = Cpu([0, cpu_us(mosquitto.process.pid()), self.cpu_of_kafka()]);
        let start = Instant::now();
        let contender = self.contender.start(&self.place(&mosquitto));
        self.wait_until(all);
        let seconds = start.elapsed().as_secs_f64();
        let cpu = self.cpu(&contender, &mosquitto).since(&idle, all);
        let peak_kib = peak_kib(contender.pid());
        drop(contender);
        let count = topic::count(self.kafka, &self.topic(), self.contender, &times);
        Figures { rate: all as f64 / seconds, cpu, peak_kib, count, ..Figures::default() }
    }

    /// The same, killed without warning when a third is there, and started again.
    pub fn killed(&self, messages: u64) -> Figures {
        let mosquitto = self.broker();
        let times = self.backlog(&mosquitto, messages);
        let all = times.messages();
        let mut contender = self.contender.start(&self.place(&mosquitto));
        self.wait_until(all / 3);
        contender.kill();
        let contender = self.contender.start(&self.place(&mosquitto));
        let (mut last, mut since) = (0, Instant::now());
        wait_for("the topic to be complete", LIMIT, || {
            std::thread::sleep(LOOK);
            let end = self.end();
            if end != last {
                (last, since) = (end, Instant::now());
            }
            // One that has lost some never has all.
            let patience = if end >= all { QUIET } else { LATE };
            (since.elapsed() > patience).then_some(())
        });
        let peak_kib = peak_kib(contender.pid());
        drop(contender);
        let count = topic::count(self.kafka, &self.topic(), self.contender, &times);
        Figures { peak_kib, count, ..Figures::default() }
    }

    /// While devices publish, `pace` messages a second in all, or as fast as they can.
    pub fn live(&self, messages: u64, pace: Option<f64>) -> Figures {
        let mosquitto = self.broker();
        let contender = self.contender.start_ready(&self.place(&mosquitto));
        let each = messages / self.devices as u64;
        let times = Times::new(self.devices, each + 1);
        let mut watch = Watch::start(self.kafka, &self.topic(), self.contender);
        greet(mosquitto.port, &times);
        let first = watch.lags(self.devices, self.contender, &times);
        assert_eq!(first.len(), self.devices, "the contender carries");
        let idle = self.cpu(&contender, &mosquitto);
        let all = each * self.devices as u64;
        let start = Instant::now();
        let pid = watch.pid();
        let mut lags = std::thread::scope(|scope| {
            let reader = scope.spawn(|| (watch.lags(all as usize, self.contender, &times), Instant::now()));
            publish(mosquitto.port, &times, 1, pace.map(|p| p / self.devices as f64));
            let published = Instant::now();
            while !reader.is_finished() && published.elapsed() < LATE {
                std::thread::sleep(LOOK);
            }
            if !reader.is_finished() {
                let _ = std::process::Command::new("kill").arg(pid.to_string()).status();
            }
            reader.join().expect("the reader")
        });
        let seconds = lags.1.duration_since(start).as_secs_f64();
        let cpu = self.cpu(&contender, &mosquitto).since(&idle, all);
        let peak_kib = peak_kib(contender.pid());
        drop(contender);
        lags.0.sort_unstable();
        let part = |p: usize| lags.0.get(lags.0.len() * p / 100).map_or(0.0, |us| *us as f64 / 1e3);
        let count = topic::count(self.kafka, &self.topic(), self.contender, &times);
        Figures { rate: lags.0.len() as f64 / seconds, cpu, peak_kib, lag_ms: [part(50), part(99)], count }
    }

    fn cpu_of_kafka(&self) -> u64 {
        self.kafka.process.children().into_iter().map(cpu_us).sum()
    }

    fn wait_until(&self, n: u64) {
        wait_for("the backlog to be in Kafka", LIMIT, || {
            std::thread::sleep(LOOK);
            (self.end() >= n).then_some(())
        });
    }
}

impl Cpu {
    /// Microseconds a message since `before`.
    fn since(&self, before: &Cpu, messages: u64) -> [f64; 3] {
        let mut each = [0.0; 3];
        for (each, (now, before)) in each.iter_mut().zip(self.0.iter().zip(before.0)) {
            *each = now.saturating_sub(before) as f64 / messages as f64;
        }
        each
    }
}
