//! HTTP: as much of it as a page with one picture needs.
//!
//! Takes connections. Gives each the page, the newest picture, or pictures until it goes.
//! Touches one thread a client, at most `CLIENTS_MAX` of them.
//! Never more of a request than its head, and never that for longer than `CLIENT_LIMIT`.

use super::{CLIENT_LIMIT, CLIENTS_MAX, IDLE_EVERY, Picture, Shared, Taken};
use crate::panel::png;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Instant;

/// Longest request head in bytes.
const HEAD_BYTES_MAX: usize = 4096;
const JPEG_QUALITY: u8 = 90;
const PAGE: &str = include_str!("page.html");

/// Serves clients until the panel is closed.
pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.lock().closed {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let limits = stream.set_read_timeout(Some(CLIENT_LIMIT)).and(stream.set_write_timeout(Some(CLIENT_LIMIT)));
        if limits.is_err() {
            continue;
        }
        {
            let mut latest = shared.lock();
            if latest.clients >= CLIENTS_MAX {
                latest.refused += 1;
                drop(latest);
                // So small that it never waits: the socket's own buffer takes it.
                let _ = answer(&mut stream, "503 Too many", "text/plain", b"Too many are watching; try again.\n");
                continue;
            }
            latest.clients += 1;
        }
        let own = Arc::clone(shared);
        let served = Builder::new().name("preview-client".into()).spawn(move || {
            // A client that goes away is no failure.
            let _ = serve(&mut stream, &own);
            own.lock().clients -= 1;
        });
        if served.is_err() {
            shared.lock().clients -= 1;
        }
    }
}

fn answer(to: &mut impl Write, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n\r\n",
        body.len()
    );
    to.write_all(head.as_bytes())?;
    to.write_all(body)
}

/// Reads one request's head; none if it is too long, too slow or not there.
fn head(from: &mut TcpStream) -> io::Result<Option<String>> {
    let (mut bytes, until) = (Vec::new(), Instant::now() + CLIENT_LIMIT);
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut some = [0; 512];
        let n = from.read(&mut some)?;
        bytes.extend_from_slice(&some[..n]);
        if n == 0 || bytes.len() > HEAD_BYTES_MAX || Instant::now() > until {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether a request to a loopback address was meant for it: a foreign page that had its own name resolve to this
/// machine would be able to read the picture.
fn is_meant(head: &str, local: IpAddr) -> bool {
    let host = head.lines().skip(1).filter_map(|l| l.split_once(':')).find(|(k, _)| k.eq_ignore_ascii_case("host"));
    let Some((_, host)) = host.filter(|_| local.is_loopback()) else { return true };
    let name =
        host.trim().rsplit_once(':').map_or(host.trim(), |(n, p)| if p.ends_with(']') { host.trim() } else { n });
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn serve(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    let Some(head) = head(stream)? else { return Ok(()) };
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let plain = "text/plain";
    if !is_meant(&head, stream.local_addr()?.ip()) {
        return answer(stream, "421 Misdirected", plain, b"This page is for localhost.\n");
    }
    if method != "GET" {
        return answer(stream, "405 Method Not Allowed", plain, b"Only GET.\n");
    }
    match target.split('?').next().unwrap_or("") {
        "/" => answer(stream, "200 OK", "text/html; charset=utf-8", PAGE.as_bytes()),
        "/now.png" => now(stream, shared),
        "/number" => {
            let number = shared.lock().number.to_string();
            answer(stream, "200 OK", plain, number.as_bytes())
        }
        "/stream" => flow(stream, shared),
        _ => answer(stream, "404 Not Found", plain, b"There are /, /stream, /now.png and /number.\n"),
    }
}

/// The newest picture, as exact as it is.
fn now(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    let (mut picture, mut body) = (Picture::default(), Vec::new());
    let seen = shared.lock().number;
    // A picture that is being made right now is worth waiting for; else the last one is the newest.
    let patience = if seen == 0 { CLIENT_LIMIT } else { IDLE_EVERY };
    match shared.take(seen, patience, &mut picture) {
        Taken::Picture(_) => {
            png::encode(&mut body, picture.width.into(), picture.height.into(), ::png::ColorType::Rgb, &picture.rgb)?;
            answer(stream, "200 OK", "image/png", &body)
        }
        _ => answer(stream, "503 No picture yet", "text/plain", b"There is no picture yet.\n"),
    }
}

/// Pictures until the client goes: as many as it takes, always the newest.
fn flow(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\nCache-Control: no-store\r\n\
          Cross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n\r\n--next\r\n",
    )?;
    let (mut picture, mut jpeg, mut seen) = (Picture::default(), Vec::new(), 0);
    loop {
        match shared.take(seen, CLIENT_LIMIT, &mut picture) {
            Taken::Picture(number) => seen = number,
            Taken::NoneYet => continue,
            Taken::Closed => return Ok(()),
        }
        jpeg.clear();
        let encoder = jpeg_encoder::Encoder::new(&mut jpeg, JPEG_QUALITY);
        encoder
            .encode(&picture.rgb, picture.width, picture.height, jpeg_encoder::ColorType::Rgb)
            .map_err(io::Error::other)?;
        // The line that ends a picture goes with it: browsers show it only then.
        stream.write_all(format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len()).as_bytes())?;
        stream.write_all(&jpeg)?;
        stream.write_all(b"\r\n--next\r\n")?;
    }
}
