//! Spool: whether there is a disk to keep records on, and for how long an outage it is enough.
//!
//! A line reports that, and lists former names whose records wait. The boots of the edges that run here are found by their
//! spools' locks, which are held, shared, for a moment. Nothing is made or changed.

use super::host::Host;
use crate::budget::{asked_size, mib};
use crate::config::{Config, Video};
use crate::custody::spool_dir;
use crate::slot::empty_report;
use ::host::check::Line;
use firmware::limits::{ENVELOPE_BYTES, REPORT_BYTES_MAX};
use firmware::wire::{self, Swatch};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where systemd keeps the service's.
pub(super) const SERVICE_DIR: &str = "/var/lib/hueflow-edge/spool";
/// Colours of a usual scene.
const COLOURS: u16 = 16;
/// Bytes of a census for each pixel, in a usual photo.
const CENSUS_BYTES_PER_PIXEL: f64 = 0.4;
/// Bytes of a clustered picture's record for each pixel.
const PICTURE_BYTES_PER_PIXEL: f64 = 0.05;

/// The spool's folder.
pub(super) fn dir(config: &Config) -> PathBuf {
    spool_dir(config)
}

/// Bytes a second that are to be kept while there is no journal.
fn bytes_a_second(config: &Config, fps: f64) -> f64 {
    let mut report = empty_report();
    for id in 0..COLOURS {
        // There is room for more than a usual scene has.
        let _ = report.palette.push(Swatch { id: id.into(), rgb_q6: [12_345; 3], pixels: 19_200 });
    }
    let mut buf = vec![0; REPORT_BYTES_MAX];
    let record = ENVELOPE_BYTES + wire::encode(&report, &mut buf).unwrap_or(REPORT_BYTES_MAX);
    let size = asked_size(config);
    let pixels = (size.width * size.height) as f64;
    let census =
        if config.census_every_s > 0.0 { pixels * CENSUS_BYTES_PER_PIXEL / config.census_every_s } else { 0.0 };
    let pictures = if config.video == Video::All { pixels * PICTURE_BYTES_PER_PIXEL * fps } else { 0.0 };
    record as f64 * fps + census + pictures
}

/// Whether records can be kept, and how many.
pub(super) fn check(host: &Host, config: &Config) -> Line {
    if !config.keeps_records() {
        return Line::ok("spool", "no records are kept: neither mqtt.url nor spool.dir is set");
    }
    let dir = dir(config);
    let there = dir.ancestors().find(|d| host.has(d)).unwrap_or(Path::new("/")).to_owned();
    let shown = dir.display();
    let made = if there == dir { String::new() } else { " (will be made)".to_owned() };
    let elsewhere = "--spool DIR, or spool.dir = \"DIR\" in /etc/hueflow/edge.toml";
    if !host.at(&there).is_dir() {
        return Line::misconfigured("spool", format!("{shown}: {} is no folder", there.display()), elsewhere);
    }
    if let Err(e) = host.may_write(&there) {
        let (why, advice) = match e.kind() {
            ErrorKind::ReadOnlyFilesystem => {
                ("is on a read-only file system", format!("sudo mount -o remount,rw ...; or {elsewhere}"))
            }
            _ => (
                "may not be written by this user",
                format!("sudo hueflow-edge doctor, if the service is meant; or {elsewhere}"),
            ),
        };
        return Line::wrong("spool", format!("{shown}: {} {why}", there.display()), advice);
    }
    let former = crate::spool::owner::former(&host.at(&dir));
    let former = match former.as_slice() {
        [] => String::new(),
        names => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            format!("; records of {} wait under that name", names.join(", "))
        }
    };
    let disk = match host.disk(&there) {
        Ok(disk) => disk,
        Err(e) => return Line::wrong("spool", format!("{shown}: {e}"), elsewhere),
    };
    let used: u64 = std::fs::read_dir(host.at(&dir))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some(e.metadata().ok()?.len()))
        .sum();
    let room = (disk.free_bytes + used).min(config.spool_bytes_max);
    let fps = config.ask.fps.max(1.0);
    let hours = room as f64 / bytes_a_second(config, fps) / 3600.0;
    let what = format!(
        "{shown}{made}: {} MiB free, {} MiB of at most {} MiB used; an outage of about {hours:.1} h at {fps} fps{former}",
        mib(disk.free_bytes),
        mib(used),
        mib(config.spool_bytes_max)
    );
    if disk.is_memory {
        return Line::warning("spool", format!("{what}; it is in memory, and gone when power is"), elsewhere);
    }
    if disk.free_bytes + used < config.spool_bytes_max {
        let bytes = (room / 2).max(1 << 20);
        return Line::warning(
            "spool",
            format!("{what}; the disk is full before the spool is"),
            format!("free some, or spool.bytes_max = {bytes}"),
        );
    }
    Line::ok("spool", what)
}

/// What runs here beside this process: the boots that hold a spool, and edges of which no more is known than their
/// process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Here {
    /// Boots of edges whose spool is locked.
    pub boots: Vec<u64>,
    /// Processes that are edges.
    pub processes: Vec<u32>,
}

/// Looks for edges that run on this machine.
pub(super) fn here(host: &Host, config: &Config) -> Here {
    let dirs = [dir(config), SERVICE_DIR.into()];
    let mut boots: Vec<u64> = dirs.iter().filter_map(|d| crate::spool::held_by(&host.at(d))).collect();
    boots.dedup();
    let own = std::process::id();
    let is_edge = |pid: &u32| *pid != own && is_run(host, *pid);
    let processes = host.names("/proc").iter().filter_map(|n| n.parse().ok()).filter(is_edge).collect();
    Here { boots, processes }
}

/// Whether it is an edge that runs: not another doctor.
fn is_run(host: &Host, pid: u32) -> bool {
    let line = std::fs::read(host.at(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    let mut words = line.split(|b| *b == 0);
    words.next().is_some_and(|w| w.ends_with(b"hueflow-edge")) && words.next() == Some(b"run")
}

#[cfg(test)]
mod tests {
    use super::super::host::Disk;
    use super::super::tests::Fake;
    use super::*;
    use crate::config::{Origin, Raw};
    use ::host::check::State;

    fn config() -> Config {
        let mut raw = Raw::default();
        raw.put("spool.dir", "/var/spool/x".into(), Origin::Default).unwrap();
        Config::check(raw).unwrap()
    }

    fn machine() -> Fake {
        Fake::new().file("/var/spool/readme", "")
    }

    #[test]
    fn a_spool_has_a_disk_or_it_is_said_why_not() {
        let good = check(&machine().host, &config());
        assert!(
            good.state == State::Ok && good.what.contains("/var/spool/x (will be made): 1024.0 MiB free"),
            "{good}"
        );
        let read_only = check(&machine().locked("/var/spool", 0o500).host, &config());
        assert!(read_only.state == State::Wrong && read_only.what.contains("read-only"), "{read_only}");
        let file = check(&machine().file("/var/spool/x", "").host, &config());
        assert_eq!(file.state, State::Misconfigured, "{file}");
        let full = check(&machine().disk(|_| Ok(Disk { free_bytes: 9 << 20, is_memory: false })).host, &config());
        assert!(full.state == State::Warning && full.advice.contains("spool.bytes_max = 4718592"), "{full}");
        let memory = check(&machine().disk(|_| Ok(Disk { free_bytes: 1 << 30, is_memory: true })).host, &config());
        assert!(memory.state == State::Warning && memory.what.contains("in memory"), "{memory}");
    }

    #[test]
    fn without_a_broker_and_a_directory_there_is_no_spool() {
        let line = check(&Fake::new().host, &Config::check(Raw::default()).unwrap());
        assert!(line.state == State::Ok && line.what.contains("no records are kept"), "{line}");
    }

    #[test]
    fn what_is_sent_more_often_fills_it_sooner() {
        let (plain, mut all) = (config(), config());
        all.video = Video::All;
        assert!(bytes_a_second(&plain, 30.0) > bytes_a_second(&plain, 5.0));
        assert!(bytes_a_second(&all, 30.0) > 2.0 * bytes_a_second(&plain, 30.0));
        // 16 colours fit well into the contract's 768 bytes for 64.
        assert!(bytes_a_second(&plain, 30.0) < 30.0 * 400.0 + 20_000.0);
    }

    #[test]
    fn an_edge_that_runs_here_is_known_by_its_spool_and_by_its_process() {
        let fake = machine()
            .file("/proc/77/cmdline", "/usr/bin/hueflow-edge\0run\0")
            .file("/proc/78/cmdline", "hueflow-edge\0doctor\0");
        assert_eq!(here(&fake.host, &config()), Here { boots: vec![], processes: vec![77] });
        let limits = crate::spool::Limits::of(1 << 20);
        let spool = crate::spool::Spool::open(&fake.host.at("/var/spool/x"), limits, 0xABC0).unwrap();
        assert_eq!(here(&fake.host, &config()).boots, [0xABC0]);
        drop(spool);
        assert!(here(&fake.host, &config()).boots.is_empty());
    }
}
