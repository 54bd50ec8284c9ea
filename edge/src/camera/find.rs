//! Find: selects one of a machine's cameras by a description, and recognises a camera that was unplugged.
//!
//! Inputs are the description and the report of each camera; the result is one of them. A camera that returns is recognised by the
//! place where it is connected; its card name counts only if no other camera has that name. This file has no side effects.

use std::path::{Path, PathBuf};

/// The properties that identify a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The card name from its maker; cameras of one model have the same.
    pub card: String,
    /// Where it is connected, such as `usb-0000:01:00.0-1.3`.
    pub bus: String,
    /// The number among the device's nodes: some cameras have a second node for infrared.
    pub index: u32,
}

/// A camera that was open before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it reported.
    pub identity: Identity,
    /// Another camera reported the same card name.
    pub has_twin: bool,
}

/// A node and its report.
pub type Found = (PathBuf, Identity);

/// The camera that `word` names: a card name or a part of it, upper or lower case. None if there is none.
pub fn by_name<'a>(word: &str, cameras: &'a [Found]) -> Option<&'a Path> {
    let wanted = word.to_lowercase();
    let exact = cameras.iter().find(|(_, i)| i.card == word);
    let found = exact.or_else(|| cameras.iter().find(|(_, i)| i.card.to_lowercase().contains(&wanted)));
    found.map(|(path, _)| path.as_path())
}

/// The camera that was open before: in the same place, or, if no other camera had its name, the only one of that name.
pub fn again<'a>(known: &Known, cameras: &'a [Found]) -> Option<&'a Path> {
    if let Some((path, _)) = cameras.iter().find(|(_, i)| *i == known.identity) {
        return Some(path);
    }
    let mut alike = cameras.iter().filter(|(_, i)| i.card == known.identity.card && i.index == known.identity.index);
    match (known.has_twin, alike.next(), alike.next()) {
        (false, Some((path, _)), None) => Some(path),
        _ => None,
    }
}

/// Returns true if another camera among them has the same card name and node.
pub fn has_twin(identity: &Identity, cameras: &[Found]) -> bool {
    cameras.iter().any(|(_, i)| i.card == identity.card && i.index == identity.index && i.bus != identity.bus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(number: u32, card: &str, bus: &str, index: u32) -> Found {
        (format!("/dev/video{number}").into(), Identity { card: card.into(), bus: bus.into(), index })
    }

    #[test]
    fn of_two_alike_the_one_in_the_same_place_comes_back_and_the_other_is_left_alone() {
        let (left, right) = (camera(0, "Cam", "usb-1", 0), camera(2, "Cam", "usb-2", 0));
        let known = Known { identity: left.1.clone(), has_twin: has_twin(&left.1, &[left.clone(), right.clone()]) };
        assert!(known.has_twin);
        assert_eq!(again(&known, std::slice::from_ref(&right)), None, "the other one is not it");
        let back = camera(5, "Cam", "usb-1", 0);
        assert_eq!(again(&known, &[right, back]), Some(Path::new("/dev/video5")));
    }

    #[test]
    fn a_camera_without_a_twin_is_known_by_its_name_in_another_place_unless_there_are_two_now() {
        let known = Known { identity: camera(0, "Cam", "usb-1", 0).1, has_twin: false };
        let moved = camera(3, "Cam", "usb-4", 0);
        assert_eq!(again(&known, &[camera(1, "Other", "usb-1", 0), moved.clone()]), Some(Path::new("/dev/video3")));
        assert_eq!(again(&known, &[moved.clone(), camera(4, "Cam", "usb-5", 0)]), None);
        let infrared = camera(4, "Cam", "usb-4", 2);
        assert_eq!(again(&known, &[infrared, moved]), Some(Path::new("/dev/video3")));
    }

    #[test]
    fn a_name_is_met_exactly_before_in_part() {
        let cameras = [camera(0, "HD Webcam Pro", "a", 0), camera(1, "HD Webcam", "b", 0)];
        assert_eq!(by_name("HD Webcam", &cameras), Some(Path::new("/dev/video1")));
        assert_eq!(by_name("pro", &cameras), Some(Path::new("/dev/video0")));
        assert_eq!(by_name("Logi", &cameras), None);
    }
}
