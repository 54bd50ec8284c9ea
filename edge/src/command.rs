//! What a message on the `cmd` topic asks of a running edge.
//!
//! The JSON may come from anyone. It becomes changes that are allowed, or a reason; if one thing in it is wrong, nothing
//! of it is done.

use crate::config;
use firmware::limits::POINTS_MAX;
use firmware::node::Settings;
use firmware::wire::Method;
use serde::Deserialize;

/// Commands that wait for See at most; beyond that the newest is refused.
pub const COMMANDS_MAX: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    lambda: Option<f64>,
    coreset_size: Option<u64>,
    method: Option<String>,
    census_every: Option<f64>,
    #[serde(default)]
    snapshot: bool,
}

/// A checked command.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Command {
    /// Another lambda, in 1/64 levels.
    pub lambda_q6: Option<u32>,
    /// Another size.
    pub coreset_size: Option<u32>,
    /// Another method.
    pub method: Option<Method>,
    /// Seconds between two censuses.
    pub census_every_s: Option<f64>,
    /// One census now.
    pub snapshot: bool,
}

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    /// A sentence that names key, value and range.
    pub fn parse(bytes: &[u8]) -> Result<Command, String> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let lambda_q6 = match raw.lambda {
            None => None,
            Some(l) => Some(config::lambda_q6(l).ok_or(format!("lambda = {l} must be from 0.01 to 442"))?),
        };
        let coreset_size = match raw.coreset_size {
            None => None,
            Some(n @ 1..) if n <= POINTS_MAX as u64 => Some(n as u32),
            Some(n) => return Err(format!("coreset_size = {n} must be from 1 to {POINTS_MAX}")),
        };
        let method = match raw.method {
            None => None,
            Some(m) => Some(config::method(&m).ok_or(format!("method = {m:?} must be octree or uniform"))?),
        };
        if let Some(s) = raw.census_every.filter(|s| !(0.0..=86_400.0).contains(s)) {
            return Err(format!("census_every = {s} must be from 0 to 86400"));
        }
        Ok(Command { lambda_q6, coreset_size, method, census_every_s: raw.census_every, snapshot: raw.snapshot })
    }

    /// `settings` with what the command changes.
    pub fn apply(&self, settings: Settings) -> Settings {
        Settings {
            lambda_q6: self.lambda_q6.unwrap_or(settings.lambda_q6),
            coreset_size: self.coreset_size.unwrap_or(settings.coreset_size),
            method: self.method.unwrap_or(settings.method),
            ..settings
        }
    }

    /// The keys that it changes, as they are called in the configuration, with their new values.
    pub fn changes(&self) -> Vec<(&'static str, toml::Value)> {
        let mut changes = Vec::new();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_commands_change_what_they_name_and_nothing_else() {
        let c = Command::parse(br#"{"lambda": 12.5, "method": "uniform", "snapshot": true}"#).unwrap();
        assert!(c.snapshot);
        let s = c.apply(Settings::default());
        assert_eq!((s.lambda_q6, s.method, s.coreset_size), (800, Method::Uniform, 1000));
        assert_eq!(c.changes().len(), 2);
        assert_eq!(Command::parse(b"{}").unwrap(), Command::default());
    }

    #[test]
    fn bad_commands_are_refused_with_a_reason() {
        for (bad, word) in [
            (&br#"{"lambda": 0}"#[..], "442"),
            (br#"{"lambda": 1e999}"#, ""),
            (br#"{"coreset_size": 0}"#, "131072"),
            (br#"{"coreset_size": 999999}"#, "131072"),
            (br#"{"method": "x"}"#, "octree"),
            (br#"{"census_every": -1}"#, "86400"),
            (br#"{"nonsense": 1}"#, "nonsense"),
            (b"\xff\xfe", ""),
            (b"", ""),
            (b"[1]", ""),
        ] {
            let error = Command::parse(bad).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
