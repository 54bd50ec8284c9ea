//! Locks: fixed exposure, white balance and gain of cameras that have these controls.
//!
//! Inputs are the configured values and a camera's controls; results are the values that were set, and a warning for those that
//! cannot be set. Only configured controls are changed. A camera without a control still delivers pictures.

pub use crate::spec::locks::{Lock, Locks};

/// A control as the device describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// V4L2's number.
    pub id: u32,
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// From one value to the next.
    pub step: i64,
    /// The values of a menu.
    pub items: Vec<i64>,
}

/// Sets a control, or returns why that failed.
pub type Set<'a> = dyn FnMut(u32, i64) -> Result<(), String> + 'a;

/// Exposure, white balance or gain.
struct Kind {
    name: &'static str,
    unit: &'static str,
    /// The control that switches the automatic mode on and off.
    auto: u32,
    /// The control's values for on, the best first, and for off.
    on: &'static [i64],
    off: i64,
    /// The control with the value.
    value: u32,
}

const KINDS: [Kind; 3] = [
    // A menu: automatic, manual, shutter priority, aperture priority. Most USB cameras call their automatic mode aperture priority.
    Kind { name: "exposure", unit: " (of 100 us)", auto: 0x009a_0901, on: &[0, 3], off: 1, value: 0x009a_0902 },
    Kind { name: "white balance", unit: " K", auto: 0x0098_090c, on: &[1], off: 0, value: 0x0098_091a },
    Kind { name: "gain", unit: "", auto: 0x0098_0912, on: &[1], off: 0, value: 0x0098_0913 },
];

/// A control that can be locked, from [`lockable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockable {
    /// Exposure, white balance or gain.
    pub name: &'static str,
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// Its present value, if the device reports it.
    pub now: Option<i64>,
    /// The camera has an automatic mode for it.
    pub auto: bool,
}

impl Lockable {
    /// In words: `gain 0 to 255, now 100, or auto`.
    pub fn words(&self) -> String {
        let now = self.now.map_or(String::new(), |n| format!(", now {n}"));
        format!("{} {} to {}{now}{}", self.name, self.min, self.max, if self.auto { ", or auto" } else { "" })
    }
}

/// The controls among these that can be locked; `now` reads a control.
pub fn lockable(controls: &[Control], now: impl Fn(u32) -> Option<i64>) -> Vec<Lockable> {
    let has = |id: u32| controls.iter().find(|c| c.id == id);
    let one = |kind: &Kind| {
        let Control { min, max, .. } = *has(kind.value)?;
        Some(Lockable { name: kind.name, min, max, now: now(kind.value), auto: has(kind.auto).is_some() })
    };
    KINDS.iter().filter_map(one).collect()
}

/// The results, in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was set.
    pub done: Vec<String>,
    /// What was not set, or not to the configured value.
    pub refused: Vec<String>,
}

/// Sets the configured values, as far as the camera has the controls.
pub fn apply(wanted: &Locks, controls: &[Control], set: &mut Set<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for (kind, lock) in KINDS.iter().zip([wanted.exposure, wanted.white_balance, wanted.gain]) {
        let result = match lock {
            Lock::AsIs => continue,
            Lock::Auto => automatic(kind, controls, set),
            Lock::At(value) => fixed(kind, i64::from(value), controls, set, &mut outcome.refused),
        };
        match result {
            Ok(words) => outcome.done.push(words),
            Err(why) => outcome.refused.push(why),
        }
    }
    outcome
}

fn automatic(kind: &Kind, controls: &[Control], set: &mut Set<'_>) -> Result<String, String> {
    let name = kind.name;
    let auto = controls.iter().find(|c| c.id == kind.auto).ok_or(format!("it has no automatic {name}"))?;
    let on = kind.on.iter().find(|v| auto.items.is_empty() || auto.items.contains(v));
    let on = on.ok_or(format!("it has no automatic {name}"))?;
    set(auto.id, *on).map_err(|e| format!("automatic {name}: {e}"))?;
    Ok(format!("{name} automatic"))
}

fn fixed(
    kind: &Kind,
    wanted: i64,
    controls: &[Control],
    set: &mut Set<'_>,
    remarks: &mut Vec<String>,
) -> Result<String, String> {
    let Kind { name, unit, .. } = kind;
    let control = controls.iter().find(|c| c.id == kind.value);
    let Control { id, min, max, step, .. } = control.ok_or(format!("its {name} cannot be locked"))?;
    // In the automatic mode the value is ignored or refused.
    if controls.iter().any(|c| c.id == kind.auto) {
        set(kind.auto, kind.off).map_err(|e| format!("{name}: switching the automatic off: {e}"))?;
    }
    let step = (*step).max(1);
    let value = min + (wanted.clamp(*min, (*max).max(*min)) - min) / step * step;
    if value != wanted {
        remarks.push(format!("{name} {wanted} is not possible, {value} is ({min} to {max} in steps of {step})"));
    }
    set(*id, value).map_err(|e| format!("{name} {value}: {e}"))?;
    Ok(format!("{name} {value}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(id: u32, min: i64, max: i64, step: i64, items: &[i64]) -> Control {
        Control { id, min, max, step, items: items.to_vec() }
    }

    /// The controls of a USB camera, whose automatic exposure is called aperture priority.
    fn usb() -> Vec<Control> {
        vec![
            control(0x009a_0901, 0, 3, 1, &[1, 3]),
            control(0x009a_0902, 3, 2047, 1, &[]),
            control(0x0098_090c, 0, 1, 1, &[]),
            control(0x0098_091a, 2800, 6500, 10, &[]),
        ]
    }

    fn applied(wanted: Locks, controls: &[Control]) -> (Vec<(u32, i64)>, Outcome) {
        let mut calls = Vec::new();
        let outcome = apply(&wanted, controls, &mut |id, value| {
            calls.push((id, value));
            Ok(())
        });
        (calls, outcome)
    }

    #[test]
    fn a_lock_switches_the_automatic_off_and_then_sets_the_value() {
        let wanted = Locks { exposure: Lock::At(100), white_balance: Lock::At(4600), ..Locks::default() };
        let (calls, outcome) = applied(wanted, &usb());
        assert_eq!(calls, [(0x009a_0901, 1), (0x009a_0902, 100), (0x0098_090c, 0), (0x0098_091a, 4600)]);
        assert_eq!(outcome.done, ["exposure 100 (of 100 us)", "white balance 4600 K"]);
        assert!(outcome.refused.is_empty());
    }

    #[test]
    fn automatic_is_what_the_camera_calls_so() {
        let wanted = Locks { exposure: Lock::Auto, white_balance: Lock::Auto, ..Locks::default() };
        assert_eq!(applied(wanted, &usb()).0, [(0x009a_0901, 3), (0x0098_090c, 1)]);
        let other = [control(0x009a_0901, 0, 3, 1, &[0, 1])];
        assert_eq!(applied(wanted, &other).0, [(0x009a_0901, 0)]);
    }

    #[test]
    fn what_nobody_asked_for_is_left_alone() {
        assert_eq!(applied(Locks::default(), &usb()), (Vec::new(), Outcome::default()));
        assert!(!Locks::default().any());
    }

    #[test]
    fn what_the_camera_has_not_is_named_and_the_rest_is_set() {
        let wanted = Locks { exposure: Lock::At(50_000), white_balance: Lock::At(4605), gain: Lock::At(7) };
        let (calls, outcome) = applied(wanted, &usb());
        assert_eq!(calls.last(), Some(&(0x0098_091a, 4600)));
        let refused = [
            "exposure 50000 is not possible, 2047 is (3 to 2047 in steps of 1)",
            "white balance 4605 is not possible, 4600 is (2800 to 6500 in steps of 10)",
            "its gain cannot be locked",
        ];
        assert_eq!(outcome.refused, refused);
        assert_eq!(
            applied(Locks { gain: Lock::Auto, ..Locks::default() }, &usb()).1.refused,
            ["it has no automatic gain"]
        );
        let failed = apply(&wanted, &usb(), &mut |_, _| Err("no".into()));
        assert_eq!(failed.refused[0], "exposure: switching the automatic off: no");
    }

    #[test]
    fn what_can_be_locked_is_said_with_its_range() {
        let found = lockable(&usb(), |id| (id == 0x0098_091a).then_some(4600));
        let words: Vec<String> = found.iter().map(Lockable::words).collect();
        assert_eq!(words, ["exposure 3 to 2047, or auto", "white balance 2800 to 6500, now 4600, or auto"]);
    }

    #[test]
    fn a_lock_is_a_word_or_a_number_in_its_range() {
        let parse = |word| Lock::parse(word, 1, 9);
        assert_eq!([parse("as-is"), parse("auto"), parse("9")], [Lock::AsIs, Lock::Auto, Lock::At(9)].map(Some));
        assert_eq!([parse("0"), parse("10"), parse("x"), parse("")], [None; 4]);
    }
}
