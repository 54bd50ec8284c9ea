//! The kinds of payloads, as the envelope names them, and the topics that records of each kind go to.
//!
//! A kind's byte never changes once a device has sent it, and new kinds go to the end.

/// Type of a record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A [`crate::wire::Report`].
    Report = 1,
    /// A part of a [`crate::wire::CensusHead`] with its colours.
    Census = 2,
    /// A part of a [`crate::wire::PictureHead`] with its label map.
    Picture = 3,
    /// A [`crate::wire::Loss`].
    Loss = 4,
    /// A [`crate::wire::OriginalHead`] with its JPEG. It is only sent at QoS 0 and is never a record in custody.
    Original = 5,
    /// A [`crate::wire::EventRecord`].
    Event = 6,
}

impl Kind {
    /// Returns the kind for an envelope's byte, or none if this version does not know it.
    pub const fn from_byte(b: u8) -> Option<Kind> {
        Some(match b {
            1 => Kind::Report,
            2 => Kind::Census,
            3 => Kind::Picture,
            4 => Kind::Loss,
            5 => Kind::Original,
            6 => Kind::Event,
            _ => return None,
        })
    }

    /// Returns the last level of the MQTT topic for records of this kind.
    pub const fn mqtt_kind(self) -> &'static str {
        match self {
            Kind::Report | Kind::Loss => "metrics",
            Kind::Census => "census",
            Kind::Picture | Kind::Original => "video",
            Kind::Event => "event",
        }
    }

    /// Returns the journal's topic for records of this kind, without its prefix.
    pub const fn journal_topic(self) -> &'static str {
        match self {
            Kind::Report => "metrics",
            Kind::Census => "census",
            Kind::Picture | Kind::Original => "video",
            Kind::Loss => "status",
            Kind::Event => "event",
        }
    }
}
