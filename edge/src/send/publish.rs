//! What Send publishes besides records: windows, the status, pictures without custody, and the last words.
//!
//! A broker may take only small packets. Then the status has less in it, pictures that do not fit are dropped and counted,
//! and what does not fit is logged once for each kind of message.

use super::status::{self, Detail};
use super::{BUSY_PAUSE, REASONS_LOGGED_MAX, STATUS_EVERY, STOP_PATIENCE, Send, next_event};
use crate::config::{Origin, saved};
use crate::counters::get;
use crate::outbox::{Event, Outbox, Unsent};
use crate::parcel::{Parcel, PictureWay};
use crate::vitals::Vitals;
use firmware::custody::{Envelope, Kind};
use firmware::limits::{CONTROL_BYTES_MAX, ENVELOPE_BYTES, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX, PICTURE_BYTES_MAX};
use firmware::wire::{self, Payload, PictureHead};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Send {
    pub(super) fn publish_window(&mut self) {
        if self.sender.window_due(self.now_us()) {
            let window = self.sender.window(self.now_us());
            let mut buf = vec![0; CONTROL_BYTES_MAX];
            if let (Ok(n), Some(outbox)) = (wire::encode_window(&window, &mut buf), &self.outbox) {
                buf.truncate(n);
                // One that is not sent is published again: it is not acknowledged.
                if let Err(Unsent::TooLarge { bytes }) = outbox.window(buf) {
                    self.log_too_large("window", bytes, "not sent: the journal cannot settle this device's records");
                }
            }
        }
    }

    /// Numbers that differ when there is something new for the status: the health of children, commands, the clock, and whether
    /// there was a frame whose colours could not be corrected.
    pub(super) fn changes(&self) -> (u64, u64, bool, bool) {
        let channels = &self.channels;
        let is_uncorrected = get(&channels.counters.uncorrected) > 0;
        (channels.health.changes(), channels.outcomes.changes(), channels.clock.is_synchronised(), is_uncorrected)
    }

    pub(super) fn publish_status(&mut self, state: &str) {
        // What is reported as saved is on the disk.
        self.channels.outcomes.save(|changes| saved::store(self.spool.dir(), changes));
        let changes = self.changes();
        self.status_due = Instant::now() + STATUS_EVERY;
        if self.is_former {
            self.status_published = changes;
            return;
        }
        for detail in Detail::ALL {
            let status = self.status(state, detail);
            match self.outbox.as_ref().map(|outbox| outbox.status(status)) {
                Some(Ok(())) => {
                    self.status_published = changes;
                    return;
                }
                Some(Err(Unsent::TooLarge { bytes })) => self.log_too_large("status", bytes, "sent with less in it"),
                // One that finds no room is published again with the next turn.
                Some(Err(Unsent::Busy)) | None => return,
            }
        }
        // Not even the smallest fits.
        self.status_published = changes;
    }

    /// What the camera sees now, at most once a second. One that finds no room is left out.
    pub(super) fn publish_state(&mut self) {
        let now = Instant::now();
        let Some(outbox) = self.outbox.as_ref().filter(|_| !self.is_former && self.state.is_due(now)) else { return };
        let state = self.state.json(&self.names, get(&self.channels.counters.fps_tenths));
        if let Err(Unsent::TooLarge { bytes }) = outbox.state_message(state) {
            self.log_too_large("state", bytes, "not sent");
        }
        self.state.sent(now);
    }

    fn status(&self, state: &str, detail: Detail) -> String {
        let journal = self.sender.journal().map(|j| j.as_str());
        let (counters, health) = (&*self.channels.counters, self.channels.health.report());
        let mut config = self.config.clone();
        let origin = |is_saved| if is_saved { Origin::Saved } else { Origin::Command };
        config.extend(self.channels.outcomes.in_force().into_iter().map(|((k, v), saved)| (k, (v, origin(saved)))));
        let refused = self.channels.outcomes.refusals();
        let vitals = Vitals::look(Path::new("/"), Some(self.spool.dir()));
        let is_clock_synchronised = self.channels.clock.is_synchronised();
        let about = status::About {
            config: &config,
            names: &self.names,
            detail,
            counters,
            health: &health,
            refused: &refused,
            vitals: &vitals,
            is_clock_synchronised,
        };
        status::json(state, self.spool.boot(), journal, Some(&about))
    }

    /// The fullest status that the broker takes.
    fn fitting_status(&self, state: &str) -> String {
        let room = self.payload_bytes_max(Kind::Report);
        let fits = |status: &String| {
            self.channels.counters.packet_bytes_max.load(Ordering::Relaxed) == 0 || status.len() <= room
        };
        let mut all = Detail::ALL.map(|detail| self.status(state, detail)).into_iter();
        let last = all.next_back().unwrap_or_default();
        all.find(fits).unwrap_or(last)
    }

    /// Logs what does not fit through the broker, once for each kind of message.
    pub(super) fn log_too_large(&mut self, kind: &str, bytes: usize, so: &str) {
        if self.logged_too_large.iter().any(|k| k == kind) || self.logged_too_large.len() >= REASONS_LOGGED_MAX {
            return;
        }
        self.logged_too_large.push(kind.to_owned());
        let limit = get(&self.channels.counters.packet_bytes_max);
        log::warn!("a packet of {bytes} bytes with a {kind} is larger than the broker takes ({limit} bytes): {so}");
    }

    /// The largest payload of a kind that can be sent.
    pub(super) fn payload_bytes_max(&self, kind: Kind) -> usize {
        let broker = self.outbox.as_ref().map_or(usize::MAX, |outbox| outbox.payload_bytes_max(kind));
        broker.saturating_sub(ENVELOPE_BYTES).min(PAYLOAD_BYTES_MAX)
    }

    pub(super) fn on_packet_limit(&mut self, limit: Option<usize>) {
        let counters = &self.channels.counters;
        counters.packet_bytes_max.store(limit.unwrap_or(0) as u64, Ordering::Relaxed);
        let census = self.payload_bytes_max(Kind::Census);
        counters.census_bytes_max.store(if limit.is_some() { census.max(1) as u64 } else { 0 }, Ordering::Relaxed);
        self.logged_too_large.clear();
        match limit {
            Some(limit) => log::error!(
                "the broker hangs up on packets of more than {limit} bytes. Reports that fit are sent; censuses and pictures \
                 under custody are cut to fit; larger records of before are declared lost; larger pictures are dropped. \
                 Raise the broker's limit to {PACKET_BYTES_MAX} (mosquitto: max_packet_size)"
            ),
            None => log::info!("the broker takes packets of every size that is sent"),
        }
    }

    /// The newest picture, and the original, out at once or never.
    pub(super) fn picture(&mut self, parcel: &Parcel) {
        let counters = &self.channels.counters;
        let Some(outbox) = self.outbox.as_ref().filter(|o| o.is_connected()) else { return };
        let publish = |kind: Kind, version: u8, payload: &[u8]| {
            let envelope = Envelope {
                kind: kind as u8,
                payload_version: version,
                clock_synced: parcel.clock_synced,
                stream: 0,
                seq: parcel.report.frame,
                captured_at_us: parcel.captured_at_us,
            };
            let sent = if payload.len() <= PICTURE_BYTES_MAX {
                outbox.picture([&envelope.seal(payload)[..], payload].concat())
            } else {
                Err(Unsent::Busy)
            };
            let counter = match sent {
                Ok(()) => &counters.pictures_sent,
                Err(Unsent::Busy) => &counters.pictures_unsent,
                Err(Unsent::TooLarge { .. }) => &counters.pictures_too_large,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        };
        if parcel.way == PictureWay::Latest {
            // One part: it is one message.
            match parcel.picture(PICTURE_BYTES_MAX, &mut self.scratch, &mut self.parts) {
                Ok(()) if self.parts.iter().count() == 1 => {
                    self.parts.iter().for_each(|p| publish(Kind::Picture, PictureHead::VERSION, p));
                }
                _ => publish(Kind::Picture, 0, &[0; PICTURE_BYTES_MAX + 1]),
            }
        }
        if parcel.original_jpeg(&mut self.record) {
            publish(Kind::Original, wire::OriginalHead::VERSION, &self.record);
        }
    }

    /// Final window, `offline`, goodbye; for at most [`STOP_PATIENCE`].
    pub(super) async fn farewell(&mut self) {
        let until = Instant::now() + STOP_PATIENCE;
        let mut asked = false;
        while self.outbox.as_ref().is_some_and(Outbox::is_connected) && Instant::now() < until {
            if !asked && !self.is_hello_due {
                let settled = self.sender.settled();
                let window = (!settled).then(|| self.sender.window(self.now_us()));
                let status = (!self.is_former).then(|| self.fitting_status("offline"));
                if let Some(outbox) = &mut self.outbox {
                    asked = goodbye(outbox, window.as_ref(), status);
                }
            } else if self.is_hello_due {
                self.is_hello_due = false;
            }
            tokio::select! {
                event = next_event(&mut self.outbox) => match event {
                    Event::Closed => break,
                    event => self.on_event(event),
                },
                () = tokio::time::sleep(BUSY_PAUSE) => {}
            }
        }
    }
}

/// Publishes the last words. False: there was no room, try again.
fn goodbye(outbox: &mut Outbox, window: Option<&firmware::custody::Window>, status: Option<String>) -> bool {
    if let Some(window) = window {
        let mut buf = vec![0; CONTROL_BYTES_MAX];
        if let Ok(n) = wire::encode_window(window, &mut buf) {
            buf.truncate(n);
            if outbox.window(buf).is_err() {
                return false;
            }
        }
    }
    status.is_none_or(|status| outbox.status(status).is_ok()) && outbox.close().is_ok()
}
