//! A TCP proxy on loopback that can cut, hold, slow and refuse connections.
//!
//! It stands in front of a port that a server listens on, or will, with two threads for each connection. It never changes a
//! byte: it passes on what came, in order, or a beginning of it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that are under way in one direction of a connection at most, beside the system's own buffers.
const CHUNK_BYTES: usize = 16 * 1024;
/// The same while the wire is slow, so that the rate is kept in small steps.
const SLOW_CHUNK_BYTES: usize = 1024;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on at once.
    Open,
    /// Passes nothing on; connections stay, and new ones are taken.
    Hold,
    /// Passes so many bytes a second on, in each direction of each connection.
    Slow(u64),
    /// Hangs up on who comes. Connections that stand are not touched.
    Refuse,
}

/// Somebody who sees what has passed.
pub trait Watch: Send + Sync {
    /// Bytes of a connection have passed, `up` towards the server.
    fn passed(&self, connection: u64, up: bool, bytes: &[u8]);
    /// A connection is gone; it is reported for each direction.
    fn closed(&self, connection: u64);
}

struct Wire {
    mode: Mutex<Mode>,
    changed: Condvar,
    open: Mutex<HashMap<u64, [TcpStream; 2]>>,
    target: AtomicU16,
    ended: AtomicBool,
    watch: Option<Arc<dyn Watch>>,
}

/// The proxy; it ends, with its connections, when it goes out of scope.
pub struct Proxy {
    /// The port in front.
    pub port: u16,
    wire: Arc<Wire>,
}

impl Proxy {
    /// Starts one in front of `target` of loopback.
    pub fn start(target: u16, watch: Option<Arc<dyn Watch>>) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let port = listener.local_addr().expect("its address").port();
        let wire = Arc::new(Wire {
            mode: Mutex::new(Mode::Open),
            changed: Condvar::new(),
            open: Mutex::default(),
            target: AtomicU16::new(target),
            ended: AtomicBool::new(false),
            watch,
        });
        let own = wire.clone();
        std::thread::spawn(move || accept(&listener, &own));
        Proxy { port, wire }
    }

    /// Connections from now on go to another port.
    pub fn lead_to(&self, target: u16) {
        self.wire.target.store(target, Ordering::Relaxed);
    }

    /// What the wire does from now on.
    pub fn set(&self, mode: Mode) {
        *lock(&self.wire.mode) = mode;
        self.wire.changed.notify_all();
    }

    /// Ends all connections that stand, at once: what is on its way is lost. Gives how many there were.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut *lock(&self.wire.open));
        open.values().flatten().for_each(hang_up);
        open.len()
    }

    /// Connections that stand.
    pub fn connections(&self) -> usize {
        lock(&self.wire.open).len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.ended.store(true, Ordering::Relaxed);
        self.set(Mode::Refuse);
        self.cut();
        // A connection ends the wait for one.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hang_up(stream: &TcpStream) {
    // The other side may have been faster.
    let _ = stream.shutdown(Shutdown::Both);
}

fn accept(listener: &TcpListener, wire: &Arc<Wire>) {
    for (id, client) in (0..).zip(listener.incoming()) {
        if wire.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        if *lock(&wire.mode) == Mode::Refuse {
            hang_up(&client);
            continue;
        }
        // Nobody there: the client is hung up on, as it would be without us.
        let target = wire.target.load(Ordering::Relaxed);
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let clones = (client.try_clone(), server.try_clone());
        let (Ok(c), Ok(s)) = clones else { continue };
        lock(&wire.open).insert(id, [c, s]);
        let (Ok(c), Ok(s)) = (client.try_clone(), server.try_clone()) else { continue };
        let (up, down) = (wire.clone(), wire.clone());
        std::thread::spawn(move || carry(&up, id, true, client, s));
        std::thread::spawn(move || carry(&down, id, false, server, c));
    }
}

/// One direction of one connection, until one of the two ends.
fn carry(wire: &Wire, id: u64, up: bool, mut from: TcpStream, mut to: TcpStream) {
    let mut buf = [0; CHUNK_BYTES];
    loop {
        let slow = matches!(*lock(&wire.mode), Mode::Slow(_));
        let room = if slow { SLOW_CHUNK_BYTES } else { CHUNK_BYTES };
        let Ok(n @ 1..) = from.read(&mut buf[..room]) else { break };
        wait_to_pass(wire, n as u64);
        if to.write_all(&buf[..n]).is_err() {
            break;
        }
        if let Some(watch) = &wire.watch {
            watch.passed(id, up, &buf[..n]);
        }
    }
    hang_up(&from);
    hang_up(&to);
    lock(&wire.open).remove(&id);
    if let Some(watch) = &wire.watch {
        watch.closed(id);
    }
}

/// Waits until so many bytes may pass.
fn wait_to_pass(wire: &Wire, bytes: u64) {
    let mut mode = lock(&wire.mode);
    while *mode == Mode::Hold {
        mode = wire.changed.wait(mode).unwrap_or_else(PoisonError::into_inner);
    }
    if let Mode::Slow(rate) = *mode {
        let time = Duration::from_micros(bytes * 1_000_000 / rate.max(1));
        // An end of the slowness ends the waiting, too.
        let wait = wire.changed.wait_timeout_while(mode, time, |m| *m == Mode::Slow(rate));
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_secs(20);
    const QUIET: Duration = Duration::from_millis(150);

    /// A server that returns what it receives.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                    let _ = std::io::copy(&mut from, &mut to);
                });
            }
        });
        port
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn ask(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(word)?;
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).map(|()| answer)
    }

    #[test]
    fn held_bytes_arrive_later_and_cut_bytes_never() {
        let proxy = Proxy::start(echo(), None);
        let mut a = client(&proxy);
        assert_eq!(ask(&mut a, b"one").unwrap(), b"one");
        proxy.set(Mode::Hold);
        a.write_all(b"two").unwrap();
        a.set_read_timeout(Some(QUIET)).unwrap();
        let mut answer = [0; 3];
        assert!(a.read(&mut answer).is_err(), "nothing passes");
        proxy.set(Mode::Open);
        a.set_read_timeout(Some(LIMIT)).unwrap();
        a.read_exact(&mut answer).unwrap();
        assert_eq!((&answer, proxy.connections()), (b"two", 1));
        assert_eq!(proxy.cut(), 1);
        assert!(matches!(a.read(&mut answer), Ok(0) | Err(_)));
        assert_eq!(ask(&mut client(&proxy), b"new").unwrap(), b"new");
    }

    #[test]
    fn new_connections_are_refused_and_open_ones_stay() {
        let proxy = Proxy::start(echo(), None);
        let mut a = client(&proxy);
        assert_eq!(ask(&mut a, b"in").unwrap(), b"in");
        proxy.set(Mode::Refuse);
        assert!(ask(&mut client(&proxy), b"out").is_err());
        assert_eq!(ask(&mut a, b"still").unwrap(), b"still");
    }

    #[test]
    fn a_slow_wire_keeps_its_rate_and_all_its_bytes() {
        let proxy = Proxy::start(echo(), None);
        let mut a = client(&proxy);
        proxy.set(Mode::Slow(20_000));
        let word: Vec<u8> = (0..4_000u32).map(|i| i as u8).collect();
        let start = Instant::now();
        assert_eq!(ask(&mut a, &word).unwrap(), word);
        assert!(start.elapsed() >= QUIET, "{:?}", start.elapsed());
    }
}
