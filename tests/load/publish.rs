//! Devices that publish real reports at QoS 1, at low cost, because they share the machine with what is measured.
//!
//! Each device is one blocking connection on one thread. The result has the time at which each message was published. A device has at
//! most `WINDOW` messages that the broker has not acknowledged.

use firmware::custody::Envelope;
use firmware::wire::{self, Method, Micros, Payload, Refine, Report, Swatch};
use harness::dice::Dice;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const WINDOW: usize = 200;
/// Written at once where no pace is asked for.
const BATCH: usize = 50;
const PIXELS: u32 = 320 * 240;
const SWATCHES: u32 = 17;
const PUBACK_BYTES: usize = 4;

/// Microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// When each message of each device was published; 0 for not yet.
pub struct Times(Vec<Vec<AtomicU64>>);

impl Times {
    /// Of `devices`, with `each` messages.
    pub fn new(devices: usize, each: u64) -> Times {
        Times::of((0..devices).map(|_| each))
    }

    /// Of devices with so many messages each.
    pub fn of(lengths: impl Iterator<Item = u64>) -> Times {
        Times(lengths.map(|each| (0..each).map(|_| AtomicU64::new(0)).collect()).collect())
    }

    /// Of the message `seq` of `stream`.
    pub fn published_us(&self, stream: u64, seq: u64) -> Option<u64> {
        let device = (stream / 2).checked_sub(1)? as usize;
        let us = self.0.get(device)?.get(seq as usize)?.load(Ordering::Acquire);
        (us > 0).then_some(us)
    }

    /// How many messages there are in all.
    pub fn messages(&self) -> u64 {
        self.0.iter().map(|d| d.len() as u64).sum()
    }
}

/// One device with its connection.
struct Device<'a> {
    socket: TcpStream,
    topic: String,
    stream: u64,
    report: Report,
    dice: Dice,
    times: &'a [AtomicU64],
    out: Vec<u8>,
    unacked: usize,
    /// Bytes of an acknowledgement that has come in part.
    part: usize,
}

impl<'a> Device<'a> {
    fn connect(port: u16, number: usize, times: &'a [AtomicU64]) -> Result<Device<'a>> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let id = format!("load-{number}");
        let body = [&[0, 4][..], b"MQTT", &[4, 2, 0, 0, 0, id.len() as u8], id.as_bytes()].concat();
        socket.write_all(&[&[0x10, body.len() as u8][..], &body].concat())?;
        let mut connack = [0; 4];
        socket.read_exact(&mut connack)?;
        assert_eq!(connack, [0x20, 2, 0, 0], "the broker takes us");
        let mut dice = Dice::new(number as u64 + 1);
        let (topic, report) = (format!("hueflow/test/{id}/metrics"), report(&mut dice));
        let stream = (number as u64 + 1) * 2;
        Ok(Device { socket, topic, stream, report, dice, times, out: Vec::new(), unacked: 0, part: 0 })
    }

    /// Puts the packet of `seq` behind what waits to be written.
    fn put(&mut self, seq: u64) {
        self.report.frame = seq;
        for swatch in &mut self.report.palette {
            swatch.rgb_q6 = swatch.rgb_q6.map(|c| (c & !63) | self.dice.below(64) as u16);
        }
        let mut payload = [0; 4096];
        let n = wire::encode(&self.report, &mut payload).expect("a report fits");
        let payload = &payload[..n];
        let captured_at_us = now_us();
        let (kind, payload_version) = (Report::KIND as u8, Report::VERSION);
        let head = Envelope { kind, payload_version, clock_synced: true, stream: self.stream, seq, captured_at_us };
        let packet = (seq % 65_535) as u16 + 1;
        let length = 2 + self.topic.len() + 2 + 40 + n;
        self.out.extend([0x32, (length & 127) as u8 | 0x80, (length >> 7) as u8]);
        self.out.extend((self.topic.len() as u16).to_be_bytes());
        self.out.extend_from_slice(self.topic.as_bytes());
        self.out.extend(packet.to_be_bytes());
        self.out.extend(head.seal(payload));
        self.out.extend_from_slice(payload);
        self.times[seq as usize].store(captured_at_us, Ordering::Release);
        self.unacked += 1;
    }

    fn write(&mut self) -> Result<()> {
        self.socket.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Reads acknowledgements until at most `most` are missing.
    fn wait(&mut self, most: usize) -> Result<()> {
        let mut buf = [0; 4096];
        while self.unacked > most {
            let n = self.socket.read(&mut buf)?;
            assert!(n > 0, "the broker stays");
            self.unacked -= (self.part + n) / PUBACK_BYTES;
            self.part = (self.part + n) % PUBACK_BYTES;
        }
        Ok(())
    }

    fn publish(&mut self, from: u64, pace: Option<f64>) -> Result<()> {
        let start = Instant::now();
        for seq in from..self.times.len() as u64 {
            if let Some(pace) = pace {
                let due = start + Duration::from_secs_f64((seq - from) as f64 / pace);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            self.put(seq);
            if pace.is_some() || self.unacked.is_multiple_of(BATCH) {
                self.write()?;
                self.wait(if pace.is_some() { 0 } else { WINDOW - BATCH })?;
            }
        }
        self.write()?;
        self.wait(0)?;
        self.socket.write_all(&[0xE0, 0])
    }
}

/// A report as frames of an indoor scene give it.
fn report(dice: &mut Dice) -> Report {
    let mut left = PIXELS;
    let palette = (0..SWATCHES).map(|id| {
        let pixels = if id + 1 == SWATCHES { left } else { dice.below(u64::from(left) / 4) as u32 };
        left -= pixels;
        Swatch { id: 40 + id, rgb_q6: [0; 3].map(|_: u16| dice.below(16_320 - 64) as u16), pixels }
    });
    let palette = palette.collect();
    Report {
        frame: 0,
        dropped: 3,
        width: 320,
        height: 240,
        method: Method::Octree,
        lambda_q6: 3_200,
        coreset_size: 1_000,
        w_open: 4,
        refine: Refine::Cover,
        seed: dice.below(u64::MAX),
        warm: true,
        coreset_points: 940,
        scatter_q12: Some(dice.below(1 << 34)),
        iterations: 6,
        converged: true,
        sweeps: 0,
        saturated: false,
        beyond_px: Some(0),
        missed: Some(0),
        sse_q12: dice.below(1 << 40),
        max_distance2_q12: dice.below(1 << 24) as u32,
        silhouette_ppm: Some(412_345),
        micros: Micros { coreset: 240, cluster: 180, label: 110, total: 610 },
        palette,
        births: Default::default(),
        deaths: Default::default(),
        regions: Default::default(),
        colorimetry: Default::default(),
    }
}

/// Publishes all messages from `from` on, of all devices at once; `pace` is in messages a second and device. Gives how long
/// it took.
pub fn publish(port: u16, times: &Times, from: u64, pace: Option<f64>) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (number, times) in times.0.iter().enumerate() {
            scope.spawn(move || {
                let run = Device::connect(port, number, times).and_then(|mut d| d.publish(from, pace));
                run.expect("publishing");
            });
        }
    });
    start.elapsed()
}

/// Publishes the first message of each device, alone.
pub fn greet(port: u16, times: &Times) {
    for (number, times) in times.0.iter().enumerate() {
        let run = Device::connect(port, number, &times[..1]).and_then(|mut d| d.publish(0, None));
        run.expect("publishing");
    }
}

/// Threads that share the devices of [`publish_paced`]: enough that none is late, and few beside what is measured.
const THREADS: usize = 8;

/// Publishes all messages, each device's spread evenly over `over`, and the devices over their first second.
pub fn publish_paced(port: u16, times: &Times, over: Duration) {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let own = times.0.iter().enumerate().skip(thread).step_by(THREADS);
                let mut devices: Vec<Device<'_>> =
                    own.map(|(n, times)| Device::connect(port, n, times).expect("a connection")).collect();
                let due_us = |n: usize, device: &Device<'_>, seq: u64| {
                    let step_us = over.as_micros() as u64 / device.times.len().max(1) as u64;
                    seq * step_us + step_us.min(1_000_000) * n as u64 / devices_of(times)
                };
                let mut next: BinaryHeap<Reverse<(u64, usize, u64)>> =
                    devices.iter().enumerate().map(|(n, d)| Reverse((due_us(n, d, 0), n, 0))).collect();
                while let Some(Reverse((at_us, n, seq))) = next.pop() {
                    std::thread::sleep(
                        (start + Duration::from_micros(at_us)).saturating_duration_since(Instant::now()),
                    );
                    let device = &mut devices[n];
                    device.put(seq);
                    device.write().and_then(|()| device.wait(0)).expect("publishing");
                    if seq + 1 < device.times.len() as u64 {
                        next.push(Reverse((due_us(n, device, seq + 1), n, seq + 1)));
                    }
                }
            });
        }
    });
}

fn devices_of(times: &Times) -> u64 {
    (times.0.len() / THREADS).max(1) as u64
}
