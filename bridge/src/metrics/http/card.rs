//! Cards: what the fleet view shows of a device, as a compact JSON array.
//!
//! An array instead of an object keeps a card at about 120 bytes: at 1,000 devices every byte of a card is a kilobyte a second.
//! The order of the values is that of the fields of [`Card`]; `ui/fleet.js` reads them by position.

use serde::{Serialize, Serializer};

/// Colours of a card's stripe: the largest clusters. More could not be distinguished at the width of a card.
const STRIPE_COLOURS_MAX: usize = 5;

/// What a card shows of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// The device.
    pub device: String,
    /// `online`, `offline` or `unknown`.
    pub state: String,
    /// Frame of the last clustered picture.
    pub picture: Option<u64>,
    /// Clusters of the last frame.
    pub clusters: Option<u32>,
    /// Colours that its palette misses, if the edge counted them.
    pub missed: Option<u32>,
    /// Reports a second, by their capture times.
    pub fps: Option<f64>,
    /// Capture of the last frame, in milliseconds since the Unix epoch.
    pub captured_at_ms: Option<u64>,
    /// From that capture to the store, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Lambda in force, in 8-bit levels.
    pub lambda: Option<f64>,
    /// The largest clusters: `rrggbb` in hexadecimal and the share in percent, one behind the other.
    pub stripe: Vec<(String, u8)>,
}

impl Serialize for Card {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let fps = self.fps.map(|f| (f * 10.0).round() / 10.0);
        let stripe: String = self.stripe.iter().map(|(rgb, percent)| format!("{rgb}{percent:02x}")).collect();
        let Card { device, state, picture, clusters, missed, captured_at_ms, latency_ms, lambda, .. } = self;
        (device, state, picture, clusters, missed, fps, captured_at_ms, latency_ms, lambda, stripe).serialize(s)
    }
}

/// The largest clusters with their shares in percent.
pub fn stripe(rgb_q6: &[[u16; 3]], pixels: &[u32]) -> Vec<(String, u8)> {
    let all = pixels.iter().map(|&n| u64::from(n)).sum::<u64>().max(1);
    let mut clusters: Vec<_> = rgb_q6.iter().zip(pixels).collect();
    clusters.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let of = |(rgb, n): (&[u16; 3], &u32)| {
        let [r, g, b] = rgb.map(|level| (level.saturating_add(32) / 64).min(255));
        (format!("{r:02x}{g:02x}{b:02x}"), (u64::from(*n) * 100 / all) as u8)
    };
    clusters.into_iter().take(STRIPE_COLOURS_MAX).map(of).collect()
}

/// Reports a second, smoothed over about 16 of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    last_us: u64,
    period_us: f64,
}

/// Weight of the newest interval.
const PACE_WEIGHT: f64 = 1.0 / 16.0;
/// A gap of more periods than this is an interruption, not a slower pace.
const PACE_GAP_PERIODS: f64 = 20.0;

impl Pace {
    /// Takes the capture time of a report.
    pub fn add(&mut self, captured_at_us: u64) {
        let interval = captured_at_us.saturating_sub(self.last_us) as f64;
        let is_first = self.last_us == 0 || interval <= 0.0;
        self.last_us = captured_at_us;
        if is_first {
            return;
        }
        if self.period_us <= 0.0 {
            self.period_us = interval;
        } else if interval < self.period_us * PACE_GAP_PERIODS {
            self.period_us += (interval - self.period_us) * PACE_WEIGHT;
        }
    }

    /// Reports a second; none before the second report.
    pub fn fps(&self) -> Option<f64> {
        (self.period_us > 0.0).then(|| 1e6 / self.period_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_smooth_and_leaves_interruptions_out() {
        let mut pace = Pace::default();
        assert_eq!(pace.fps(), None);
        (1..100u64).for_each(|i| pace.add(i * 100_000));
        assert!((pace.fps().unwrap() - 10.0).abs() < 1e-6);
        pace.add(3_600_000_000);
        assert!((pace.fps().unwrap() - 10.0).abs() < 1e-6, "an hour without reports");
    }

    #[test]
    fn a_card_is_small_and_its_stripe_has_the_largest_colours() {
        let pixels: Vec<u32> = (1..=20).collect();
        let rgb: Vec<[u16; 3]> = (1..=20).map(|i| [i * 64, 0, 16_320]).collect();
        let found = stripe(&rgb, &pixels);
        assert_eq!((found.len(), found[0].clone()), (STRIPE_COLOURS_MAX, ("1400ff".to_owned(), 9)));
        let card = Card {
            device: "camera-0001".into(),
            state: "online".into(),
            picture: Some(1_000_000),
            clusters: Some(17),
            missed: Some(0),
            fps: Some(29.97),
            captured_at_ms: Some(1_700_000_000_000),
            latency_ms: Some(1_000),
            lambda: Some(50.0),
            stripe: found,
        };
        let text = serde_json::to_string(&card).unwrap();
        assert!(text.len() <= 140, "{} bytes: {text}", text.len());
        assert!(text.contains(r#"30.0,1700000000000,1000,50.0,"1400ff09"#), "{text}");
    }
}
