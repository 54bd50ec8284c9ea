//! The largest packet that the broker takes, found out where connections keep breaking.
//!
//! An MQTT 3.1.1 broker does not name its limit: it hangs up on a packet that is too large. After [`SUSPICIONS`] short
//! connections in a row, [`Packets`] asks for probes before anything else is sent: UNSUBSCRIBE packets of a given size for a
//! topic without a subscriber, which change nothing and are acknowledged. Sizes are bisected, and the size that
//! broke a connection has to break others before it counts. Nothing here does any I/O.

use std::time::Duration;

/// The largest probe: the topic of an UNSUBSCRIBE has at most 65,535 bytes. A record's packet is half as large.
pub(super) const PROBE_BYTES_MAX: usize = 65_000;
/// The smallest probe. A broker that does not take this one takes no status and no report either, so it is not the size that
/// breaks its connections.
const PROBE_BYTES_MIN: usize = 256;
/// Short connections in a row after which sizes are probed. One may be a restart of the broker.
const SUSPICIONS: u32 = 2;
/// A connection that broke within this time may have broken by what was sent on it.
const SHORT: Duration = Duration::from_secs(10);
/// The steps into which the range between a size that passed and one that did not is divided. Only the last step of each round
/// breaks a connection, so 16 steps need few connections.
const STEPS: usize = 16;
/// Connections that a size has to break again before it counts.
const CONFIRMATIONS: u32 = 2;
/// The limit is known when the range is this small a part of it: below 1 %, which no setting is that a person chooses.
const PRECISION: usize = 128;

/// Bytes of a PUBLISH packet.
pub fn publish_bytes(topic: &str, is_qos_0: bool, payload_bytes: usize) -> usize {
    packet_bytes(2 + topic.len() + if is_qos_0 { 0 } else { 2 } + payload_bytes)
}

/// Bytes of an UNSUBSCRIBE packet without its topic.
pub(super) fn unsubscribe_topic_bytes(packet: usize) -> usize {
    // Identifier and the topic's length, behind a header of at most 4 bytes.
    (1..=4).map(|head| packet.saturating_sub(head + 4)).find(|&n| packet_bytes(n + 4) <= packet).unwrap_or(1).max(1)
}

/// A packet's bytes from its remaining length: type, the length in groups of 7 bits, and the rest.
fn packet_bytes(remaining: usize) -> usize {
    let groups = (1..4).find(|&k| remaining < 1 << (7 * k)).unwrap_or(4);
    1 + groups + remaining
}

/// What a probe has to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Whether there is a limit at all.
    Any,
    /// In which range it lies.
    Range,
    /// Whether the size that broke a connection breaks others, so often, each just after a size that is taken: a record is
    /// declared lost by what is found here, and a bad line breaks connections at any size.
    Verify { left: u32, is_alive: bool },
}

/// A search under way: sizes up to `pass` are taken, `fail` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Search {
    stage: Stage,
    pass: usize,
    fail: usize,
    step: usize,
}

/// What is known of the broker's limit.
#[derive(Debug, Default)]
pub(super) struct Packets {
    suspicions: u32,
    search: Option<Search>,
    limit: Option<(usize, usize)>,
    /// The broker has not answered a probe: it is not asked again, for each unanswered probe holds the records up.
    is_silent: bool,
}

impl Packets {
    /// A search that begins at once.
    pub fn searching() -> Packets {
        Packets {
            search: Some(Search { stage: Stage::Any, pass: 0, fail: PROBE_BYTES_MAX, step: 0 }),
            ..Packets::default()
        }
    }

    /// The largest packet that the broker is known to take, where it does not take every one.
    pub fn limit(&self) -> Option<usize> {
        self.limit.map(|(pass, _)| pass)
    }

    /// A connection that carried data broke after `lived`; the largest packet on it, sent or about to be, had `largest` bytes.
    pub fn lost(&mut self, lived: Duration, largest: usize) {
        if lived < SHORT {
            self.suspicions += u32::from(largest > PROBE_BYTES_MIN);
        } else {
            self.suspicions = 0;
            // The broker may have been restarted with another setting.
            if let Some((pass, fail)) = self.limit {
                self.search = Some(Search { stage: Stage::Verify { left: 1, is_alive: false }, pass, fail, step: 0 });
            }
        }
        if self.suspicions >= SUSPICIONS && self.search.is_none() && !self.is_silent {
            self.search = Packets::searching().search;
        }
    }

    /// The size of the next probe; none: there is nothing to find out.
    pub fn probe(&self) -> Option<usize> {
        self.search.map(|s| match s.stage {
            Stage::Verify { is_alive: false, .. } => s.pass,
            Stage::Any | Stage::Verify { .. } => s.fail,
            Stage::Range => s.pass + s.step,
        })
    }

    /// The probe was acknowledged. `largest`: the largest packet on the connections that broke.
    pub fn passed(&mut self, largest: usize) {
        let Some(s) = &mut self.search else { return };
        match &mut s.stage {
            Stage::Verify { is_alive: is_alive @ false, .. } => *is_alive = true,
            Stage::Any | Stage::Verify { .. } if s.fail >= PROBE_BYTES_MAX => {
                // Larger packets cannot be probed; if there were any, they are what broke the connections.
                let is_larger = s.stage == Stage::Any && largest > PROBE_BYTES_MAX;
                self.end(is_larger.then_some((PROBE_BYTES_MAX, PROBE_BYTES_MAX + 1)));
            }
            Stage::Any | Stage::Verify { .. } => {
                // It was chance that this size broke a connection, or the broker's setting was raised.
                (s.pass, s.fail, s.stage) = (s.fail, PROBE_BYTES_MAX, Stage::Any);
            }
            Stage::Range => {
                s.pass += s.step;
                if s.step >= s.pass / 2 {
                    s.step = s.pass.min(s.fail - s.pass);
                }
                self.narrow();
            }
        }
    }

    /// The probe broke the connection.
    pub fn broke(&mut self) {
        let Some(s) = &mut self.search else { return };
        match s.stage {
            Stage::Any if s.pass == 0 => {
                s.stage = Stage::Range;
                (s.pass, s.step) = (0, PROBE_BYTES_MIN);
            }
            Stage::Any => {
                s.stage = Stage::Range;
                s.step = ((s.fail - s.pass) / STEPS).max(1);
                self.narrow();
            }
            Stage::Range if s.pass == 0 => self.end(None),
            Stage::Range => {
                s.fail = s.pass + s.step;
                s.step = (s.step / STEPS).max(1);
                self.narrow();
            }
            // Even a size that is taken broke it: the line is bad, and nothing can be found out now.
            Stage::Verify { is_alive: false, .. } => self.end(self.limit),
            Stage::Verify { left: 0 | 1, .. } => {
                let found = (s.pass, s.fail);
                self.end(Some(found));
            }
            Stage::Verify { left, .. } => s.stage = Stage::Verify { left: left - 1, is_alive: false },
        }
    }

    /// Probing is given up for good: the broker does not answer probes, as rumqttd.
    pub fn give_up(&mut self) {
        self.is_silent = true;
        self.end(self.limit);
    }

    /// From probing steps to verifying, where the range is small enough.
    fn narrow(&mut self) {
        let Some(s) = &mut self.search else { return };
        if s.fail - s.pass <= (s.pass / PRECISION).max(1) {
            s.stage = Stage::Verify { left: CONFIRMATIONS, is_alive: false };
        } else {
            s.step = s.step.min(s.fail - s.pass - 1).max(1);
        }
    }

    fn end(&mut self, limit: Option<(usize, usize)>) {
        (self.search, self.suspicions, self.limit) = (None, 0, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search against a broker that takes packets up to `limit`. Gives how many connections broke.
    fn search(packets: &mut Packets, limit: usize) -> u32 {
        let mut broken = 0;
        for _ in 0..1000 {
            let Some(bytes) = packets.probe() else { return broken };
            assert!((1..=PROBE_BYTES_MAX).contains(&bytes), "{bytes}");
            if bytes <= limit {
                packets.passed(0);
            } else {
                packets.broke();
                broken += 1;
            }
        }
        panic!("no end");
    }

    fn suspicious() -> Packets {
        let mut packets = Packets::default();
        packets.lost(Duration::ZERO, 5000);
        assert_eq!(packets.probe(), None, "one may be a restart");
        packets.lost(Duration::ZERO, 5000);
        packets
    }

    #[test]
    fn every_limit_is_found_within_a_hundredth_and_with_few_broken_connections() {
        for limit in (PROBE_BYTES_MIN..PROBE_BYTES_MAX).step_by(97).chain([2048, 2050, 16_384, 16_385, 32_768]) {
            let mut packets = suspicious();
            let broken = search(&mut packets, limit);
            let found = packets.limit().unwrap_or_else(|| panic!("{limit}"));
            assert!(found <= limit && limit - found <= limit / PRECISION, "{limit}: {found}");
            assert!(broken <= 7, "{limit}: {broken}");
        }
    }

    #[test]
    fn a_broker_without_a_limit_and_one_that_breaks_every_connection_have_none() {
        for limit in [usize::MAX, 0, PROBE_BYTES_MIN - 1] {
            let mut packets = suspicious();
            assert!(search(&mut packets, limit) <= 2);
            assert_eq!(packets.limit(), None);
        }
    }

    #[test]
    fn a_connection_that_breaks_by_chance_in_the_middle_does_not_become_a_limit() {
        let mut none = 0;
        for at in 1..40 {
            let (mut packets, mut n) = (suspicious(), 0);
            while let Some(bytes) = packets.probe() {
                n += 1;
                assert!(n < 1000, "no end");
                if bytes <= 9000 && n != at { packets.passed(0) } else { packets.broke() }
            }
            // The smallest probe, and a size that was taken before: then nothing is found out for now.
            let found = packets.limit();
            assert!(found.is_none_or(|f| f <= 9000 && f > 8900), "{at}: {found:?}");
            none += u32::from(found.is_none());
        }
        assert!(none <= 4, "{none}");
    }

    #[test]
    fn a_broker_that_comes_back_is_asked_again_and_its_new_limit_counts() {
        let mut packets = suspicious();
        search(&mut packets, 2048);
        let first = packets.limit();
        packets.lost(Duration::from_secs(3600), 5000);
        assert_eq!(search(&mut packets, 2048), 1, "one connection to see that nothing has changed");
        assert_eq!(packets.limit(), first);
        packets.lost(Duration::from_secs(3600), 5000);
        search(&mut packets, 16_384);
        assert!(packets.limit().is_some_and(|l| (16_256..=16_384).contains(&l)), "{:?}", packets.limit());
        packets.lost(Duration::from_secs(3600), 5000);
        search(&mut packets, usize::MAX);
        assert_eq!(packets.limit(), None);
    }

    #[test]
    fn what_is_larger_than_any_probe_is_limited_by_what_was_sent() {
        let mut packets = Packets::default();
        packets.lost(Duration::ZERO, 200_000);
        packets.lost(Duration::ZERO, 200_000);
        assert_eq!(packets.probe(), Some(PROBE_BYTES_MAX));
        packets.passed(200_000);
        assert_eq!((packets.probe(), packets.limit()), (None, Some(PROBE_BYTES_MAX)));
    }

    #[test]
    fn a_broker_that_does_not_answer_a_probe_is_not_asked_again() {
        let mut packets = suspicious();
        assert!(packets.probe().is_some());
        packets.give_up();
        (0..9).for_each(|_| packets.lost(Duration::ZERO, 5000));
        assert_eq!((packets.probe(), packets.limit()), (None, None));
    }

    #[test]
    fn packets_are_as_long_as_mqtt_says() {
        assert_eq!(publish_bytes("a/b", true, 10), 2 + 2 + 3 + 10);
        assert_eq!(publish_bytes("a/b", false, 200), 3 + 2 + 3 + 2 + 200);
        for packet in [20, 127, 129, 130, 131, 256, 2048, 16_386, 16_387, 16_388, PROBE_BYTES_MAX] {
            let bytes = packet_bytes(4 + unsubscribe_topic_bytes(packet));
            assert!(bytes <= packet && packet - bytes <= 1, "{packet}: {bytes}");
        }
    }
}
