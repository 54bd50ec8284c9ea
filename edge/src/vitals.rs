//! How this machine does: temperature, throttling, CPU and memory of this process, and room on the spool's disk.
//!
//! Everything is read from `/sys` and `/proc` below a root, which a folder of a test can stand in for. What a machine does
//! not have is left out. Nothing is kept between two looks.

use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};

/// The file in which a Raspberry Pi's kernel reports throttling.
const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
/// Bits of the firmware's word on throttling, for now; 16 bits higher: since the start of the machine.
const THROTTLED_BITS: [(u32, &str); 4] =
    [(0, "under_voltage"), (1, "frequency_capped"), (2, "throttled"), (3, "soft_temperature_limit")];

/// The throttling flags of a Raspberry Pi's firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling(u32);

impl Throttling {
    /// Each kind with whether it is so now, and whether it was since the start of the machine.
    pub fn kinds(self) -> impl Iterator<Item = (&'static str, bool, bool)> {
        THROTTLED_BITS.into_iter().map(move |(bit, kind)| (kind, self.0 >> bit & 1 == 1, self.0 >> (bit + 16) & 1 == 1))
    }

    /// The kinds that are so now.
    pub fn now(self) -> Vec<&'static str> {
        self.kinds().filter(|k| k.1).map(|k| k.0).collect()
    }

    fn parse(text: &str) -> Option<Throttling> {
        let word = text.trim().trim_start_matches("throttled=").trim_start_matches("0x");
        u32::from_str_radix(word, 16).ok().map(Throttling)
    }
}

impl Serialize for Throttling {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.now())
    }
}

/// How the machine and this process do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Vitals {
    /// The hottest thermal zone, in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// What is throttled now; in JSON the names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<Throttling>,
    /// Seconds of CPU that this process has used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// Bytes of memory that this process has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Bytes that may still be written to the spool's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
}

impl Vitals {
    /// Looks at the machine whose root is `root`, `/` as a rule. `spool`: the spool's directory, if there is one.
    pub fn look(root: &Path, spool: Option<&Path>) -> Vitals {
        Vitals {
            temperature_c: temperature_c(root),
            throttled: throttling(root),
            cpu_s: cpu_s(root),
            resident_bytes: resident_bytes(root),
            disk_free_bytes: spool.and_then(disk_free_bytes),
        }
    }
}

fn text(root: &Path, path: &str) -> Option<String> {
    std::fs::read_to_string(root.join(path)).ok()
}

fn temperature_c(root: &Path) -> Option<f64> {
    let zones = std::fs::read_dir(root.join("sys/class/thermal")).ok()?;
    let of_zone = |zone: std::fs::DirEntry| {
        let text = std::fs::read_to_string(zone.path().join("temp")).ok()?;
        text.trim().parse::<f64>().ok()
    };
    zones.flatten().filter_map(of_zone).reduce(f64::max).map(|milli| milli / 1000.0)
}

/// From the kernel, or from `vcgencmd` where the kernel does not report it.
fn throttling(root: &Path) -> Option<Throttling> {
    if let Some(text) = text(root, THROTTLED) {
        return Throttling::parse(&text);
    }
    // Only a Raspberry Pi has this; elsewhere no program is looked for.
    if !root.join("dev/vcio").exists() {
        return None;
    }
    let asked = Command::new("vcgencmd").arg("get_throttled").stdin(Stdio::null()).stderr(Stdio::null()).output();
    Throttling::parse(&String::from_utf8_lossy(&asked.ok()?.stdout))
}

fn cpu_s(root: &Path) -> Option<f64> {
    let stat = text(root, "proc/self/stat")?;
    // The program's name, in parentheses, may have anything in it. User and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
}

fn resident_bytes(root: &Path) -> Option<u64> {
    let status = text(root, "proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

fn disk_free_bytes(spool: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(spool).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_pi_has_a_temperature_and_says_what_is_throttled() {
        let pi = machine(&[
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            ("sys/class/thermal/thermal_zone1/temp", "51000\n"),
            (THROTTLED, "50005\n"),
            ("proc/self/stat", "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 250 150 0 0\n"),
            ("proc/self/status", "Name:\tx\nVmRSS:\t   20480 kB\n"),
        ]);
        let vitals = Vitals::look(pi.path(), Some(pi.path()));
        assert_eq!((vitals.temperature_c, vitals.resident_bytes), (Some(51.0), Some(20 << 20)));
        assert_eq!(vitals.cpu_s, Some(400.0 / rustix::param::clock_ticks_per_second() as f64));
        assert_eq!(vitals.throttled.unwrap().now(), ["under_voltage", "throttled"]);
        assert!(vitals.throttled.unwrap().kinds().all(|(_, now, since)| now == since));
        assert!(vitals.disk_free_bytes.unwrap() > 0);
        let json = serde_json::to_value(&vitals).unwrap();
        assert_eq!(json["throttled"], serde_json::json!(["under_voltage", "throttled"]));
    }

    #[test]
    fn what_a_machine_does_not_have_is_left_out() {
        let bare = machine(&[]);
        assert_eq!(Vitals::look(bare.path(), None), Vitals::default());
        assert_eq!(serde_json::to_string(&Vitals::default()).unwrap(), "{}");
    }

    #[test]
    fn what_vcgencmd_says_is_read_too() {
        assert_eq!(Throttling::parse("throttled=0x50000\n"), Some(Throttling(0x5_0000)));
        assert_eq!(Throttling::parse("error"), None);
    }
}
