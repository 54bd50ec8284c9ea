//! HTTP of the preview: the page, the newest picture, or a stream of pictures.
//!
//! Inputs are requests, which [`crate::http`] reads; results are answers. Each client has a thread, and there are at most
//! `CLIENTS_MAX` of them.

use super::{CLIENT_LIMIT, CLIENTS_MAX, IDLE_EVERY, Picture, Shared, Taken};
use crate::http::{answer, head, is_meant};
use crate::panel::png;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;

const JPEG_QUALITY: u8 = 90;
const PAGE: &str = include_str!("page.html");
const DRAW: &str = include_str!("draw.js");

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
                // It fits into the socket's buffer, so this does not wait.
                let _ = answer(&mut stream, "503 Too many", "text/plain", b"Too many are watching; try again.\n");
                continue;
            }
            latest.clients += 1;
        }
        let own = Arc::clone(shared);
        let served = Builder::new().name("preview-client".into()).spawn(move || {
            // A client that disconnects is not a failure.
            let _ = serve(&mut stream, &own);
            own.lock().clients -= 1;
        });
        if served.is_err() {
            shared.lock().clients -= 1;
        }
    }
}

fn serve(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    let Some(head) = head(stream, CLIENT_LIMIT)? else { return Ok(()) };
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
        "/draw.js" => answer(stream, "200 OK", "text/javascript; charset=utf-8", DRAW.as_bytes()),
        "/now.png" => now(stream, shared),
        "/places" => {
            let (place, mut text) = (shared.lock().place, String::new());
            match place {
                Some(place) => place.json(&mut text),
                None => text.push_str("{\"maps\":[]}\n"),
            }
            answer(stream, "200 OK", "application/json", text.as_bytes())
        }
        "/number" => {
            let number = shared.lock().number.to_string();
            answer(stream, "200 OK", plain, number.as_bytes())
        }
        "/stream" => flow(stream, shared),
        _ => answer(stream, "404 Not Found", plain, b"There are /, /stream, /now.png, /number and /places.\n"),
    }
}

/// The newest picture as a PNG, without loss.
fn now(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    let (mut picture, mut body) = (Picture::default(), Vec::new());
    let seen = shared.lock().number;
    // Waits for a picture that is being made. Otherwise the last one is the newest.
    let patience = if seen == 0 { CLIENT_LIMIT } else { IDLE_EVERY };
    match shared.take(seen, patience, &mut picture) {
        Taken::Picture(_) => {
            png::encode(&mut body, picture.width.into(), picture.height.into(), ::png::ColorType::Rgb, &picture.rgb)?;
            answer(stream, "200 OK", "image/png", &body)
        }
        _ => answer(stream, "503 No picture yet", "text/plain", b"There is no picture yet.\n"),
    }
}

/// Sends pictures until the client disconnects: always the newest, at the client's pace.
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
        // The boundary is sent with the picture, because browsers show a picture only when its boundary has arrived.
        stream.write_all(format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len()).as_bytes())?;
        stream.write_all(&jpeg)?;
        stream.write_all(b"\r\n--next\r\n")?;
    }
}
