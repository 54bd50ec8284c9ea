//! An MQTT broker inside the bridge, for one machine. The one module that uses `rumqttd`.
//!
//! It listens on the given port of loopback, or on a free one, and returns the URL that edges connect to. Nothing of it
//! survives the process, and custody makes that harmless. It listens on loopback only, because it asks nobody for a
//! password.

use crate::failure::Failure;
use firmware::limits::PACKET_BYTES_MAX;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const CONNECTIONS_MAX: usize = 1_024;
/// Deliveries that a client has not acknowledged.
const INFLIGHT_MAX: usize = 200;
/// Memory for one topic: so many segments of so many bytes; the oldest goes.
const SEGMENT_BYTES: usize = PACKET_BYTES_MAX;
const SEGMENTS: usize = 4;
const OUTGOING_MAX: u64 = 512;
const START: Duration = Duration::from_secs(5);

/// Starts the broker on `port` of loopback (0: any free one). Gives its port.
///
/// # Errors
/// [`Failure::Io`] if the port is taken, [`Failure::Unavailable`] if it does not answer.
pub fn start(port: u16) -> Result<u16, Failure> {
    // rumqttd does not report which port it got, so one is chosen for it.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|e| Failure::io(&format!("mqtt: port {port} of 127.0.0.1"), e))?;
    let listen = free.local_addr().map_err(|e| Failure::io("mqtt", e))?;
    drop(free);
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: PACKET_BYTES_MAX,
        max_inflight_count: INFLIGHT_MAX,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "mqtt".to_owned(), listen, tls: None, next_connection_delay_ms: 1, connections };
    let router = RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: OUTGOING_MAX,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    };
    let config = Config { router, v4: Some(HashMap::from([("1".to_owned(), server)])), ..Config::default() };
    std::thread::Builder::new()
        .name("broker".to_owned())
        .spawn(move || {
            if let Err(e) = Broker::new(config).start() {
                log::error!("embedded broker: {e}");
            }
        })
        .map_err(|e| Failure::io("mqtt: embedded broker", e))?;
    wait(listen)?;
    Ok(listen.port())
}

fn wait(listen: SocketAddr) -> Result<(), Failure> {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if TcpStream::connect_timeout(&listen, Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Failure::Unavailable(format!("the embedded broker does not answer on {listen}")))
}
