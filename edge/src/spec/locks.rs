//! Exposure, white balance and gain, as a camera is asked for them.
//!
//! Each is left as it is, left to the camera's automatic, or set to a number in the control's own unit. What a camera can
//! do of that is found out when it is opened.

/// What is asked of one control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lock {
    /// Leave it as the device has it.
    #[default]
    AsIs,
    /// Switch the camera's automatic on.
    Auto,
    /// Set this value and switch the automatic off.
    At(u32),
}

impl Lock {
    /// Reads `as-is`, `auto`, or a number from `min` to `max`.
    pub fn parse(word: &str, min: u32, max: u32) -> Option<Lock> {
        match word {
            "as-is" => Some(Lock::AsIs),
            "auto" => Some(Lock::Auto),
            _ => word.parse().ok().filter(|n| (min..=max).contains(n)).map(Lock::At),
        }
    }
}

impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lock::AsIs => f.write_str("as-is"),
            Lock::Auto => f.write_str("auto"),
            Lock::At(value) => write!(f, "{value}"),
        }
    }
}

/// What is asked of all three controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locks {
    /// Exposure time in units of 100 microseconds.
    pub exposure: Lock,
    /// White balance in kelvin.
    pub white_balance: Lock,
    /// Gain in the device's own units.
    pub gain: Lock,
}

impl Locks {
    /// Least and most that can be asked for: exposure, white balance, gain.
    pub const RANGES: [(u32, u32); 3] = [(1, 1_000_000), (1000, 100_000), (0, 1_000_000)];

    /// Returns true if any control is to be touched.
    pub fn any(&self) -> bool {
        *self != Locks::default()
    }
}
