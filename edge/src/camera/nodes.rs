//! Nodes: the video nodes of this machine with stable names, by which a person and the program select one.
//!
//! Inputs are the names in `/dev`, `/dev/v4l` and `/sys/class/video4linux`, which are only read; results are paths, and tables
//! for a person or a program. No device is opened here.

use super::choice::{Mode, Role};
use super::locks::Lockable;
use std::path::{Path, PathBuf};

/// The folders with stable names of cameras.
const NAMES_DIRS: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];
/// Most sizes of a format in the table for a person.
const SIZES_SHOWN: usize = 12;

/// A video node and its report.
#[derive(Debug, Clone)]
pub struct Node {
    /// Such as `/dev/video0`.
    pub path: PathBuf,
    /// Its stable names.
    pub names: Vec<PathBuf>,
    /// The card name from its maker.
    pub card: String,
    /// The kernel's driver.
    pub driver: String,
    /// Where it is connected.
    pub bus: String,
    /// Its role.
    pub role: Role,
    /// All its pixel formats, with the driver's description.
    pub formats: Vec<([u8; 4], String)>,
    /// Its modes in supported formats.
    pub modes: Vec<Mode>,
    /// The controls that can be locked.
    pub locks: Vec<Lockable>,
}

/// All video nodes, by number.
pub fn paths() -> Vec<PathBuf> {
    let mut numbers: Vec<u32> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.strip_prefix("video")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.iter().map(|n| PathBuf::from(format!("/dev/video{n}"))).collect()
}

/// The number among its device's nodes, from 0: some cameras have one node for colour and another for infrared.
pub fn index(path: &Path) -> u32 {
    let real = path.canonicalize().unwrap_or_else(|_| path.into());
    let name = real.file_name().unwrap_or_default();
    let text = std::fs::read_to_string(Path::new("/sys/class/video4linux").join(name).join("index"));
    text.ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
}

/// The stable names of a node.
pub fn names(path: &Path) -> Vec<PathBuf> {
    let all = NAMES_DIRS.iter().flat_map(|d| std::fs::read_dir(d).into_iter().flatten().flatten());
    let mut names: Vec<PathBuf> =
        all.map(|e| e.path()).filter(|p| p.canonicalize().is_ok_and(|target| target == path)).collect();
    names.sort();
    names
}

/// The node that `word` names by its path, its number, or its name in `/dev/v4l`. None if `word` may be a card name.
pub fn named(word: &str) -> Option<PathBuf> {
    if word.starts_with('/') {
        return Some(word.into());
    }
    if let Ok(number) = word.parse::<u32>() {
        return Some(format!("/dev/video{number}").into());
    }
    let safe = !word.is_empty() && !word.contains('/');
    NAMES_DIRS.iter().map(|d| Path::new(d).join(word)).find(|p| safe && p.exists())
}

/// A pixel format's four letters.
pub fn letters(fourcc: [u8; 4]) -> String {
    fourcc.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { ' ' }).collect::<String>().trim().into()
}

/// The nodes as a table for a person.
pub fn table(nodes: &[Node]) -> String {
    let mut out = String::new();
    for n in nodes {
        out += &format!("{}: {}: {}\n", n.path.display(), n.card, n.role.words());
        out += &format!("  driver {}, bus {}\n", n.driver, n.bus);
        for name in &n.names {
            out += &format!("  also {}\n", name.display());
        }
        for (fourcc, description) in &n.formats {
            let sizes: Vec<String> = n
                .modes
                .iter()
                .filter(|m| m.fourcc == *fourcc)
                .map(|m| {
                    let rate = if m.fps_max > 0.0 { format!("@{:.4}", m.fps_max) } else { String::new() };
                    let rate =
                        if rate.contains('.') { rate.trim_end_matches('0').trim_end_matches('.') } else { &rate };
                    format!("{}x{}{rate}", m.width, m.height)
                })
                .collect();
            if !sizes.is_empty() {
                let more = if sizes.len() > SIZES_SHOWN {
                    format!(" and {} more", sizes.len() - SIZES_SHOWN)
                } else {
                    String::new()
                };
                let shown = sizes[..sizes.len().min(SIZES_SHOWN)].join(" ");
                out += &format!("  {} ({description}): {shown}{more}\n", letters(*fourcc));
            }
        }
        let others: Vec<String> = n
            .formats
            .iter()
            .filter(|(f, _)| n.modes.iter().all(|m| m.fourcc != *f))
            .map(|(f, _)| letters(*f))
            .collect();
        if !others.is_empty() {
            out += &format!("  cannot be read: {}\n", others.join(" "));
        }
        for lock in &n.locks {
            out += &format!("  can be locked: {}\n", lock.words());
        }
    }
    out
}

/// The nodes as one JSON object a line.
pub fn json(nodes: &[Node]) -> String {
    let lock =
        |l: &Lockable| serde_json::json!({"name": l.name, "min": l.min, "max": l.max, "now": l.now, "auto": l.auto});
    let line = |n: &Node| {
        let modes: Vec<_> = n
            .modes
            .iter()
            .map(|m| serde_json::json!({"format": letters(m.fourcc), "width": m.width, "height": m.height, "fps_max": m.fps_max}))
            .collect();
        serde_json::json!({
            "path": n.path, "names": n.names, "card": n.card, "driver": n.driver, "bus": n.bus,
            "camera": n.role == Role::Camera, "what": n.role.words(),
            "locks": n.locks.iter().map(lock).collect::<Vec<_>>(),
            "formats": n.formats.iter().map(|(f, _)| letters(*f)).collect::<Vec<_>>(), "modes": modes,
        })
        .to_string()
            + "\n"
    };
    nodes.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_each_node_is_and_offers() {
        let mode = |width, fps_max| Mode { fourcc: *b"YUYV", width, height: 480, fps_max };
        let nodes = [Node {
            path: "/dev/video0".into(),
            names: vec!["/dev/v4l/by-id/usb-cam".into()],
            card: "HD Cam".into(),
            driver: "uvcvideo".into(),
            bus: "usb-1".into(),
            role: Role::Camera,
            formats: vec![(*b"YUYV", "YUYV 4:2:2".into()), (*b"H264", "H.264".into())],
            modes: vec![mode(640, 30.0), mode(800, 12.5), mode(900, 0.0)],
            locks: vec![Lockable { name: "gain", min: 0, max: 255, now: Some(100), auto: true }],
        }];
        let text = table(&nodes);
        assert!(text.starts_with("/dev/video0: HD Cam: a camera\n  driver uvcvideo, bus usb-1\n"), "{text}");
        assert!(text.contains("  also /dev/v4l/by-id/usb-cam\n"), "{text}");
        assert!(text.contains("  YUYV (YUYV 4:2:2): 640x480@30 800x480@12.5 900x480\n"), "{text}");
        assert!(text.contains("  cannot be read: H264\n"), "{text}");
        assert!(text.contains("  can be locked: gain 0 to 255, now 100, or auto\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&json(&nodes)).unwrap();
        assert_eq!((&json["locks"][0]["name"], &json["locks"][0]["max"]), (&"gain".into(), &255.into()));
        assert_eq!((&json["camera"], &json["modes"][1]["fps_max"]), (&true.into(), &12.5.into()));
    }

    #[test]
    fn words_name_nodes_by_path_and_number() {
        assert_eq!(named("/dev/video7"), Some("/dev/video7".into()));
        assert_eq!(named("7"), Some("/dev/video7".into()));
        assert_eq!(named("HD Cam that is nowhere"), None);
        assert_eq!(named("../video0"), None);
    }
}
