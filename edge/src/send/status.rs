//! The small JSON message `status`: which edge this is, and its state.
//!
//! It holds state, boot, journal, the configuration in force, the names of regions, colours (reports have their indices) and events,
//! what became of the last frame's colours where there is a reference, counters, and under `health` a line for each child of the
//! supervisor. Of passwords it names the file, as the configuration does.

use crate::camera::reference::reason;
use crate::command::Refusal;
use crate::config::{Config, Origin};
use crate::counters::{Counters, get};
use crate::health::ChildReport;
use crate::vitals::Vitals;
use firmware::reference::{Correct, Outcome};
use std::collections::BTreeMap;

/// The configuration in force, and from where each value came.
pub type Origins = BTreeMap<&'static str, (toml::Value, Origin)>;

/// How much of the configuration a status has: a broker may take only small packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Every key.
    All,
    /// What differs from the defaults.
    Changed,
    /// No configuration, no health.
    Least,
}

impl Detail {
    /// All, the fullest first.
    pub const ALL: [Detail; 3] = [Detail::All, Detail::Changed, Detail::Least];
}

/// Names of regions and colours, by the indices that reports have, and of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Of regions.
    pub regions: Vec<String>,
    /// Of colours.
    pub colours: Vec<String>,
    /// Of events.
    pub events: Vec<String>,
    /// Of the reference's patches.
    pub patches: Vec<String>,
    /// Of the events that distinguish blinking from steady.
    pub blinks: Vec<String>,
}

impl Names {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Names {
        let blinks = config.events.iter().filter(|event| event.with_blink);
        Names {
            regions: config.regions.iter().map(|region| region.name.clone()).collect(),
            colours: config.colours.iter().map(|colour| colour.name.clone()).collect(),
            events: config.events.iter().map(|event| event.name.as_str().to_owned()).collect(),
            patches: config.reference.patches.iter().map(|patch| patch.region.name.clone()).collect(),
            blinks: blinks.map(|event| event.name.as_str().to_owned()).collect(),
        }
    }
}

/// What a status reports of a run.
pub struct About<'a> {
    /// The configuration in force.
    pub config: &'a Origins,
    /// How much of it is reported.
    pub detail: Detail,
    /// The names of the regions and of the colours, by the indices that reports have.
    pub names: &'a Names,
    /// What is counted.
    pub counters: &'a Counters,
    /// The state of every child.
    pub health: &'a [ChildReport],
    /// The newest refused commands.
    pub refused: &'a [Refusal],
    /// How the machine does.
    pub vitals: &'a Vitals,
    /// Captured times can be relied on.
    pub is_clock_synchronised: bool,
}

/// What became of colours, and of how many frames it is known that they were not corrected.
fn correction(about: &About<'_>, outcome: Outcome) -> serde_json::Value {
    let (corrected, why) = match outcome {
        Outcome::Done(way) => (way.word(), None),
        Outcome::Fault(fault, patch) => (Correct::Off.word(), Some(reason(fault, patch, &about.names.patches))),
    };
    serde_json::json!({
        "corrected": corrected, "reason": why, "frames_not_corrected": get(&about.counters.uncorrected)
    })
}

/// The `status` message; without `about` it is the last will.
pub fn json(state: &str, boot: u64, journal: Option<&str>, about: Option<&About<'_>>) -> String {
    let entry =
        |(value, origin): &(toml::Value, Origin)| serde_json::json!({ "value": value, "from": origin.to_string() });
    let is_reported = |detail, origin: &Origin| match detail {
        Detail::All => true,
        Detail::Changed => *origin != Origin::Default,
        Detail::Least => false,
    };
    let config = about.filter(|a| a.detail != Detail::Least).map(|a| {
        let reported = a.config.iter().filter(|(_, v)| is_reported(a.detail, &v.1));
        reported.map(|(key, v)| ((*key).to_owned(), entry(v))).collect::<serde_json::Map<_, _>>()
    });
    let c = about.map(|a| a.counters);
    let spool = c.map(|c| {
        serde_json::json!({
            "refused_frames": get(&c.refused),
            "evicted_records": get(&c.evicted),
            "damaged_records": get(&c.damaged),
            "too_large_records": get(&c.records_too_large),
            "loss_records": get(&c.losses),
        })
    });
    let broker = c.map(|c| {
        serde_json::json!({
            "packet_bytes_max": Some(get(&c.packet_bytes_max)).filter(|&bytes| bytes > 0),
            "too_large_pictures": get(&c.pictures_too_large),
        })
    });
    let mut status = serde_json::json!({
        "state": state,
        "version": env!("CARGO_PKG_VERSION"),
        "boot": format!("{boot:016x}"),
        "journal": journal,
        "config": config,
        "spool": spool,
        "broker": broker,
        "frames": c.map(|c| get(&c.frames)),
        "frames_with_missed_colours": c.map(|c| get(&c.missing)),
        "records_held": c.map(|c| get(&c.held)),
        "machine": about.filter(|a| a.detail != Detail::Least).map(|a| a.vitals),
        "clock_synchronised": about.map(|a| a.is_clock_synchronised),
        "refused_commands": about.filter(|a| a.detail != Detail::Least).map_or(&[][..], |a| a.refused),
        "health": about.filter(|a| a.detail != Detail::Least).map_or(&[][..], |a| a.health),
    });
    // Every report needs the names, so they are there for the smallest broker too.
    if let Some(names) = about.map(|a| a.names).filter(|names| !names.regions.is_empty()) {
        status["regions"] = names.regions.clone().into();
        status["colours"] = names.colours.clone().into();
    }
    if let Some(names) = about.map(|a| a.names).filter(|names| !names.events.is_empty()) {
        status["events"] = names.events.clone().into();
    }
    let outcome = about.filter(|a| a.detail != Detail::Least).and_then(|a| Some((a, a.counters.last_correction()?)));
    if let Some((about, outcome)) = outcome {
        status["reference"] = correction(about, outcome);
    }
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Child;
    use firmware::reference::Fault;

    fn config() -> Origins {
        BTreeMap::from([
            ("clustering.lambda", (toml::Value::Integer(40), Origin::Command)),
            ("clustering.cold", (toml::Value::Boolean(false), Origin::Default)),
        ])
    }

    #[test]
    fn a_status_names_state_version_boot_journal_configuration_what_was_lost_and_health() {
        let counters = Counters { evicted: 7.into(), packet_bytes_max: 2048.into(), ..Counters::default() };
        counters.see_correction(Some(Outcome::Done(Correct::Gain)));
        counters.see_correction(Some(Outcome::Fault(Fault::Clipped, 0)));
        let camera = Child::alone("camera", "rpicam:");
        camera.waiting("rpicam-vid is not installed");
        let vitals = Vitals { temperature_c: Some(48.5), ..Vitals::default() };
        let (health, refused) = ([camera.report()], [Refusal::new("lambda", -1, "too small")]);
        let about = About {
            config: &config(),
            names: &Names {
                regions: vec!["stack-1".into()],
                colours: vec!["red".into(), "green".into()],
                events: vec!["line-stopped".into()],
                patches: vec!["grey-card".into()],
                blinks: Vec::new(),
            },
            detail: Detail::All,
            counters: &counters,
            health: &health,
            refused: &refused,
            vitals: &vitals,
            is_clock_synchronised: true,
        };
        let status = json("online", 0xAB, Some("kafka:x"), Some(&about));
        let json: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(json["state"], "online");
        assert_eq!((&json["clock_synchronised"], &json["machine"]["temperature_c"]), (&true.into(), &48.5.into()));
        assert_eq!(json["boot"], "00000000000000ab");
        assert_eq!(json["journal"], "kafka:x");
        assert_eq!(json["config"]["clustering.lambda"]["value"], 40);
        assert_eq!(json["config"]["clustering.lambda"]["from"], "command");
        assert_eq!((&json["spool"]["evicted_records"], &json["spool"]["loss_records"]), (&7.into(), &0.into()));
        assert_eq!(json["broker"]["packet_bytes_max"], 2048);
        assert_eq!(json["regions"], serde_json::json!(["stack-1"]));
        assert_eq!(json["colours"], serde_json::json!(["red", "green"]));
        assert_eq!(json["events"], serde_json::json!(["line-stopped"]));
        assert_eq!(
            (&json["reference"]["corrected"], &json["reference"]["frames_not_corrected"]),
            (&"off".into(), &1.into())
        );
        assert!(json["reference"]["reason"].as_str().unwrap().contains("grey-card is clipped"), "{json}");
        let want = serde_json::json!([{"key": "lambda", "value": "-1", "reason": "too small"}]);
        assert_eq!(json["refused_commands"], want);
        let want = serde_json::json!([{
            "name": "camera", "what": "rpicam:", "state": "waiting", "reason": "rpicam-vid is not installed", "failures": 1
        }]);
        assert_eq!(json["health"], want);
    }

    #[test]
    fn a_status_for_a_small_broker_has_less_in_it() {
        let (config, counters, vitals) = (config(), Counters::default(), Vitals::default());
        let of = |detail| {
            json(
                "online",
                2,
                None,
                Some(&About {
                    config: &config,
                    names: &Names::default(),
                    detail,
                    counters: &counters,
                    health: &[],
                    refused: &[],
                    vitals: &vitals,
                    is_clock_synchronised: false,
                }),
            )
        };
        let [all, changed, least] = Detail::ALL.map(of);
        assert!(all.contains("clustering.cold") && all.contains("clustering.lambda"));
        assert!(!changed.contains("clustering.cold") && changed.contains("clustering.lambda"), "{changed}");
        assert!(!least.contains("clustering") && least.len() < 400, "{least}");
    }
}
