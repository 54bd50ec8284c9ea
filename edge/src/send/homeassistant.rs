//! Discovery by Home Assistant: one retained message that describes this edge as a device with sensors.
//!
//! Inputs are site, device and names; the result is a topic and a payload of Home Assistant's device discovery. What was
//! announced is kept in a small file beside the spool, so that it can be taken back when discovery is switched off, and so that
//! sensors that are not configured any more are removed. Without that file nothing is published while discovery is off.

use super::Send;
use super::status::Names;
use crate::outbox::Unsent;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file beside the spool.
const FILE: &str = "homeassistant.json";

/// What was announced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Announced {
    topic: String,
    /// The platform of each component.
    components: BTreeMap<String, String>,
}

/// Whom discovery is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub site: String,
    pub device: String,
    pub is_wanted: bool,
    /// It has to be announced, or taken back, on this connection.
    pub is_due: bool,
}

impl Subject {
    fn topic(&self) -> String {
        format!("homeassistant/device/hueflow-{}/{}/config", self.site, self.device)
    }

    /// The payload, and what it announces. Components of `before` that are gone are named without content: they are removed.
    fn payload(&self, names: &Names, before: &Announced) -> (Value, Announced) {
        let (base, id) =
            (format!("hueflow/{}/{}", self.site, self.device), format!("hueflow_{}_{}", self.site, self.device));
        let mut components = components(names);
        for (key, component) in &mut components {
            component["unique_id"] = format!("{id}_{key}").into();
        }
        let platform = |(key, c): (&String, &Value)| (key.clone(), c["platform"].as_str().unwrap_or("").to_owned());
        let announced = Announced { topic: self.topic(), components: components.iter().map(platform).collect() };
        for (key, platform) in &before.components {
            components.entry(key.clone()).or_insert_with(|| json!({ "platform": platform }));
        }
        let payload = json!({
            "device": {
                "identifiers": [id],
                "name": self.device,
                "manufacturer": "Hueflow",
                "model": "Hueflow edge",
                "sw_version": env!("CARGO_PKG_VERSION"),
            },
            "origin": { "name": "Hueflow", "sw_version": env!("CARGO_PKG_VERSION") },
            "components": components,
            "state_topic": format!("{base}/state"),
            "availability_topic": format!("{base}/status"),
            "availability_template": "{{ value_json.state }}",
            "payload_available": "online",
            "payload_not_available": "offline",
        });
        (payload, announced)
    }
}

/// The sensors, by key, without ids.
fn components(names: &Names) -> Map<String, Value> {
    let sensor = |name: &str, template: &str, icon: &str| {
        let template = format!("{{{{ {template} }}}}");
        json!({ "platform": "sensor", "name": name, "value_template": template, "icon": icon })
    };
    let number = |name: &str, template: &str, unit: Option<&str>, icon: &str| {
        let mut component = sensor(name, template, icon);
        component["state_class"] = "measurement".into();
        if let Some(unit) = unit {
            component["unit_of_measurement"] = unit.into();
        }
        component
    };
    let mut all = Map::new();
    all.insert("dominant".into(), sensor("Dominant colour", "value_json.dominant.hex", "mdi:palette"));
    all.insert("clusters".into(), number("Colours", "value_json.clusters", None, "mdi:palette-swatch"));
    all.insert("fps".into(), number("Frame rate", "value_json.fps", Some("fps"), "mdi:speedometer"));
    for region in &names.regions {
        for colour in &names.colours {
            let template = format!("value_json.regions['{region}']['{colour}']");
            let share = number(&format!("{region} {colour}"), &template, Some("%"), "mdi:percent");
            all.insert(format!("share_{region}_{colour}"), share);
        }
    }
    for event in &names.events {
        let component = json!({
            "platform": "binary_sensor",
            "name": event,
            "value_template": format!("{{{{ value_json.events['{event}'] }}}}"),
            "payload_on": "on",
            "payload_off": "off",
        });
        all.insert(format!("event_{event}"), component);
    }
    for event in &names.blinks {
        let mut pattern =
            sensor(&format!("{event} pattern"), &format!("value_json.blink['{event}'].pattern"), "mdi:alarm-light");
        (pattern["device_class"], pattern["options"]) = ("enum".into(), json!(["off", "steady", "blinking"]));
        all.insert(format!("pattern_{event}"), pattern);
        // 0 Hz while it does not blink: a number in every message.
        let template = format!("value_json.blink['{event}'].rate_hz | default(0, true)");
        let mut rate = number(&format!("{event} rate"), &template, Some("Hz"), "mdi:metronome");
        rate["device_class"] = "frequency".into();
        all.insert(format!("rate_{event}"), rate);
    }
    all
}

fn path(spool: &Path) -> PathBuf {
    spool.join(FILE)
}

/// What was announced before. A file that cannot be read counts as none.
fn read(spool: &Path) -> Option<Announced> {
    serde_json::from_slice(&fs::read(path(spool)).ok()?).ok()
}

fn write(spool: &Path, announced: &Announced) -> std::io::Result<()> {
    let temporary = spool.join("homeassistant.tmp");
    fs::write(&temporary, serde_json::to_vec(announced)?)?;
    fs::rename(temporary, path(spool))
}

fn remove(spool: &Path) -> std::io::Result<()> {
    fs::remove_file(path(spool)).or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

impl Send {
    /// Announces this edge, or takes back what was announced, once a connection.
    pub(super) fn announce(&mut self) {
        let Some(subject) = self.subject.as_ref().filter(|subject| subject.is_due) else { return };
        let (spool, before) = (self.spool.dir(), read(self.spool.dir()));
        let result = match (subject.is_wanted, before) {
            (false, None) => Ok(Ok(())),
            (false, Some(before)) => self.publish_discovery(&before.topic, None).map(|()| remove(spool)),
            (true, before) => {
                let before = before.unwrap_or_default();
                let (payload, announced) = subject.payload(&self.names, &before);
                let is_elsewhere = !before.topic.is_empty() && before.topic != announced.topic;
                let taken_back = if is_elsewhere { self.publish_discovery(&before.topic, None) } else { Ok(()) };
                // Written first: what may have been announced can be taken back.
                taken_back.and_then(|()| match if announced == before { Ok(()) } else { write(spool, &announced) } {
                    Ok(()) => self.publish_discovery(&announced.topic, Some(&payload)).map(Ok),
                    Err(e) => Ok(Err(e)),
                })
            }
        };
        let is_due = match result {
            Err(Unsent::Busy) => true,
            Err(Unsent::TooLarge { bytes }) => {
                self.log_too_large("discovery", bytes, "Home Assistant does not find this device");
                false
            }
            Ok(Err(e)) => {
                log::warn!("{}: {e}; Home Assistant's discovery is tried again with the next connection", FILE);
                false
            }
            Ok(Ok(())) => false,
        };
        if let Some(subject) = &mut self.subject {
            subject.is_due = is_due;
        }
    }

    /// Publishes a payload of discovery; none takes it back.
    fn publish_discovery(&self, topic: &str, payload: Option<&Value>) -> Result<(), Unsent> {
        let payload = payload.map_or(Vec::new(), |payload| payload.to_string().into_bytes());
        self.outbox.as_ref().map_or(Ok(()), |outbox| outbox.discovery(topic, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that Home Assistant documents for all of a device's discovery, a device, a sensor and a binary sensor over MQTT.
    const ROOT: &str = "device origin components state_topic command_topic qos encoding availability availability_mode \
                        availability_topic availability_template payload_available payload_not_available";
    const DEVICE: &str = "configuration_url connections hw_version identifiers manufacturer model model_id name serial_number \
                          suggested_area sw_version via_device";
    const BOTH: &str = "platform availability availability_mode availability_template availability_topic default_entity_id device \
                        device_class enabled_by_default encoding entity_category entity_picture expire_after force_update icon \
                        json_attributes_template json_attributes_topic name payload_available payload_not_available qos \
                        state_topic unique_id value_template";
    const SENSOR: &str =
        "last_reset_value_template options state_class suggested_display_precision unit_of_measurement";
    const BINARY: &str = "off_delay payload_off payload_on";

    fn subject() -> Subject {
        Subject { site: "home".into(), device: "pi".into(), is_wanted: true, is_due: true }
    }

    fn names() -> Names {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names {
            regions: of(&["a", "b"]),
            colours: of(&["red"]),
            events: of(&["door", "lamp"]),
            blinks: of(&["lamp"]),
            ..Names::default()
        }
    }

    fn assert_known(value: &Value, known: &[&str]) {
        for key in value.as_object().unwrap().keys() {
            assert!(known.iter().any(|list| list.split(' ').any(|word| word == key)), "{key} is not documented");
        }
    }

    #[test]
    fn a_payload_has_only_documented_keys_and_all_that_are_required() {
        let (payload, announced) = subject().payload(&names(), &Announced::default());
        assert_known(&payload, &[ROOT]);
        assert_known(&payload["device"], &[DEVICE]);
        assert_known(&payload["origin"], &["name sw_version support_url"]);
        let mut ids = std::collections::BTreeSet::new();
        for (key, component) in payload["components"].as_object().unwrap() {
            let own = if component["platform"] == "sensor" { SENSOR } else { BINARY };
            assert_known(component, &[BOTH, own]);
            assert!(component["value_template"].as_str().unwrap().starts_with("{{ value_json."), "{key}");
            assert!(ids.insert(component["unique_id"].to_string()), "{key}");
        }
        assert_eq!(ids.len(), 3 + 2 + 2 + 2);
        assert_eq!(payload["components"]["pattern_lamp"]["options"], json!(["off", "steady", "blinking"]));
        assert_eq!(announced.topic, "homeassistant/device/hueflow-home/pi/config");
        assert_eq!(payload["components"]["event_door"]["value_template"], "{{ value_json.events['door'] }}");
        assert_eq!(payload["availability_topic"], "hueflow/home/pi/status");
    }

    #[test]
    fn what_is_not_configured_any_more_is_removed_once() {
        let (_, before) = subject().payload(&names(), &Announced::default());
        let fewer = Names { events: Vec::new(), blinks: Vec::new(), ..names() };
        let (payload, after) = subject().payload(&fewer, &before);
        assert_eq!(payload["components"]["event_door"], json!({ "platform": "binary_sensor" }));
        let (payload, _) = subject().payload(&fewer, &after);
        assert!(payload["components"].get("event_door").is_none());
    }

    #[test]
    fn what_was_announced_is_kept_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (_, announced) = subject().payload(&names(), &Announced::default());
        assert_eq!(read(dir.path()), None);
        write(dir.path(), &announced).unwrap();
        assert_eq!(read(dir.path()), Some(announced));
        fs::write(path(dir.path()), "{").unwrap();
        assert_eq!(read(dir.path()), None);
        remove(dir.path()).unwrap();
        remove(dir.path()).unwrap();
    }
}
