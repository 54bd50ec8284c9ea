//! Events: conditions that a person names, watched in every frame.
//!
//! Inputs are the report and the capture time of each frame; results are records of events that begin or end, and which are
//! active. All memory is taken at the start, and a frame takes none. What happens to the records is the sender's business.

pub mod blink;
pub mod eval;
pub mod parse;
pub mod timing;

use blink::Blink;
use embedded_hal::digital::PinState;
use eval::Condition;
use firmware::limits::{EVENT_NAME_BYTES_MAX, EVENTS_MAX};
use firmware::wire::{EventChange, EventRecord, Pattern, Report};
use timing::{Timing, Waits};

/// A rate is another one if it differs by more than this part of the rate that was recorded, in percent. The first
/// measure of a rate, from two periods of 3 frames each, may be 20 % off.
const RATE_PERCENT: u64 = 25;

/// An event as it is configured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventSpec {
    /// Its name.
    pub name: heapless::String<EVENT_NAME_BYTES_MAX>,
    /// What has to hold.
    pub condition: Condition,
    /// How long it has to hold or to fail.
    pub waits: Waits,
    /// Blinking is distinguished from steady.
    pub with_blink: bool,
    /// The output line that follows it.
    pub line: Option<LineSpec>,
}

/// An output line that follows an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineSpec {
    /// The name that the kernel gives it, such as `GPIO17`.
    pub name: String,
    /// It is low while the event is active.
    pub active_low: bool,
}

impl LineSpec {
    /// The level that means on or off.
    pub fn level(&self, is_on: bool) -> PinState {
        PinState::from(is_on != self.active_low)
    }
}

/// What happened to events in one frame: each has at most one change.
pub type Changes = heapless::Vec<EventRecord, EVENTS_MAX>;

/// How an event is after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventState {
    /// It has begun and has not ended.
    pub is_active: bool,
    /// How its condition holds, if blinking is distinguished from steady.
    pub pattern: Option<Pattern>,
}

/// The states of all events, by their place in the configuration.
pub type States = heapless::Vec<EventState, EVENTS_MAX>;

/// What is remembered of an event.
#[derive(Debug, Default)]
struct Watch {
    timing: Timing,
    blink: Option<Blink>,
    /// The pattern of its last record.
    recorded: Pattern,
}

impl Watch {
    /// Takes whether the condition holds. Gives a change if there is one.
    fn step(&mut self, holds: bool, at_us: u64, waits: Waits) -> Option<EventChange> {
        let Some(blink) = &mut self.blink else { return self.timing.step(holds, at_us, waits) };
        let pattern = blink.step(holds, at_us);
        let change = self.timing.step(pattern != Pattern::Off, at_us, waits);
        let turns = || self.timing.is_active() && is_other(self.recorded, pattern);
        let change = change.or_else(|| turns().then_some(EventChange::Turn))?;
        self.recorded = pattern;
        Some(change)
    }

    fn state(&self) -> EventState {
        let is_active = self.timing.is_active();
        let pattern = self.blink.as_ref().map(|blink| match blink.pattern() {
            _ if !is_active => Pattern::Off,
            // It waits for its end.
            Pattern::Off => self.recorded,
            pattern => pattern,
        });
        EventState { is_active, pattern }
    }
}

/// Whether an active event has another pattern than was recorded.
fn is_other(recorded: Pattern, pattern: Pattern) -> bool {
    match (recorded.rate_millihz(), pattern.rate_millihz()) {
        (Some(before), Some(rate)) => u64::from(rate.abs_diff(before)) * 100 > u64::from(before) * RATE_PERCENT,
        _ => pattern != Pattern::Off && pattern != recorded,
    }
}

/// The events of a run.
#[derive(Debug, Default)]
pub struct Events {
    specs: Vec<EventSpec>,
    watches: heapless::Vec<Watch, EVENTS_MAX>,
    changes: Changes,
}

impl Events {
    /// Watches for at most [`EVENTS_MAX`] events, of which none is active yet.
    pub fn new(specs: &[EventSpec]) -> Events {
        let watch = |spec: &EventSpec| Watch { blink: spec.with_blink.then(Blink::default), ..Watch::default() };
        let watches = specs.iter().take(EVENTS_MAX).map(watch).collect();
        Events { specs: specs.to_vec(), watches, changes: Changes::new() }
    }

    /// Looks at a frame. Gives what begins, ends or turns with it.
    pub fn see(&mut self, report: &Report, captured_at_us: u64) -> &Changes {
        self.changes.clear();
        for (spec, watch) in self.specs.iter().zip(&mut self.watches) {
            let holds = spec.condition.holds(report);
            let Some(change) = watch.step(holds, captured_at_us, spec.waits) else { continue };
            let value_micro = spec.condition.first_value_micro(report);
            let pattern = watch.blink.is_some().then_some(watch.recorded);
            let record = EventRecord { frame: report.frame, name: spec.name.clone(), change, value_micro, pattern };
            // There is a place for each event.
            let _ = self.changes.push(record);
        }
        &self.changes
    }

    /// What began, ended or turned with the last frame.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// How each event is after the last frame.
    pub fn states(&self) -> States {
        self.watches.iter().map(Watch::state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::empty_report;

    fn active(events: &Events) -> Vec<bool> {
        events.states().iter().map(|state| state.is_active).collect()
    }

    #[test]
    fn a_lamp_that_goes_from_dark_to_blinking_to_steady_to_dark_is_four_records() {
        let condition = parse::parse("missed > 0", parse::Names::default()).unwrap();
        let name = "lamp".try_into().unwrap();
        let spec = EventSpec { name, condition, with_blink: true, ..EventSpec::default() };
        let mut events = Events::new(&[spec]);
        let mut found = Vec::new();
        for frame in 0..1_200u64 {
            // 30 frames a second: dark for 5 s, 1 Hz for 10 s, 3 Hz for 10 s, lit for 10 s, dark for 5 s.
            let is_lit = match frame {
                150..450 => frame % 30 < 15,
                450..750 => frame % 10 < 5,
                750..1_050 => true,
                _ => false,
            };
            let report = Report { frame, missed: Some(is_lit.into()), ..empty_report() };
            let changes = events.see(&report, 1_000_000 + frame * 33_333);
            found.extend(changes.iter().map(|e| (e.change, e.pattern.unwrap(), e.frame)));
            let last = found.last().map_or(Pattern::Off, |t| t.1);
            let state = events.states()[0];
            assert_eq!(
                (state.is_active, state.pattern.unwrap().word()),
                (last != Pattern::Off, last.word()),
                "{frame}"
            );
        }
        let words: Vec<_> = found.iter().map(|(change, pattern, _)| (change.word(), pattern.word())).collect();
        assert_eq!(words, [("begin", "blinking"), ("turn", "blinking"), ("turn", "steady"), ("end", "off")]);
        let near = |n: usize, hz: u32| found[n].1.rate_millihz().unwrap().abs_diff(hz * 1_000) < 100 * hz;
        assert!(near(0, 1) && near(1, 3), "{found:?}");
        assert!(
            (150..300).contains(&found[0].2) && (750..800).contains(&found[2].2) && found[3].2 < 1_100,
            "{found:?}"
        );
    }

    #[test]
    fn changes_have_frame_name_and_value_and_each_event_has_a_state() {
        let spec = |name: &str, when: &str| EventSpec {
            name: name.try_into().unwrap(),
            condition: parse::parse(when, parse::Names::default()).unwrap(),
            ..EventSpec::default()
        };
        let mut events = Events::new(&[spec("few", "missed < 5"), spec("many", "missed >= 5 and clusters < 1")]);
        let report = |frame, missed| firmware::wire::Report { frame, missed: Some(missed), ..empty_report() };
        assert_eq!(events.see(&report(3, 2), 0).len(), 1);
        assert_eq!(active(&events), [true, false]);
        let changes = events.see(&report(4, 7), 1).clone();
        let of = |n: usize| (changes[n].frame, changes[n].name.as_str(), changes[n].change, changes[n].value_micro);
        assert_eq!(of(0), (4, "few", EventChange::End, Some(7_000_000)));
        assert_eq!(of(1), (4, "many", EventChange::Begin, Some(7_000_000)));
        assert_eq!((active(&events), events.see(&report(5, 7), 2).len()), (vec![false, true], 0));
    }
}
