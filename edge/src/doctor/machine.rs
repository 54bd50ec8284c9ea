//! Machine: the configuration's files, the clock, and memory, a line each.
//!
//! `/proc`, `/run` and the unit are read, and chrony is asked where it runs. Of the clock only matters whether somebody
//! keeps it, not its time.

use super::groups::unit;
use super::host::Host;
use crate::budget::{Budget, mib};
use crate::clock::{self, CHRONY_PID, RUN_DIR, TIMESYNCD_MARKER};
use crate::config::{Config, Origin};
use ::host::check::Line;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// 2025-01-01: a clock that is behind this was never set.
const NEVER_SET_BEFORE_S: u64 = 1_735_689_600;

/// Where the configuration came from.
pub(super) fn configuration(config: &Config) -> Line {
    let mut files: Vec<String> = Vec::new();
    let mut flags = 0;
    for (_, origin) in config.origins.values() {
        match origin {
            Origin::File(path) if !files.contains(&path.display().to_string()) => {
                files.push(path.display().to_string())
            }
            Origin::Env(_) | Origin::Flag(_) => flags += 1,
            _ => {}
        }
    }
    let overridden = match flags {
        0 => String::new(),
        1 => ", 1 value from a flag or the environment".into(),
        n => format!(", {n} values from flags or the environment"),
    };
    match files.as_slice() {
        [] => Line::warning("config", format!("no file: defaults{overridden}"), "sudo hueflow-edge doctor --write"),
        files => Line::ok("config", format!("{}{overridden}", files.join(", "))),
    }
}

/// Whether somebody keeps the clock.
pub(super) fn clock(host: &Host) -> Line {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    clock_at(host, now_s)
}

fn clock_at(host: &Host, now_s: u64) -> Line {
    let run = Path::new(RUN_DIR);
    if host.has(run.join(TIMESYNCD_MARKER)) {
        return Line::ok("clock", "synchronised by systemd-timesyncd");
    }
    let is_chrony = host.has(run.join(CHRONY_PID));
    if is_chrony && host.is_this() && clock::ask_chrony() {
        return Line::ok("clock", "synchronised by chrony");
    }
    if now_s < NEVER_SET_BEFORE_S {
        return Line::warning(
            "clock",
            "it was never set: records get the bridge's time",
            "sudo timedatectl set-ntp true, with a network",
        );
    }
    if is_chrony {
        return Line::warning(
            "clock",
            "chrony runs and has not synchronised it yet: records get the bridge's time until it has",
            "chronyc sources shows whether it reaches a server",
        );
    }
    let other = ["chronyd.pid", "ntpd.pid"].iter().find(|f| host.has(run.join(f)));
    match other {
        Some(_) => Line::warning(
            "clock",
            "a service keeps it that does not report whether it is synchronised; records get the bridge's time, and the clock's beside it",
            format!("once it is right: sudo install -D /dev/null {RUN_DIR}/{TIMESYNCD_MARKER}"),
        ),
        None => Line::warning(
            "clock",
            "not known to be synchronised: records get the bridge's time",
            "sudo apt install systemd-timesyncd && sudo timedatectl set-ntp true",
        ),
    }
}

/// Whether what the configuration needs is there, and allowed to the service.
pub(super) fn memory(host: &Host, config: &Config) -> Line {
    let budget = Budget::asked(config);
    let kib = |text: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:")).map(str::to_owned)?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let available = host.text("/proc/meminfo").as_deref().and_then(kib).map(|k| k << 10);
    let allowed = unit(host).as_deref().and_then(memory_max);
    let lower = "a smaller camera.width and camera.height, or fewer displays";
    match (available, allowed) {
        (Some(free), _) if budget.bytes() > free => {
            Line::wrong("memory", format!("needs {budget}; only {} MiB are available", mib(free)), lower)
        }
        (_, Some(max)) if budget.bytes() > max => Line::warning(
            "memory",
            format!("needs {budget}; hueflow-edge.service allows {} MiB", mib(max)),
            format!(
                "sudo systemctl edit hueflow-edge: [Service] MemoryMax={}M; or {lower}",
                budget.bytes().div_ceil(1 << 20) * 2
            ),
        ),
        (Some(free), _) => Line::ok("memory", format!("needs {budget}; {} MiB are available", mib(free))),
        (None, _) => Line::ok("memory", format!("needs {budget}")),
    }
}

/// A unit's `MemoryMax`, in bytes.
pub(super) fn memory_max(unit: &str) -> Option<u64> {
    let word = unit.lines().filter_map(|l| l.strip_prefix("MemoryMax=")).next_back()?.trim();
    let (number, shift) = match word.chars().last()? {
        'K' => (word.trim_end_matches('K'), 10),
        'M' => (word.trim_end_matches('M'), 20),
        'G' => (word.trim_end_matches('G'), 30),
        _ => (word, 0),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_shl(shift))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;
    use crate::config::Raw;
    use ::host::check::State;

    const LATER: u64 = NEVER_SET_BEFORE_S + 1;

    #[test]
    fn a_clock_is_kept_or_what_to_type_is_said() {
        assert_eq!(
            clock_at(&Fake::new().file(&format!("{RUN_DIR}/{TIMESYNCD_MARKER}"), "").host, LATER).state,
            State::Ok
        );
        let nobody = clock_at(&Fake::new().host, LATER);
        assert!(nobody.state == State::Warning && nobody.advice.contains("timedatectl"), "{nobody}");
        assert!(clock_at(&Fake::new().file("/run/chrony/chronyd.pid", "1").host, LATER).advice.contains("chronyc"));
        assert!(clock_at(&Fake::new().file("/run/ntpd.pid", "1").host, LATER).advice.contains("install"));
        assert!(clock_at(&Fake::new().host, 86_400).what.contains("never set"));
    }

    #[test]
    fn memory_is_there_and_allowed_or_not() {
        let config = Config::check(Raw::default()).unwrap();
        let free = |kib: u64| Fake::new().file("/proc/meminfo", &format!("MemTotal: 9 kB\nMemAvailable:  {kib} kB\n"));
        assert_eq!(memory(&free(400_000).host, &config).state, State::Ok);
        assert_eq!(memory(&free(2_000).host, &config).state, State::Wrong);
        let unit = |max: &str| format!("[Service]\nMemoryHigh=1M\nMemoryMax={max}\n");
        let path = "/etc/systemd/system/hueflow-edge.service";
        assert_eq!(memory(&free(400_000).file(path, &unit("128M")).host, &config).state, State::Ok);
        let tight = memory(&free(400_000).file(path, &unit("2M")).host, &config);
        assert!(tight.state == State::Warning && tight.advice.contains("MemoryMax="), "{tight}");
        assert_eq!(memory_max(&unit("1G")), Some(1 << 30));
        assert_eq!(memory_max(&unit("infinity")), None);
    }

    #[test]
    fn a_configuration_says_where_it_came_from() {
        let line = configuration(&Config::check(Raw::default()).unwrap());
        assert!(line.state == State::Warning && line.advice.contains("doctor --write"), "{line}");
        let mut raw = Raw::default();
        raw.put("mqtt.site", "s".into(), Origin::File("/f".into())).unwrap();
        raw.put("clustering.lambda", 3.into(), Origin::Flag("--lambda".into())).unwrap();
        let line = configuration(&Config::check(raw).unwrap());
        assert_eq!(line, Line::ok("config", "/f, 1 value from a flag or the environment"));
    }
}
