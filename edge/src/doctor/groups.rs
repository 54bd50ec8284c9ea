//! The check of groups: whether this user may use the devices, and whether the service will.
//!
//! Inputs are the machine's devices, its groups and the edge's unit; the result is who may not use what, and the command that
//! changes it. `/dev`, `/etc/group`, `/etc/passwd` and the unit are read. A device that does not exist gets no line.

use super::host::Host;
use ::host::check::{Line, State};
use std::os::unix::fs::MetadataExt;

/// Devices by what their names begin with, and the group that Debian gives them.
const KINDS: [(&str, &str); 4] = [("video", "video"), ("fb", "video"), ("spidev", "spi"), ("gpiochip", "gpio")];
/// Where a unit may be, the one that counts first.
const UNITS: [&str; 3] = [
    "/etc/systemd/system/hueflow-edge.service",
    "/usr/lib/systemd/system/hueflow-edge.service",
    "/lib/systemd/system/hueflow-edge.service",
];

/// A user's name, or number.
fn user(host: &Host) -> (u32, String) {
    let status = host.text("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Uid:"));
    let uid: u32 = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
    let users = host.text("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|l| {
        let mut words = l.split(':');
        let name = words.next()?;
        (words.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    (uid, named.unwrap_or_else(|| uid.to_string()))
}

/// A group's name by its number.
fn group(host: &Host, gid: u32) -> Option<String> {
    host.text("/etc/group")?.lines().find_map(|l| {
        let mut words = l.split(':');
        let name = words.next()?;
        (words.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

fn has_group(host: &Host, name: &str) -> bool {
    let groups = host.text("/etc/group").unwrap_or_default();
    groups.lines().any(|l| l.split(':').next() == Some(name))
}

/// The unit's text, its drop-ins not looked at.
pub(super) fn unit(host: &Host) -> Option<String> {
    UNITS.iter().find_map(|path| host.text(path))
}

/// This user's devices, and the service's groups.
pub(super) fn check(host: &Host) -> Vec<Line> {
    let mut lines = vec![devices(host)];
    lines.extend(service(host));
    lines
}

fn devices(host: &Host) -> Line {
    let (uid, name) = user(host);
    let (mut may, mut denied, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for (prefix, usual) in KINDS {
        for device in host.devices(prefix) {
            match host.open(&device) {
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                    let own = std::fs::metadata(host.at(&device)).ok().and_then(|m| group(host, m.gid()));
                    // A device that root alone may use gets its group from a rule that is not there yet.
                    let own = own.filter(|g| g != "root").unwrap_or_else(|| usual.to_owned());
                    if !groups.contains(&own) {
                        groups.push(own);
                    }
                    denied.push(device);
                }
                // One that another program uses is there and allowed.
                _ => may.push(device),
            }
        }
    }
    if let Some(first) = denied.first() {
        let and = if denied.len() > 1 { format!(" and {} more", denied.len() - 1) } else { String::new() };
        let what = format!("{name} (uid {uid}) may not use {first}{and}; missing: group {}", groups.join(", "));
        return Line::warning(
            "groups",
            what,
            format!("sudo usermod -aG {} {name}, then log in again", groups.join(",")),
        );
    }
    match may.as_slice() {
        [] => Line::ok(
            "groups",
            format!("{name} (uid {uid}); there is no camera, framebuffer, SPI bus or GPIO chip to ask for"),
        ),
        [first, ..] => Line::ok(
            "groups",
            format!(
                "{name} (uid {uid}) may use {first}{}",
                match may.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                }
            ),
        ),
    }
}

/// Whether the unit, if it is installed, can start: a group that does not exist stops it.
fn service(host: &Host) -> Option<Line> {
    let unit = unit(host)?;
    let wanted = unit.lines().filter_map(|l| l.strip_prefix("SupplementaryGroups=")).flat_map(str::split_whitespace);
    let missing: Vec<&str> = wanted.filter(|g| !has_group(host, g)).collect();
    Some(if missing.is_empty() {
        Line::ok("service", "hueflow-edge.service is installed, and the groups that it names are there")
    } else {
        let what = format!("hueflow-edge.service cannot start: there is no group {}", missing.join(", "));
        let each = missing.iter().map(|g| format!("sudo groupadd --system {g}")).collect::<Vec<_>>().join(" && ");
        Line::new("service", State::Wrong, what, each)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    fn machine() -> Fake {
        Fake::new()
            .file("/proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\n")
            .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\npi:x:1000:1000::/home/pi:/bin/sh")
            .file("/etc/group", "root:x:0:\nvideo:x:44:\nspi:x:995:")
    }

    #[test]
    fn who_may_not_use_a_device_is_told_the_group_and_the_command() {
        let fake = machine().file("/dev/video0", "").file("/dev/spidev0.0", "").file("/dev/fb0", "");
        assert_eq!(devices(&fake.host), Line::ok("groups", "pi (uid 1000) may use /dev/video0 and 2 more"));
        let fake = fake.locked("/dev/spidev0.0", 0).locked("/dev/video0", 0);
        let line = devices(&fake.host);
        assert_eq!(line.state, State::Warning);
        assert!(line.what.starts_with("pi (uid 1000) may not use /dev/video0 and 1 more; missing: group "), "{line}");
        assert!(line.advice.contains("sudo usermod -aG ") && line.advice.contains(" pi,"), "{line}");
        assert_eq!(devices(&machine().host).state, State::Ok);
    }

    #[test]
    fn a_unit_whose_groups_do_not_exist_cannot_start() {
        assert_eq!(service(&machine().host), None);
        let unit = "[Service]\nDynamicUser=yes\nSupplementaryGroups=video spi gpio\n";
        let fake = machine().file(UNITS[1], unit);
        let line = service(&fake.host).unwrap();
        assert_eq!((line.state, line.advice.as_str()), (State::Wrong, "sudo groupadd --system gpio"), "{line}");
        let fake = fake.file("/etc/group", "video:x:44:\nspi:x:995:\ngpio:x:997:");
        assert_eq!(service(&fake.host).unwrap().state, State::Ok);
    }
}
