//! The small JSON message `state`: what the camera sees now, for home automation.
//!
//! Inputs are parcels; results are a retained message at most once a second: clusters, dominant colour, named colours by region
//! in percent, events, which of them blink, and frames a second. It is no record: the newest takes the place of the one before.

use super::status::Names;
use crate::event::States;
use crate::parcel::Parcel;
use crate::slot::empty_report;
use firmware::wire::{Report, Swatch};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// A message at most this often.
const EVERY: Duration = Duration::from_secs(1);
/// Another colour becomes the dominant one with more than this part of its pixels, in percent: two that are equal but for noise
/// do not take turns.
const AHEAD_PERCENT: u64 = 110;

/// What was seen last.
#[derive(Debug)]
pub(super) struct State {
    report: Report,
    states: States,
    dominant: Option<u32>,
    is_new: bool,
    due: Instant,
}

impl Default for State {
    fn default() -> State {
        State { report: empty_report(), states: States::new(), dominant: None, is_new: false, due: Instant::now() }
    }
}

impl State {
    /// Takes what a parcel has.
    pub fn see(&mut self, parcel: &Parcel) {
        if parcel.with_report {
            self.report.clone_from(&parcel.report);
            self.states.clone_from(&parcel.states);
            self.dominant = dominant(&self.report, self.dominant).map(|swatch| swatch.id);
            self.is_new = true;
        }
    }

    /// When the next message is due; none: nothing new was seen.
    pub fn is_due(&self, now: Instant) -> bool {
        self.is_new && now >= self.due
    }

    /// A message has left.
    pub fn sent(&mut self, now: Instant) {
        (self.is_new, self.due) = (false, now + EVERY);
    }

    /// The message.
    pub fn json(&self, names: &Names, fps_tenths: u64) -> String {
        let pixels = self.report.pixels();
        let swatch = self.report.palette.iter().find(|swatch| Some(swatch.id) == self.dominant);
        let dominant = swatch.map(|swatch| {
            let [r, g, b] = swatch.rgb8();
            let share = percent(swatch.pixels.into(), pixels);
            json!({ "hex": format!("#{r:02x}{g:02x}{b:02x}"), "share": share, "id": swatch.id })
        });
        let region = |(name, n): (&String, usize)| {
            let share = self.report.regions.iter().find(|share| usize::from(share.region) == n);
            let colour = |(colour, n): (&String, usize)| {
                let named = share.and_then(|s| s.named.iter().find(|named| usize::from(named.colour) == n));
                let of = share.map_or(0, |s| s.pixels);
                (colour.clone(), json!(percent(named.map_or(0, |named| named.pixels).into(), of.into())))
            };
            (name.clone(), Value::Object(names.colours.iter().zip(0..).map(colour).collect()))
        };
        let state = |n: usize| self.states.get(n).copied().unwrap_or_default();
        let event = |(name, n): (&String, usize)| (name.clone(), if state(n).is_active { "on" } else { "off" }.into());
        let light = |(name, n): (&String, usize)| {
            let pattern = state(n).pattern?;
            let rate_hz = pattern.rate_millihz().map(|millihz| f64::from(millihz) / 1e3);
            Some((name.clone(), json!({ "pattern": pattern.word(), "rate_hz": rate_hz })))
        };
        let regions: Map<String, Value> = names.regions.iter().zip(0..).map(region).collect();
        let events: Map<String, Value> = names.events.iter().zip(0..).map(event).collect();
        let blink: Map<String, Value> = names.events.iter().zip(0..).filter_map(light).collect();
        json!({
            "frame": self.report.frame,
            "clusters": self.report.palette.len(),
            "dominant": dominant,
            "regions": regions,
            "events": events,
            "blink": blink,
            "fps": fps_tenths as f64 / 10.0,
        })
        .to_string()
    }
}

/// A part in percent, to a tenth.
fn percent(part: u64, of: u64) -> f64 {
    (part as f64 * 1000.0 / of.max(1) as f64).round() / 10.0
}

/// The colour with the most pixels. The one `before` stays until another has clearly more.
fn dominant(report: &Report, before: Option<u32>) -> Option<&Swatch> {
    let most = report.palette.iter().max_by_key(|swatch| swatch.pixels)?;
    let kept = report.palette.iter().find(|swatch| Some(swatch.id) == before);
    let is_clear = |kept: &&Swatch| u64::from(most.pixels) * 100 > u64::from(kept.pixels) * AHEAD_PERCENT;
    Some(kept.filter(|kept| !is_clear(kept)).unwrap_or(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventState;
    use firmware::wire::{NamedShare, Pattern, RegionShare};

    fn parcel(pixels: &[u32]) -> Parcel {
        let swatch = |(id, &pixels): (u32, &u32)| Swatch { id, rgb_q6: [64 * 16 * id as u16, 0, 64 * 255], pixels };
        let palette = (0..).zip(pixels).map(swatch).collect();
        let named = [NamedShare { colour: 1, pixels: 25, de00_q6: 0 }].into_iter().collect();
        let regions = [RegionShare { region: 0, pixels: 200, named }].into_iter().collect();
        let on = EventState { is_active: true, pattern: Some(Pattern::Blinking { rate_millihz: 1_250 }) };
        let states = [EventState::default(), on].into_iter().collect();
        Parcel { report: Report { frame: 9, palette, regions, ..empty_report() }, states, ..Parcel::default() }
    }

    fn names() -> Names {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names {
            regions: of(&["stack-1"]),
            colours: of(&["red", "green"]),
            events: of(&["door", "lamp"]),
            blinks: of(&["lamp"]),
            ..Names::default()
        }
    }

    #[test]
    fn a_state_has_colours_in_percent_and_events_by_name() {
        let mut state = State::default();
        state.see(&parcel(&[100, 300]));
        let json: Value = serde_json::from_str(&state.json(&names(), 299)).unwrap();
        let want = json!({
            "frame": 9, "clusters": 2, "dominant": { "hex": "#1000ff", "share": 75.0, "id": 1 },
            "regions": { "stack-1": { "red": 0.0, "green": 12.5 } }, "events": { "door": "off", "lamp": "on" },
            "blink": { "lamp": { "pattern": "blinking", "rate_hz": 1.25 } }, "fps": 29.9,
        });
        assert_eq!(json, want);
    }

    #[test]
    fn the_dominant_colour_does_not_flicker_between_equals_and_follows_a_clear_change() {
        let mut state = State::default();
        let mut seen = |pixels: &[u32]| {
            state.see(&parcel(pixels));
            state.dominant
        };
        assert_eq!(seen(&[100, 101]), Some(1));
        for n in 0..50 {
            assert_eq!(seen(&[100 + n % 7, 103 - n % 6]), Some(1), "{n}");
        }
        assert_eq!(seen(&[120, 100]), Some(0));
        assert_eq!(seen(&[100, 109]), Some(0));
        assert_eq!(seen(&[]), None);
    }

    #[test]
    fn a_message_is_due_once_a_second_and_only_with_news() {
        let (mut state, now) = (State::default(), Instant::now() + Duration::from_secs(5));
        assert!(!state.is_due(now));
        state.see(&parcel(&[1]));
        assert!(state.is_due(now));
        state.sent(now);
        state.see(&parcel(&[1]));
        assert!(!state.is_due(now + EVERY - Duration::from_millis(1)) && state.is_due(now + EVERY));
    }
}
