//! A scripted broker and bridge in one: enough MQTT 3.1.1 for one edge, and faults on demand.
//!
//! It takes one connection at a time on a free loopback port, records what it received, and acknowledges as the bridge would.
//! It remembers no session: each connection finds a broker that has forgotten the last one.

use firmware::custody::{Ack, Envelope, JournalId, StreamAck, Window, WindowId};
use firmware::wire;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// PUBACKs, and then forgets, one record in so many (0: none).
    pub forget_one_in: u64,
    /// Cuts the connection after so many packets (0: never).
    pub cut_after: u64,
}

/// What it received.
#[derive(Debug, Default)]
pub struct Received {
    /// Payloads by (stream, seq), as the journal has them.
    pub journal: BTreeMap<(u64, u64), Vec<u8>>,
    /// Records that came again.
    pub duplicates: u64,
    /// From the capture to here of each event record that came for the first time, in microseconds.
    pub event_late_us: Vec<u64>,
    /// Records acknowledged to the socket and forgotten.
    pub forgotten: u64,
    /// Connections made.
    pub connections: u64,
    /// The last window.
    pub window: Option<Window>,
    /// All statuses.
    pub statuses: Vec<serde_json::Value>,
    /// Pictures at QoS 0.
    pub pictures: Vec<Vec<u8>>,
    /// The will of the last connection.
    pub will: String,
    window_id: Option<WindowId>,
    records: u64,
}

/// The broker.
pub struct Broker {
    /// Its port.
    pub port: u16,
    /// What it received.
    pub received: Arc<Mutex<Received>>,
    /// To be sent on the `cmd` topic.
    pub commands: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The journal takes records and sends no ack.
    pub silent: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    pub fn start(faults: Faults) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, commands) = (Arc::<Mutex<Received>>::default(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let (stop, silent) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (h, c, s, q) = (Arc::clone(&received), Arc::clone(&commands), Arc::clone(&stop), Arc::clone(&silent));
        let thread = std::thread::spawn(move || {
            while !s.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((socket, _)) => {
                        h.lock().unwrap().connections += 1;
                        let topic = String::new();
                        let _ = Session { socket, faults, received: &h, commands: &c, silent: &q, topic }.serve(&s);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Broker { port, received, commands, silent, stop, thread: Some(thread) }
    }

    /// Waits until `is_so`, for at most 30 s.
    pub fn wait(&self, what: &str, is_so: impl Fn(&Received) -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !is_so(&self.received.lock().unwrap()) {
            assert!(Instant::now() < until, "{what} did not come");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

struct Session<'a> {
    socket: TcpStream,
    faults: Faults,
    received: &'a Mutex<Received>,
    commands: &'a Mutex<Vec<Vec<u8>>>,
    silent: &'a AtomicBool,
    /// `hueflow/SITE/DEVICE`.
    topic: String,
}

impl Session<'_> {
    fn serve(mut self, stop: &AtomicBool) -> io::Result<()> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let (mut bytes, mut buf, mut packets, mut any) = (Vec::new(), [0; 65536], 0, false);
        while !stop.load(Ordering::Relaxed) {
            match self.socket.read(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(n) => bytes.extend_from_slice(&buf[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            while let Some((head, from, to)) = whole(&bytes) {
                let body: Vec<u8> = bytes[from..to].to_vec();
                bytes.drain(..to);
                self.packet(head, &body)?;
                any = true;
                packets += 1;
                if self.faults.cut_after > 0 && packets >= self.faults.cut_after {
                    return Ok(());
                }
            }
            if any && !self.silent.load(Ordering::Relaxed) {
                any = false;
                self.acknowledge()?;
            }
            for command in std::mem::take(&mut *self.commands.lock().unwrap()) {
                self.publish("cmd", &command)?;
            }
        }
        Ok(())
    }

    fn packet(&mut self, head: u8, body: &[u8]) -> io::Result<()> {
        match head >> 4 {
            1 => {
                let (client, rest) = text(&body[10..]);
                assert_eq!(body[7] & 2, 0, "the session must be a persistent one");
                let (topic, rest) = text(rest);
                self.topic = topic.strip_suffix("/status").unwrap().to_owned();
                assert_eq!(
                    self.topic,
                    format!("hueflow/{}", client.replace(':', "/")),
                    "the client id is site and device"
                );
                self.received.lock().unwrap().will = text(rest).0.to_owned();
                self.socket.write_all(&[0x20, 2, 0, 0])
            }
            8 => {
                let filters = {
                    let (mut rest, mut n) = (&body[2..], 0);
                    while !rest.is_empty() {
                        rest = &text(rest).1[1..];
                        n += 1;
                    }
                    n
                };
                self.socket
                    .write_all(&[&[0x90, 2 + filters, body[0], body[1]][..], &vec![1; filters.into()]].concat())?;
                let site = self.topic.rsplit_once('/').unwrap().0.to_owned();
                self.publish_on(&format!("{site}/bridge/status"), br#"{"state":"online","journal":true}"#)
            }
            3 => self.published(head, body),
            // The edge probes with such packets where connections keep breaking.
            10 => self.socket.write_all(&[0xB0, 2, body[0], body[1]]),
            12 => self.socket.write_all(&[0xD0, 0]),
            14 => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Ok(()),
        }
    }

    fn published(&mut self, head: u8, body: &[u8]) -> io::Result<()> {
        let (topic, rest) = text(body);
        let word = topic.rsplit('/').next().unwrap().to_owned();
        if head & 6 == 0 {
            // `state` is the other message at QoS 0, and is no picture.
            if word == "video" {
                self.received.lock().unwrap().pictures.push(rest.to_vec());
            }
            return Ok(());
        }
        let (id, payload) = rest.split_at(2);
        self.socket.write_all(&[0x40, 2, id[0], id[1]])?;
        let mut received = self.received.lock().unwrap();
        match word.as_str() {
            "window" => {
                let window = wire::decode_window(payload).unwrap();
                received.window_id = Some(window.id);
                received.window = Some(window);
            }
            "status" => received.statuses.push(serde_json::from_slice(payload).unwrap()),
            _ => {
                let (envelope, _) = Envelope::open(payload).unwrap();
                assert_eq!(envelope.kind().unwrap().mqtt_kind(), word);
                received.records += 1;
                let n = self.faults.forget_one_in;
                if n > 0 && received.records.is_multiple_of(n) {
                    received.forgotten += 1;
                } else if received.journal.insert((envelope.stream, envelope.seq), payload.to_vec()).is_some() {
                    received.duplicates += 1;
                } else if word == "event" {
                    let now_us = UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
                    received.event_late_us.push(now_us.saturating_sub(envelope.captured_at_us));
                }
            }
        }
        Ok(())
    }

    /// The ack: per stream the ranges at and above its floor.
    fn acknowledge(&mut self) -> io::Result<()> {
        let ack = {
            let received = self.received.lock().unwrap();
            let streams: BTreeSet<u64> = received.journal.keys().map(|k| k.0).collect();
            let mut ack = Ack {
                journal: JournalId::try_from("scripted").unwrap(),
                window: received.window_id,
                streams: heapless::Vec::new(),
            };
            for stream in streams {
                let printed = received.window.as_ref().and_then(|w| w.streams.iter().find(|s| s.stream == stream));
                let floor = printed.map_or(0, |s| s.floor);
                let mut ranges = heapless::Vec::<(u64, u64), 16>::new();
                for &(_, seq) in received.journal.range((stream, floor)..=(stream, u64::MAX)).map(|(k, _)| k) {
                    if let Some(last) = ranges.last_mut().filter(|last| last.1 == seq) {
                        last.1 = seq + 1;
                    } else if ranges.push((seq, seq + 1)).is_err() {
                        break;
                    }
                }
                ack.streams.push(StreamAck { stream, ranges }).unwrap();
            }
            ack
        };
        let mut buf = vec![0; 32 * 1024];
        let n = wire::encode_ack(&ack, &mut buf).unwrap();
        self.publish("ack", &buf[..n])
    }

    fn publish(&mut self, word: &str, payload: &[u8]) -> io::Result<()> {
        self.publish_on(&format!("{}/{word}", self.topic), payload)
    }

    fn publish_on(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        let mut packet = vec![0x30];
        let mut length = 2 + topic.len() + payload.len();
        loop {
            packet.push((length & 127) as u8 | if length > 127 { 128 } else { 0 });
            length >>= 7;
            if length == 0 {
                break;
            }
        }
        packet.extend((topic.len() as u16).to_be_bytes());
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(payload);
        self.socket.write_all(&packet)
    }
}

/// First byte, and from where to where its body reaches, of the packet in front, if it is whole.
fn whole(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (mut length, mut at) = (0usize, 1);
    loop {
        let b = *bytes.get(at)?;
        length |= usize::from(b & 127) << (7 * (at - 1));
        at += 1;
        if b & 128 == 0 {
            break;
        }
    }
    (bytes.len() >= at + length).then_some((bytes[0], at, at + length))
}

fn text(bytes: &[u8]) -> (&str, &[u8]) {
    let n = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    (std::str::from_utf8(&bytes[2..2 + n]).unwrap(), &bytes[2 + n..])
}
