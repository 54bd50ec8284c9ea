//! As much of HTTP as a local page or a scraper needs: a request's head, and an answer.
//!
//! No more of a request is read than its head, and not for longer than the caller allows. Each answer ends its connection.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest request head in bytes.
const HEAD_BYTES_MAX: usize = 4096;

/// Writes a whole answer.
///
/// # Errors
/// Those of the connection.
pub fn answer(to: &mut impl Write, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n\r\n",
        body.len()
    );
    to.write_all(head.as_bytes())?;
    to.write_all(body)
}

/// Reads one request's head; none if it is too long, too slow or not there.
///
/// # Errors
/// Those of the connection.
pub fn head(from: &mut TcpStream, limit: Duration) -> io::Result<Option<String>> {
    let (mut bytes, until) = (Vec::new(), Instant::now() + limit);
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
pub fn is_meant(head: &str, local: IpAddr) -> bool {
    let host = head.lines().skip(1).filter_map(|l| l.split_once(':')).find(|(k, _)| k.eq_ignore_ascii_case("host"));
    let Some((_, host)) = host.filter(|_| local.is_loopback()) else { return true };
    let name =
        host.trim().rsplit_once(':').map_or(host.trim(), |(n, p)| if p.ends_with(']') { host.trim() } else { n });
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
