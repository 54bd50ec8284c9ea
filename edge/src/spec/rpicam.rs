//! The command line of `rpicam-vid`, from a source's description and what is asked of every camera.
//!
//! Inputs are options behind a `?` in the description, the configuration's size, rate and locks, and the machine's model; results
//! are arguments of the program, and the length of a row in its pictures. Nothing is read here: the model is an argument.

use super::ask::Ask;
use super::locks::Lock;
use std::fmt;

/// Where the kernel names the machine.
pub const MODEL_PATH: &str = "/proc/device-tree/model";
/// Bytes between the starts of two rows of luma are a multiple of this on a Raspberry Pi 5: its image processor aligns each
/// plane to 64, and a row of chroma is half as long.
const ALIGN_PISP_BYTES: usize = 128;
/// The same on every earlier one, whose image processor aligns planes to 32.
const ALIGN_VC4_BYTES: usize = 64;
/// Largest alignment of a row.
const ALIGN_BYTES_MAX: usize = 4096;
/// Cameras that a machine can have.
const CAMERAS_MAX: u32 = 16;
/// The largest gain for red or blue.
const AWB_GAIN_MAX: f64 = 32.0;
/// The program's white-balance modes with the colour temperatures that they keep to, in kelvin, the narrowest first.
const AWB_MODES: [(&str, u32, u32); 6] = [
    ("incandescent", 2500, 3000),
    ("tungsten", 3000, 3500),
    ("fluorescent", 4000, 4700),
    ("daylight", 5500, 6500),
    ("cloudy", 7000, 8500),
    ("indoor", 3000, 5000),
];

/// What only this source can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Options {
    /// Which of the machine's cameras.
    camera: Option<u32>,
    hflip: bool,
    vflip: bool,
    /// Left, top, width and height, as shares of the sensor's picture.
    roi: Option<[f64; 4]>,
    /// Gains of red and blue; white balance then stands still.
    awb_gains: Option<[f64; 2]>,
    /// Bytes that rows are aligned to; none: by the machine's model.
    align_bytes: Option<usize>,
}

impl Options {
    /// Takes this source's own options out of `?camera=1&width=640`; gives them, and the description without them.
    ///
    /// # Errors
    /// Which option is wrong, in words.
    pub fn taken(description: &str) -> Result<(Options, String), String> {
        let (name, all) = description.split_once('?').unwrap_or((description, ""));
        let (mut options, mut rest) = (Options::default(), Vec::new());
        for option in all.split('&').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, "1"));
            let right = match key {
                "camera" => put(&mut options.camera, value.parse().ok().filter(|n| *n < CAMERAS_MAX)),
                "hflip" => put_flag(&mut options.hflip, value),
                "vflip" => put_flag(&mut options.vflip, value),
                "roi" => put(&mut options.roi, numbers(value).filter(is_part)),
                "awbgains" => put(&mut options.awb_gains, numbers(value).filter(are_gains)),
                "align" => put(
                    &mut options.align_bytes,
                    value.parse().ok().filter(|n| (2..=ALIGN_BYTES_MAX).contains(n) && n % 2 == 0),
                ),
                _ => {
                    rest.push(option);
                    true
                }
            };
            if !right {
                return Err(format!(
                    "{option:?} is not an option; use camera (0 to {}), hflip and vflip (0 or 1), roi=LEFT,TOP,WIDTH,HEIGHT \
                     (shares of the picture, 0 to 1), awbgains=RED,BLUE (above 0 to {AWB_GAIN_MAX}) and align (an even number of \
                     bytes)",
                    CAMERAS_MAX - 1
                ));
            }
        }
        let rest = if rest.is_empty() { name.to_owned() } else { format!("{name}?{}", rest.join("&")) };
        Ok((options, rest))
    }

    /// Bytes from one row of luma to the next in the program's pictures, on the machine of this model.
    pub fn stride_bytes(&self, width: usize, model: &str) -> usize {
        let is_pisp = ["Raspberry Pi 5", "Compute Module 5"].iter().any(|name| model.contains(name));
        let by_model = if is_pisp { ALIGN_PISP_BYTES } else { ALIGN_VC4_BYTES };
        width.next_multiple_of(self.align_bytes.unwrap_or(by_model))
    }

    /// The program's arguments. Pictures go to its standard output.
    pub fn arguments(&self, ask: &Ask) -> Vec<String> {
        let Ask { width, height, fps, locks, .. } = ask;
        let mut args: Vec<String> = ["-n", "-t", "0", "--codec", "yuv420"].map(str::to_owned).into();
        let mut add = |name: &str, value: String| args.extend([name.to_owned(), value]);
        add("--width", width.to_string());
        add("--height", height.to_string());
        add("--framerate", fps.to_string());
        add("-o", "-".into());
        if let Lock::At(exposure) = locks.exposure {
            add("--shutter", (u64::from(exposure) * 100).to_string());
        }
        if let Lock::At(gain) = locks.gain {
            add("--gain", (f64::from(gain) / 100.0).to_string());
        }
        match (self.awb_gains, locks.white_balance) {
            (Some([red, blue]), _) => add("--awbgains", format!("{red},{blue}")),
            (None, Lock::At(kelvin)) => add("--awb", awb_mode(kelvin).0.into()),
            (None, Lock::Auto) => add("--awb", "auto".into()),
            (None, Lock::AsIs) => {}
        }
        if let Some(camera) = self.camera {
            add("--camera", camera.to_string());
        }
        if let Some(roi) = self.roi {
            add("--roi", roi.map(|n| n.to_string()).join(","));
        }
        for (wanted, flag) in [(self.hflip, "--hflip"), (self.vflip, "--vflip")] {
            if wanted {
                args.push(flag.into());
            }
        }
        args
    }

    /// What white balance can be held how far, where that is not what was asked for.
    pub fn remark(&self, ask: &Ask) -> Option<String> {
        match (self.awb_gains, ask.locks.white_balance) {
            (None, Lock::At(kelvin)) => {
                let (mode, from, to) = awb_mode(kelvin);
                Some(format!(
                    "white balance {kelvin} K: rpicam-vid keeps to {from} to {to} K (--awb {mode}); \
                     rpicam:?awbgains=RED,BLUE holds it still"
                ))
            }
            _ => None,
        }
    }
}

/// `?camera=1&hflip=1`, in a fixed order; nothing if there are no options.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[f64]| numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let words = [
            ("camera", self.camera.map(|n| n.to_string())),
            ("hflip", self.hflip.then(|| "1".into())),
            ("vflip", self.vflip.then(|| "1".into())),
            ("roi", self.roi.map(|r| list(&r))),
            ("awbgains", self.awb_gains.map(|g| list(&g))),
            ("align", self.align_bytes.map(|n| n.to_string())),
        ];
        let mut separator = '?';
        for (key, value) in words {
            if let Some(value) = value {
                write!(f, "{separator}{key}={value}")?;
                separator = '&';
            }
        }
        Ok(())
    }
}

/// The narrowest mode that has this temperature, or the nearest.
fn awb_mode(kelvin: u32) -> (&'static str, u32, u32) {
    let off = |(_, from, to): &(&str, u32, u32)| from.saturating_sub(kelvin) + kelvin.saturating_sub(*to);
    // The first of those that are equally near.
    AWB_MODES.into_iter().min_by_key(off).unwrap_or(AWB_MODES[3])
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

fn put_flag(place: &mut bool, value: &str) -> bool {
    *place = value == "1";
    value == "0" || value == "1"
}

fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let numbers: Option<Vec<f64>> =
        text.split(',').map(|n| n.trim().parse().ok().filter(|n: &f64| n.is_finite())).collect();
    numbers?.try_into().ok()
}

fn is_part([left, top, width, height]: &[f64; 4]) -> bool {
    let side = |from: f64, size: f64| from >= 0.0 && size > 0.0 && from + size <= 1.0;
    side(*left, *width) && side(*top, *height)
}

fn are_gains(gains: &[f64; 2]) -> bool {
    gains.iter().all(|g| *g > 0.0 && *g <= AWB_GAIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::locks::Locks;

    fn taken(description: &str) -> (Options, String) {
        Options::taken(description).unwrap()
    }

    #[test]
    fn its_own_options_are_taken_out_and_passed_on() {
        let (options, rest) = taken("?camera=1&width=640&hflip&vflip=1&roi=0.25,0.25,0.5,0.5&awbgains=1.8,1.5&fps=20");
        assert_eq!(rest, "?width=640&fps=20");
        let args = options.arguments(&Ask::default()).join(" ");
        assert!(args.ends_with("-o - --awbgains 1.8,1.5 --camera 1 --roi 0.25,0.25,0.5,0.5 --hflip --vflip"), "{args}");
        assert_eq!(taken(""), (Options::default(), String::new()));
        for bad in ["camera=99", "hflip=2", "roi=0,0,1", "roi=0.5,0,0.6,1", "awbgains=0,1", "awbgains=1", "align=3"] {
            let why = Options::taken(&format!("?{bad}")).unwrap_err();
            assert!(why.contains(bad) && why.contains("awbgains=RED,BLUE"), "{why}");
        }
    }

    #[test]
    fn locks_become_arguments() {
        let locks = Locks { exposure: Lock::At(100), white_balance: Lock::At(4600), gain: Lock::At(250) };
        let ask = Ask { locks, ..Ask::default() };
        let args = Options::default().arguments(&ask).join(" ");
        assert!(args.contains("--shutter 10000 --gain 2.5 --awb fluorescent"), "{args}");
        assert!(Options::default().remark(&ask).unwrap().contains("4000 to 4700 K"));
        let (still, _) = taken("?awbgains=2,1.5");
        assert_eq!(still.remark(&ask), None);
        assert!(!still.arguments(&ask).contains(&"--awb".to_owned()));
        let modes = [2700, 3500, 3700, 5000, 6000, 9000].map(|k| awb_mode(k).0);
        assert_eq!(modes, ["incandescent", "tungsten", "indoor", "indoor", "daylight", "cloudy"]);
    }

    #[test]
    fn rows_are_aligned_as_the_machine_aligns_them() {
        let stride = |model: &str| Options::default().stride_bytes(800, model);
        assert_eq!(stride("Raspberry Pi 4 Model B Rev 1.4"), 832);
        assert_eq!(stride("Raspberry Pi 5 Model B Rev 1.0"), 896);
        assert_eq!(stride("Raspberry Pi 500 Rev 1.0"), 896);
        assert_eq!(stride("Raspberry Pi Compute Module 5 Rev 1.0"), 896);
        assert_eq!(stride(""), 832);
        assert_eq!(taken("?align=2").0.stride_bytes(802, "Raspberry Pi 5"), 802);
    }
}
