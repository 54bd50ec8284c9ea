//! Preview: a small page with the live picture, for a machine without a display.
//!
//! Inputs are pictures; results are answers to browsers: `/` is the page, `/stream` a stream of JPEGs, `/now.png` the newest picture
//! without loss, `/number` the number of pictures so far, and `/places` the maps from the shown picture to the frame, for drawing
//! regions. One socket listens, on the loopback by default, with at most [`CLIENTS_MAX`] threads. The panel waits for no client: each
//! takes the newest picture when it is ready, and the pictures that it misses are counted.

mod http;
mod place;

use super::canvas::Canvas;
use super::look::Look;
use super::{Panel, PanelError, Wish, draw};
use crate::slot::Shot;
use crate::spec::display::{ViewChoice, preview_address};
use firmware::view::target_height;
use place::Place;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Most clients at once; others get an answer that asks them to try again later.
pub const CLIENTS_MAX: usize = 8;
/// How long a client may take to send its request, or to receive the answer.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);
/// Pictures are drawn this often while no client waits for one.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// Smaller pictures are enlarged to this width, larger ones reduced to the next.
const WIDTH_MIN: usize = 320;
const WIDTH_MAX: usize = 1920;

/// State that Show and the clients share.
#[derive(Debug, Default)]
struct Latest {
    canvas: Canvas,
    /// The maps from the newest picture to the frame.
    place: Option<Place>,
    /// Number of pictures so far.
    number: u64,
    clients: usize,
    /// Clients that wait for a picture.
    waiting: usize,
    closed: bool,
    missed: u64,
    refused: u64,
}

#[derive(Debug, Default)]
struct Shared {
    latest: Mutex<Latest>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a newer picture than `seen`, for `patience` at most, and takes the newest one there is.
    fn take(&self, seen: u64, patience: Duration, picture: &mut Picture) -> Taken {
        let until = Instant::now() + patience;
        let mut latest = self.lock();
        latest.waiting += 1;
        while latest.number <= seen && !latest.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            latest = self.changed.wait_timeout(latest, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        latest.waiting -= 1;
        if latest.closed {
            return Taken::Closed;
        }
        if latest.number == 0 {
            return Taken::NoneYet;
        }
        if seen > 0 {
            latest.missed += latest.number.saturating_sub(seen + 1);
        }
        picture.rgb.clear();
        picture.rgb.extend(latest.canvas.words().iter().flat_map(|w| [(w >> 16) as u8, (w >> 8) as u8, *w as u8]));
        (picture.width, picture.height) = (latest.canvas.width() as u16, latest.canvas.height() as u16);
        Taken::Picture(latest.number)
    }
}

enum Taken {
    Picture(u64),
    NoneYet,
    Closed,
}

/// A client's own copy of the newest picture.
#[derive(Debug, Default)]
struct Picture {
    width: u16,
    height: u16,
    rgb: Vec<u8>,
}

/// The page.
#[derive(Debug)]
pub struct Preview {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepts: Option<JoinHandle<()>>,
    look: Look,
    canvas: Canvas,
    drawn: Option<Instant>,
}

impl Preview {
    /// Listens at `address`, or at [`crate::spec::display::PREVIEW_ADDRESS`] if it is empty. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`PanelError::Unavailable`] if the address cannot be bound.
    pub fn open(address: &str, look: Look) -> Result<Preview, PanelError> {
        let unavailable = |why: String| PanelError::Unavailable { name: "preview", why };
        let wanted = preview_address(address).ok_or_else(|| unavailable(format!("{address} is not HOST:PORT")))?;
        let listen = || TcpListener::bind(&wanted.to_socket_addrs()?.collect::<Vec<_>>()[..]);
        let failed = |e: io::Error| unavailable(format!("{}:{}: {e}", wanted.0, wanted.1));
        let listener = listen().map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let accepts =
            Builder::new().name("preview".into()).spawn(move || http::accept(&listener, &of_thread)).map_err(failed)?;
        log::info!("display preview: the live picture is at http://{address}/");
        if !address.ip().is_loopback() {
            log::warn!("display preview: anyone who can reach {address} sees the picture of the camera");
        }
        let canvas = Canvas::default().turned(look.turn);
        Ok(Preview { shared, address, accepts: Some(accepts), look, canvas, drawn: None })
    }

    /// The address that it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Clients that were refused because there were too many, and pictures that connected clients missed.
    pub fn counts(&self) -> (u64, u64) {
        let latest = self.shared.lock();
        (latest.refused, latest.missed)
    }
}

/// A canvas that shows the frame in its own size, unless that is very small or very large.
fn size(shot: &Shot, view: ViewChoice) -> (usize, usize) {
    let halves = if view == ViewChoice::SideBySide { 2 } else { 1 };
    let (w, h) = ((shot.report.width as usize).max(1) * halves, (shot.report.height as usize).max(1));
    let width = if w < WIDTH_MIN { w * WIDTH_MIN.div_ceil(w) } else { w.min(WIDTH_MAX) };
    let rows = (h * width).div_ceil(w).min(2 * WIDTH_MAX);
    (width, target_height(rows as u32) as usize)
}

impl Panel for Preview {
    fn show(&mut self, shot: &Shot) -> Result<(), PanelError> {
        let awaited = self.shared.lock().waiting > 0;
        if !awaited && self.drawn.is_some_and(|at| at.elapsed() < IDLE_EVERY) {
            return Ok(());
        }
        self.drawn = Some(Instant::now());
        let (width, height) = self.look.turn.size(size(shot, self.look.view));
        self.canvas.resize(width, height);
        draw(&mut self.canvas, self.look.view, shot);
        let frame_px = [shot.report.width, shot.report.height];
        let has_original = !shot.original.is_empty();
        let mut latest = self.shared.lock();
        latest.place = Some(Place { look: self.look, shown_px: (width, height), frame_px, has_original });
        std::mem::swap(&mut latest.canvas, &mut self.canvas);
        latest.number += 1;
        self.shared.changed.notify_all();
        Ok(())
    }

    fn tend(&mut self) -> Result<Wish, PanelError> {
        Ok(Wish::GoOn)
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        // The thread waits for a client, so one connects.
        let mut own = self.address;
        if own.ip().is_unspecified() {
            own.set_ip(if own.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        let woken = TcpStream::connect_timeout(&own, CLIENT_LIMIT).is_ok();
        if let Some(accepts) = self.accepts.take().filter(|_| woken) {
            let _ = accepts.join();
        }
        let (refused, missed) = self.counts();
        log::debug!("display preview: {refused} clients turned away, {missed} pictures not taken by those let in");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::tests::shot;
    use std::io::{Read, Write};

    fn open() -> Preview {
        Preview::open("127.0.0.1:0", ViewChoice::Clustered.into()).unwrap()
    }

    fn ask(preview: &Preview, target: &str, host: &str) -> TcpStream {
        let mut client = TcpStream::connect(preview.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        client
    }

    /// Status line and body of a whole answer.
    fn get(preview: &Preview, target: &str, host: &str) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        ask(preview, target, host).read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        (head.lines().next().unwrap().to_owned(), bytes[end + 4..].to_vec())
    }

    /// Reads until `end` has come.
    fn until(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
        let (mut bytes, mut one) = (Vec::new(), [0]);
        while !bytes.ends_with(end) {
            client.read_exact(&mut one).unwrap();
            bytes.push(one[0]);
        }
        bytes
    }

    /// Shows `shot` until `done`, as the stream of pictures would.
    fn show_until(preview: &mut Preview, shot: &Shot, mut done: impl FnMut(&Preview) -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !done(preview) {
            assert!(Instant::now() < limit, "it never came to that");
            preview.show(shot).unwrap();
            std::thread::yield_now();
        }
    }

    #[test]
    fn now_is_the_picture_that_is_drawn_byte_for_byte() {
        let mut preview = open();
        preview.show(&shot()).unwrap();
        let (status, body) = get(&preview, "/now.png", "localhost");
        assert_eq!(status, "HTTP/1.1 200 OK");
        let mut reader = ::png::Decoder::new(io::Cursor::new(body)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        let (width, height) = size(&shot(), ViewChoice::Clustered);
        let mut canvas = Canvas::new(width, height);
        draw(&mut canvas, ViewChoice::Clustered, &shot());
        assert_eq!((info.width as usize, info.height as usize), (width, height));
        let expected: Vec<u8> = (0..width * height).flat_map(|i| canvas.at(i % width, i / width)).collect();
        assert!(rgb == expected, "the picture differs");
        assert_eq!((canvas.at(0, 0), canvas.at(width - 1, 0)), ([200, 0, 0], [0, 100, 0]));
    }

    #[test]
    fn the_stream_goes_on_and_a_client_that_does_not_read_holds_nobody_up() {
        let mut preview = open();
        // It sends a request and never reads.
        let _lazy = ask(&preview, "/stream", "127.0.0.1");
        let address = preview.address();
        let reads = std::thread::spawn(move || {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(b"GET /stream HTTP/1.1\r\n\r\n").unwrap();
            let head = until(&mut client, b"--next\r\n");
            assert!(String::from_utf8_lossy(&head).contains("multipart/x-mixed-replace; boundary=next"));
            for _ in 0..3 {
                let head = String::from_utf8_lossy(&until(&mut client, b"\r\n\r\n")).into_owned();
                let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
                let mut jpeg = vec![0; length];
                client.read_exact(&mut jpeg).unwrap();
                assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
                until(&mut client, b"\r\n--next\r\n");
            }
        });
        show_until(&mut preview, &shot(), |_| reads.is_finished());
        reads.join().unwrap();
    }

    #[test]
    fn too_many_clients_are_turned_away_and_counted() {
        let mut preview = open();
        let mut clients: Vec<_> = (0..CLIENTS_MAX).map(|_| ask(&preview, "/stream", "localhost")).collect();
        for client in &mut clients {
            until(client, b"--next\r\n");
        }
        let _one_more = ask(&preview, "/stream", "localhost");
        show_until(&mut preview, &shot(), |p| p.counts().0 == 1);
        drop(clients);
        // Their places are free when their threads have noticed the end.
        let mut answered = false;
        show_until(&mut preview, &shot(), |p| {
            answered = answered || p.shared.lock().clients == 0;
            answered
        });
    }

    #[test]
    fn a_page_for_people_and_a_word_for_what_is_not_there() {
        let preview = open();
        let (status, body) = get(&preview, "/", "localhost:8090");
        assert!(status.contains("200") && String::from_utf8_lossy(&body).contains("/stream"));
        assert!(get(&preview, "/x", "localhost").0.contains("404"));
        assert!(get(&preview, "/", "evil.example").0.contains("421"), "a foreign name that leads here");
    }

    #[test]
    fn an_address_is_a_port_a_host_and_port_or_nothing() {
        let of = |address| preview_address(address).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(of("").as_deref(), Some("127.0.0.1 8090"));
        assert_eq!(of("9000").as_deref(), Some("127.0.0.1 9000"));
        assert_eq!(of("0.0.0.0:80").as_deref(), Some("0.0.0.0 80"));
        assert_eq!(of("[::1]:0").as_deref(), Some("::1 0"));
        for bad in ["x", "h:", ":80", "h:99999", "http://h:1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        let open = open();
        let taken = Preview::open(&open.address().to_string(), ViewChoice::Clustered.into()).unwrap_err().to_string();
        assert!(taken.contains(&open.address().to_string()), "{taken}");
    }
}
