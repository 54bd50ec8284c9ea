//! `hueflow-metrics video`: the clustered pictures of a device back from the journal, as the edge showed them.
//!
//! Reads the records that `--video all` made, and writes PNG files by frame number, or a YUV4MPEG2 stream, in frame order. The
//! packed pictures of one boot are in memory meanwhile. Boots are not mixed: the latest one that has pictures is given, and
//! earlier ones are named.

use crate::cli::VideoFlags;
use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::journal::{self, Entry, Journal, Offsets, Reader, Topic};
use crate::metrics::ingest::decode::version;
use crate::metrics::silhouette::picture::{Joiner, Picture};
use crate::signals::until_stopped;
use firmware::wire::{self, PictureHead};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BATCH_MAX: usize = 512;
const WAIT: Duration = Duration::from_millis(200);
/// A journal that delivers nothing for this long has no more (a partition whose records are all too old never ends).
const SILENCE: Duration = Duration::from_secs(4);
/// Frames a second that the YUV4MPEG2 header names.
const FPS: u32 = 30;

/// Writes the pictures.
///
/// # Errors
/// [`Failure`].
pub fn run(config: &MetricsConfig, flags: &VideoFlags) -> Result<(), Failure> {
    let (config, device) = (config.clone(), flags.device.clone());
    let (out, y4m) = (flags.out.clone(), flags.y4m.clone());
    until_stopped(move |stop| {
        let journal = journal::open_existing(&config.journal, false)?;
        let frames = gather(journal.as_ref(), &device, stop)?;
        if frames.is_empty() {
            return Err(Failure::NoInput(format!("the journal has no pictures of device {device} (--video all)")));
        }
        let whole = match (out, y4m) {
            (Some(dir), _) => png_to(&frames, &dir)?,
            (None, Some(file)) if file.as_os_str() != "-" => {
                let io = |e| Failure::io(&file.display().to_string(), e);
                y4m_to(&frames, std::io::BufWriter::new(std::fs::File::create(&file).map_err(io)?)).map_err(io)?
            }
            _ => y4m_to(&frames, std::io::stdout().lock()).map_err(|e| Failure::io("standard output", e))?,
        };
        log::info!("{device}: {whole} pictures of {} frames", frames.len());
        if whole < frames.len() {
            log::warn!("{} pictures are not whole (yet)", frames.len() - whole);
        }
        Ok(())
    })
}

/// The parts of each frame, with their payload versions.
type Frames = BTreeMap<u64, Vec<(u8, Vec<u8>)>>;

/// Reads the journal up to where it ends now.
fn gather(journal: &dyn Journal, device: &str, stop: &AtomicBool) -> Result<Frames, Failure> {
    let away = |e: journal::JournalError| Failure::Unavailable(e.to_string());
    let mut left: Offsets = journal.end().map_err(away)?;
    left.retain(|(place, _), _| !place.ends_with(".dlq") && (place == "local" || place == Topic::Video.name()));
    let mut reader = journal.reader(&Offsets::new()).map_err(away)?;
    let (mut boots, mut frames, mut seen) = (Vec::new(), Frames::new(), BTreeSet::new());
    left.retain(|(place, _), end| *end > i64::from(place == "local"));
    let mut last_record_at = Instant::now();
    while !left.is_empty() && last_record_at.elapsed() < SILENCE && !stop.load(Ordering::Relaxed) {
        let batch = read(reader.as_mut())?;
        for record in batch {
            last_record_at = Instant::now();
            let place = (record.place.clone(), record.partition);
            if left.get(&place).is_some_and(|end| record.offset + 1 >= *end) {
                left.remove(&place);
            }
            let Some(Part { boot, seq, frame, payload }) = picture_part(&record.entry, device) else { continue };
            if !boots.contains(&boot) {
                if !boots.is_empty() {
                    log::warn!("{device}: boot {boot} follows; the pictures of the one before are left out");
                }
                boots.push(boot);
                (frames, seen) = (Frames::new(), BTreeSet::new());
            }
            if boots.last() == Some(&boot) && seen.insert(seq) {
                frames.entry(frame).or_default().push(payload);
            }
        }
    }
    Ok(frames)
}

fn read(reader: &mut dyn Reader) -> Result<Vec<journal::Record>, Failure> {
    match reader.read(BATCH_MAX, WAIT) {
        Ok(batch) => Ok(batch.records),
        Err(journal::JournalError::Fatal(e)) => Err(Failure::Unavailable(e)),
        Err(_) => Ok(Vec::new()),
    }
}

/// A part of a picture: where it belongs, and its payload with its version.
struct Part {
    boot: u64,
    seq: u64,
    frame: u64,
    payload: (u8, Vec<u8>),
}

/// The part of a picture, if the entry is a picture record of the device.
fn picture_part(e: &Entry, device: &str) -> Option<Part> {
    let ours = e.topic == Topic::Video && !e.dead && !e.loose && e.key == device;
    if !ours || e.header("content-type") != Some("application/x-hueflow-picture") {
        return None;
    }
    let (head, _) = wire::decode_head::<PictureHead>(version(e), &e.value).ok()?;
    Some(Part {
        boot: e.header_u64("stream")?,
        seq: e.header_u64("seq")?,
        frame: head.frame,
        payload: (version(e), e.value.clone()),
    })
}

/// The pictures that are whole, in frame order.
fn pictures(frames: &Frames) -> impl Iterator<Item = Picture> + '_ {
    frames.values().filter_map(|parts| {
        let mut joiner = Joiner::default();
        parts.iter().find_map(|(version, payload)| joiner.add(*version, payload))
    })
}

fn png_to(frames: &Frames, dir: &Path) -> Result<usize, Failure> {
    let io = |e: &dyn std::fmt::Display| Failure::io(&dir.display().to_string(), e);
    std::fs::create_dir_all(dir).map_err(|e| io(&e))?;
    let mut whole = 0;
    for picture in pictures(frames) {
        let png = picture.png().map_err(|e| io(&e))?;
        std::fs::write(dir.join(format!("{:06}.png", picture.frame)), png).map_err(|e| io(&e))?;
        whole += 1;
    }
    Ok(whole)
}

fn y4m_to(frames: &Frames, mut out: impl Write) -> std::io::Result<usize> {
    let (mut size, mut whole) = (None, 0);
    for p in pictures(frames) {
        match size {
            None => writeln!(out, "YUV4MPEG2 W{} H{} F{FPS}:1 Ip A1:1 C444", p.width, p.height)?,
            Some(first) if first != (p.width, p.height) => {
                return Err(std::io::Error::other("the pictures change their size under way: use --out"));
            }
            Some(_) => {}
        }
        size = Some((p.width, p.height));
        out.write_all(&p.y4m())?;
        whole += 1;
    }
    out.flush()?;
    Ok(whole)
}
