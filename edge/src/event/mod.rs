//! Events: conditions that a person names, watched in every frame.
//!
//! Inputs are the report and the capture time of each frame; results are records of events that begin or end, and which are
//! active. All memory is taken at the start, and a frame takes none. What happens to the records is the sender's business.

pub mod eval;
pub mod parse;
pub mod timing;

use eval::Condition;
use firmware::limits::{EVENT_NAME_BYTES_MAX, EVENTS_MAX};
use firmware::wire::{EventRecord, Report};
use timing::{Timing, Waits};

/// An event as it is configured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventSpec {
    /// Its name.
    pub name: heapless::String<EVENT_NAME_BYTES_MAX>,
    /// What has to hold.
    pub condition: Condition,
    /// How long it has to hold or to fail.
    pub waits: Waits,
}

/// What happened to events in one frame: each has at most one change.
pub type Changes = heapless::Vec<EventRecord, EVENTS_MAX>;

/// Bits of events that are active, by their place in the configuration.
pub type Active = u16;

const _: () = assert!(EVENTS_MAX <= Active::BITS as usize);

/// The events of a run.
#[derive(Debug, Default)]
pub struct Events {
    specs: Vec<EventSpec>,
    timings: heapless::Vec<Timing, EVENTS_MAX>,
    changes: Changes,
}

impl Events {
    /// Watches for at most [`EVENTS_MAX`] events, of which none is active yet.
    pub fn new(specs: &[EventSpec]) -> Events {
        let timings = specs.iter().take(EVENTS_MAX).map(|_| Timing::default()).collect();
        Events { specs: specs.to_vec(), timings, changes: Changes::new() }
    }

    /// Looks at a frame. Gives what begins or ends with it.
    pub fn see(&mut self, report: &Report, captured_at_us: u64) -> &Changes {
        self.changes.clear();
        for (spec, timing) in self.specs.iter().zip(&mut self.timings) {
            let holds = spec.condition.holds(report);
            let Some(change) = timing.step(holds, captured_at_us, spec.waits) else { continue };
            let value_micro = spec.condition.first_value_micro(report);
            let record = EventRecord { frame: report.frame, name: spec.name.clone(), change, value_micro };
            // There is a place for each event.
            let _ = self.changes.push(record);
        }
        &self.changes
    }

    /// What began or ended with the last frame.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Which are active after the last frame.
    pub fn active(&self) -> Active {
        self.timings.iter().rev().fold(0, |bits, timing| bits << 1 | Active::from(timing.is_active()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::empty_report;
    use firmware::wire::EventChange;

    #[test]
    fn changes_have_frame_name_and_value_and_active_has_a_bit_for_each() {
        let spec = |name: &str, when: &str| EventSpec {
            name: name.try_into().unwrap(),
            condition: parse::parse(when, parse::Names::default()).unwrap(),
            waits: Waits::default(),
        };
        let mut events = Events::new(&[spec("few", "missed < 5"), spec("many", "missed >= 5 and clusters < 1")]);
        let report = |frame, missed| firmware::wire::Report { frame, missed: Some(missed), ..empty_report() };
        assert_eq!(events.see(&report(3, 2), 0).len(), 1);
        assert_eq!(events.active(), 0b01);
        let changes = events.see(&report(4, 7), 1).clone();
        let of = |n: usize| (changes[n].frame, changes[n].name.as_str(), changes[n].change, changes[n].value_micro);
        assert_eq!(of(0), (4, "few", EventChange::End, Some(7_000_000)));
        assert_eq!(of(1), (4, "many", EventChange::Begin, Some(7_000_000)));
        assert_eq!((events.active(), events.see(&report(5, 7), 2).len()), (0b10, 0));
    }
}
