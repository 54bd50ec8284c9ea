//! What a message on the `cmd` topic asks of a running edge, and what became of it.
//!
//! The JSON may come from anyone. It becomes changes that are allowed, or a [`Refusal`]; if one thing in it is wrong, nothing
//! of it is done. [`Outcomes`] carries what See did with commands back to Send, which puts it into the `status` message and
//! writes what is to be saved to the disk.

use crate::config;
use firmware::limits::POINTS_MAX;
use firmware::node::Settings;
use firmware::wire::{Method, Space};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Commands that wait for See at most; beyond that the newest is refused.
pub const COMMANDS_MAX: usize = 16;
/// Refusals that the status lists: the newest.
const REFUSALS_MAX: usize = 8;
/// The longest key or value that a refusal repeats, in bytes: the status is one MQTT message.
const REPEATED_BYTES_MAX: usize = 80;
/// The keys of a command.
const KEYS: &str = "space, lambda, coreset_size, method, census_every, snapshot and save";

/// A key, as the configuration calls it, and its new value.
pub type Change = (&'static str, toml::Value);

/// What was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{key} = {value}: {reason}")]
pub struct Refusal {
    /// The key; `cmd` stands for the whole message.
    pub key: String,
    /// Its value as JSON, or the beginning of it.
    pub value: String,
    /// What is allowed, or what stands in the way.
    pub reason: String,
}

impl Refusal {
    /// A refusal of `value` for `key`.
    pub fn new(key: &str, value: impl ToString, reason: impl Into<String>) -> Refusal {
        Refusal { key: beginning(key), value: beginning(&value.to_string()), reason: reason.into() }
    }
}

fn beginning(text: &str) -> String {
    let end = (0..=REPEATED_BYTES_MAX.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    text.get(..end).unwrap_or("").to_owned()
}

/// A checked command.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Command {
    /// Another space. Without another lambda, lambda becomes the default of that space: in another one it means another
    /// distance.
    pub space: Option<Space>,
    /// Another lambda, in 1/64 levels or Delta E.
    pub lambda_q6: Option<u32>,
    /// Another size.
    pub coreset_size: Option<u32>,
    /// Another method.
    pub method: Option<Method>,
    /// Seconds between two censuses.
    pub census_every_s: Option<f64>,
    /// One census now.
    pub snapshot: bool,
    /// What it changes stays in force after a restart.
    pub save: bool,
}

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    /// The [`Refusal`] of the first thing in it that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Command, Refusal> {
        let whole = |reason: String| Refusal::new("cmd", String::from_utf8_lossy(bytes), reason);
        let value: Value = serde_json::from_slice(bytes).map_err(|e| whole(format!("it is not JSON: {e}")))?;
        let Value::Object(keys) = value else { return Err(whole("it must be a JSON object".into())) };
        let mut command = Command::default();
        for (key, value) in &keys {
            let range = match key.as_str() {
                "space" => {
                    command.space = value.as_str().and_then(Space::from_word);
                    command
                        .space
                        .is_none()
                        .then(|| format!("must be one of {}", Space::ALL.map(Space::word).join(", ")))
                }
                "lambda" => {
                    command.lambda_q6 = value.as_f64().and_then(config::lambda_q6);
                    command.lambda_q6.is_none().then(|| "must be a number from 0.01 to 442".to_owned())
                }
                "coreset_size" => {
                    let size = value.as_u64().filter(|n| (1..=POINTS_MAX as u64).contains(n));
                    command.coreset_size = size.map(|n| n as u32);
                    size.is_none().then(|| format!("must be a whole number from 1 to {POINTS_MAX}"))
                }
                "method" => {
                    command.method = value.as_str().and_then(config::method);
                    let words = || Method::ALL.map(Method::word).join(", ");
                    command.method.is_none().then(|| format!("must be one of {}", words()))
                }
                "census_every" => {
                    command.census_every_s = value.as_f64().filter(|s| (0.0..=86_400.0).contains(s));
                    command.census_every_s.is_none().then(|| "must be a number of seconds from 0 to 86400".to_owned())
                }
                "snapshot" => {
                    command.snapshot = value.as_bool().unwrap_or_default();
                    value.as_bool().is_none().then(|| "must be true or false".to_owned())
                }
                "save" => {
                    command.save = value.as_bool().unwrap_or_default();
                    value.as_bool().is_none().then(|| "must be true or false".to_owned())
                }
                _ => Some(format!("no such key; there are {KEYS}")),
            };
            if let Some(reason) = range {
                return Err(Refusal::new(key, value, reason));
            }
        }
        command.lambda_q6 = command.lambda_q6.or(command.space.map(Space::default_lambda_q6));
        if command.save && command.changes().is_empty() {
            return Err(Refusal::new("save", true, "there is nothing to save: name a setting too"));
        }
        Ok(command)
    }

    /// `settings` with what the command changes.
    pub fn apply(&self, settings: Settings) -> Settings {
        Settings {
            space: self.space.unwrap_or(settings.space),
            lambda_q6: self.lambda_q6.unwrap_or(settings.lambda_q6),
            coreset_size: self.coreset_size.unwrap_or(settings.coreset_size),
            method: self.method.unwrap_or(settings.method),
            ..settings
        }
    }

    /// The keys that it changes, as they are called in the configuration, with their new values.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(s) = self.space {
            changes.push(("clustering.space", toml::Value::String(s.word().into())));
        }
        if let Some(l) = self.lambda_q6 {
            changes.push(("clustering.lambda", toml::Value::Float(f64::from(l) / 64.0)));
        }
        if let Some(n) = self.coreset_size {
            changes.push(("clustering.coreset_size", toml::Value::Integer(i64::from(n))));
        }
        if let Some(m) = self.method {
            changes.push(("clustering.method", toml::Value::String(m.word().into())));
        }
        if let Some(s) = self.census_every_s {
            changes.push(("send.census_every", toml::Value::Float(s)));
        }
        changes
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Each with whether it is saved.
    in_force: Vec<(Change, bool)>,
    to_save: Vec<Change>,
    refused: VecDeque<Refusal>,
}

/// What became of commands: what is in force by them, and the newest refusals.
#[derive(Debug, Default)]
pub struct Outcomes {
    inner: Mutex<Inner>,
    changes: AtomicU64,
}

impl Outcomes {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command is obeyed.
    pub fn obeyed(&self, command: &Command) {
        let mut inner = self.lock();
        for (key, value) in command.changes() {
            inner.in_force.retain(|((k, _), _)| *k != key);
            inner.to_save.retain(|(k, _)| *k != key);
            if command.save {
                inner.to_save.push((key, value.clone()));
            }
            inner.in_force.push(((key, value), false));
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// A command is refused. Logged.
    pub fn refused(&self, refusal: Refusal) {
        log::warn!("a command is refused: {refusal}");
        let mut inner = self.lock();
        if inner.refused.len() >= REFUSALS_MAX {
            inner.refused.pop_front();
        }
        inner.refused.push_back(refusal);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that differs after every command.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The keys that commands have changed, with the values in force, and whether they are saved.
    pub fn in_force(&self) -> Vec<(Change, bool)> {
        self.lock().in_force.clone()
    }

    /// Has `save` write what is to be saved, if there is anything. What cannot be written is refused, and is in force until
    /// the edge ends.
    pub fn save(&self, save: impl FnOnce(&[Change]) -> std::io::Result<()>) {
        let to_save = std::mem::take(&mut self.lock().to_save);
        if to_save.is_empty() {
            return;
        }
        match save(&to_save) {
            Ok(()) => {
                for (change, is_saved) in &mut self.lock().in_force {
                    *is_saved |= to_save.contains(change);
                }
            }
            Err(error) => {
                let why = format!("it cannot be written to the disk ({error}), and is in force until the edge ends");
                self.refused(Refusal::new("save", true, why));
            }
        }
    }

    /// The newest refusals, the oldest first.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.lock().refused.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_commands_change_what_they_name_and_nothing_else() {
        let c = Command::parse(br#"{"lambda": 12.5, "method": "uniform", "snapshot": true}"#).unwrap();
        assert!(c.snapshot);
        let s = c.apply(Settings::default());
        assert_eq!((s.lambda_q6, s.method, s.coreset_size), (800, Method::Uniform, 1000));
        // Another space has a lambda of its own, unless the command sets one.
        for (json, lambda) in [(&br#"{"space": "cielab"}"#[..], 18.0), (br#"{"lambda": 9, "space": "cielab"}"#, 9.0)] {
            let c = Command::parse(json).unwrap();
            let s = c.apply(Settings::default());
            assert_eq!((s.space, f64::from(s.lambda_q6) / 64.0), (Space::Cielab, lambda));
            let space = ("clustering.space", toml::Value::String("cielab".into()));
            assert_eq!(c.changes(), [space, ("clustering.lambda", toml::Value::Float(lambda))]);
        }
        assert!(Command::parse(br#"{"space": "hsv"}"#).unwrap_err().to_string().contains("rgb, cielab"));
        assert_eq!(c.changes().len(), 2);
        assert_eq!(Command::parse(b"{}").unwrap(), Command::default());
    }

    #[test]
    fn bad_commands_are_refused_with_a_reason() {
        for (bad, word) in [
            (&br#"{"lambda": 0}"#[..], "442"),
            (br#"{"lambda": 30, "save": 1}"#, "true or false"),
            (br#"{"snapshot": true, "save": true}"#, "name a setting"),
            (br#"{"lambda": 1e999}"#, ""),
            (br#"{"lambda": "50"}"#, "442"),
            (br#"{"snapshot": 1}"#, "true"),
            (br#"{"coreset_size": 0}"#, "131072"),
            (br#"{"coreset_size": 999999}"#, "131072"),
            (br#"{"method": "x"}"#, "octree"),
            (br#"{"census_every": -1}"#, "86400"),
            (br#"{"nonsense": 1}"#, "nonsense"),
            (b"\xff\xfe", ""),
            (b"", ""),
            (b"[1]", ""),
        ] {
            let error = Command::parse(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_became_of_commands_is_kept_and_no_more_than_a_few_refusals() {
        let outcomes = Outcomes::default();
        for i in 0..20 {
            outcomes.refused(Refusal::new("lambda", -i, "no"));
        }
        let refused = outcomes.refusals();
        assert_eq!((refused.len(), refused.last().map(|r| r.value.as_str())), (REFUSALS_MAX, Some("-19")));
        outcomes.obeyed(&Command { lambda_q6: Some(64), ..Command::default() });
        outcomes.obeyed(&Command { lambda_q6: Some(128), ..Command::default() });
        assert_eq!(outcomes.in_force(), [(("clustering.lambda", toml::Value::Float(2.0)), false)]);
        assert_eq!(outcomes.changes(), 22);
        let long = Refusal::new("k", "é".repeat(1000), "r");
        assert!(long.value.len() <= REPEATED_BYTES_MAX && long.value.starts_with('é'));
    }

    #[test]
    fn what_is_saved_is_said_and_what_the_disk_refuses_is_a_refusal() {
        let outcomes = Outcomes::default();
        let obey = |json: &[u8]| outcomes.obeyed(&Command::parse(json).unwrap());
        obey(br#"{"lambda": 30, "method": "uniform", "save": true}"#);
        // A later command takes the place of what is not written yet.
        obey(br#"{"method": "octree"}"#);
        let mut written = Vec::new();
        outcomes.save(|changes| {
            written.extend_from_slice(changes);
            Ok(())
        });
        assert_eq!(written, [("clustering.lambda", toml::Value::Float(30.0))]);
        let is_saved: Vec<_> = outcomes.in_force().into_iter().map(|((key, _), is_saved)| (key, is_saved)).collect();
        assert_eq!(is_saved, [("clustering.lambda", true), ("clustering.method", false)]);
        outcomes.save(|_| panic!("there is nothing to save"));
        obey(br#"{"lambda": 40, "save": true}"#);
        outcomes.save(|_| Err(std::io::ErrorKind::StorageFull.into()));
        let refusal = outcomes.refusals().remove(0);
        assert!(refusal.key == "save" && refusal.reason.contains("storage space"), "{refusal}");
        assert_eq!(outcomes.in_force().last().map(|(_, is_saved)| *is_saved), Some(false));
    }
}
