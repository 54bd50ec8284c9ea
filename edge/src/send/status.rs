//! The small JSON message `status` that says who this edge is and how it does.
//!
//! It holds state, boot, journal, the configuration in force, counters, and under `health` a line for each child of the
//! supervisor. Of passwords it names the file, as the configuration does.

use crate::config::Origin;
use crate::counters::{Counters, get};
use crate::health::ChildReport;
use std::collections::BTreeMap;

/// The configuration in force, and from where each value came.
pub type Origins = BTreeMap<&'static str, (toml::Value, Origin)>;

/// The `status` message.
pub fn json(
    state: &str,
    boot: u64,
    journal: Option<&str>,
    config: Option<&Origins>,
    counters: Option<&Counters>,
    health: &[ChildReport],
) -> String {
    let config: Option<serde_json::Map<_, _>> = config.map(|c| {
        let entry =
            |(value, origin): &(toml::Value, Origin)| serde_json::json!({ "value": value, "from": origin.to_string() });
        c.iter().map(|(key, v)| ((*key).to_owned(), entry(v))).collect()
    });
    let spool = counters.map(|c| {
        serde_json::json!({
            "refused_frames": get(&c.refused),
            "evicted_records": get(&c.evicted),
            "damaged_records": get(&c.damaged),
            "loss_records": get(&c.losses),
        })
    });
    serde_json::json!({
        "state": state,
        "version": env!("CARGO_PKG_VERSION"),
        "boot": format!("{boot:016x}"),
        "journal": journal,
        "config": config,
        "spool": spool,
        "health": health,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Child;

    #[test]
    fn a_status_names_state_version_boot_journal_configuration_what_was_lost_and_health() {
        let config = BTreeMap::from([("clustering.lambda", (toml::Value::Integer(40), Origin::Command))]);
        let counters = Counters { evicted: 7.into(), ..Counters::default() };
        let camera = Child::alone("camera", "rpicam:");
        camera.waiting("rpicam-vid is not installed");
        let status = json("online", 0xAB, Some("kafka:x"), Some(&config), Some(&counters), &[camera.report()]);
        let json: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(json["state"], "online");
        assert_eq!(json["boot"], "00000000000000ab");
        assert_eq!(json["journal"], "kafka:x");
        assert_eq!(json["config"]["clustering.lambda"]["value"], 40);
        assert_eq!(json["config"]["clustering.lambda"]["from"], "command");
        assert_eq!((&json["spool"]["evicted_records"], &json["spool"]["loss_records"]), (&7.into(), &0.into()));
        let want = serde_json::json!([{
            "name": "camera", "what": "rpicam:", "state": "waiting", "reason": "rpicam-vid is not installed", "failures": 1
        }]);
        assert_eq!(json["health"], want);
    }
}
