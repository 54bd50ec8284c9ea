//! The layers of settings: a file, environment variables and flags, one over the other, not checked yet.
//!
//! For each key the value that wins is kept, and where it came from. A key that does not exist is refused where it is met.
//! Only the configuration file is read.

use super::{ENV_PREFIX, FILE, KEYS, Key};
use crate::exit::{Failure, Reason};
use firmware::wire::Space;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Value;

/// Where a value came from; a later one beats an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The program's own.
    Default,
    /// This host's name.
    Host,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A message on the `cmd` topic that asked to be saved.
    Saved,
    /// A flag.
    Flag(String),
    /// A message on the `cmd` topic.
    Command,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Host => f.write_str("host name"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Env(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Saved => f.write_str("saved command"),
            Origin::Command => f.write_str("command"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {error}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A key that does not exist.
    #[error("unknown key {key} = {value} ({origin}); known here: {known}")]
    Unknown {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Where it is.
        origin: Origin,
        /// What could have been meant.
        known: String,
    },
    /// A variable whose value is not text.
    #[error("the environment variable {0} is not UTF-8: set it to another value, or unset it")]
    NotText(String),
    /// A value that does not fit its key.
    #[error("{key} = {value} ({origin}) is not allowed; it must be {range}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// Where it is.
        origin: Origin,
        /// What is allowed.
        range: String,
    },
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let flag = matches!(
            error,
            ConfigError::Value { origin: Origin::Flag(_), .. } | ConfigError::Unknown { origin: Origin::Flag(_), .. }
        );
        Failure::new(if flag { Reason::Usage } else { Reason::Config }, error)
    }
}

/// What the user has set: every key that was given, with its value and origin. Not checked yet.
#[derive(Debug, Clone, Default)]
pub struct Raw(BTreeMap<String, (Value, Origin)>);

impl Raw {
    /// All layers but the flags. `file`: the path of `--config`.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that cannot be read and for unknown keys.
    pub fn gather(
        file: Option<&Path>,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Raw, ConfigError> {
        let mut raw = Raw::default();
        let path = file.unwrap_or(Path::new(FILE));
        if file.is_some() || path.exists() {
            let read = |error| ConfigError::Read { path: path.into(), error };
            raw.add_toml(&std::fs::read_to_string(path).map_err(read)?, path)?;
        }
        for (name, value) in vars {
            // A foreign name or value may be anything; one of ours must be text.
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(ENV_PREFIX)) else {
                warn_of_separator(&name);
                continue;
            };
            let (key, name) = (rest.to_ascii_lowercase().replace("__", "."), name.to_string_lossy().into_owned());
            let value = value.into_string().map_err(|_| ConfigError::NotText(name.clone()))?;
            raw.put(&key, Value::String(value), Origin::Env(name))?;
        }
        Ok(raw)
    }

    /// The settings of `text`, as if it were the file `path`.
    ///
    /// # Errors
    /// [`ConfigError`] if it is not TOML, and for unknown keys.
    pub fn of_toml(text: &str, path: &Path) -> Result<Raw, ConfigError> {
        let mut raw = Raw::default();
        raw.add_toml(text, path)?;
        Ok(raw)
    }

    fn add_toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let syntax = |error| ConfigError::Syntax { path: path.into(), error: Box::new(error) };
        let table = toml::from_str::<toml::Table>(text).map_err(syntax)?;
        for (section, value) in table {
            match value {
                Value::Table(keys) => {
                    for (key, value) in keys {
                        self.put(&format!("{section}.{key}"), value, Origin::File(path.into()))?;
                    }
                }
                other => self.put(&section, other, Origin::File(path.into()))?,
            }
        }
        Ok(())
    }

    /// Sets `key`; a later value replaces an earlier one.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`].
    pub fn put(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        if !KEYS.iter().any(|k| k.name == key) {
            let section = key.split('.').next().unwrap_or("");
            let mut known: Vec<&str> =
                KEYS.iter().map(|k| k.name).filter(|n| n.split('.').next() == Some(section)).collect();
            if known.is_empty() {
                known = KEYS.iter().filter_map(|k| k.name.split('.').next()).collect();
                known.dedup();
            }
            let (key, value, known) = (key.into(), show(&value), known.join(", "));
            return Err(ConfigError::Unknown { key, value, origin, known });
        }
        self.0.insert(key.into(), (value, origin));
        Ok(())
    }

    /// Returns true if a flag sets `key`.
    pub(super) fn is_typed(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|(_, origin)| matches!(origin, Origin::Flag(_)))
    }

    /// Fills in what `--preset` stands for: over everything of an earlier layer than the preset itself.
    pub(super) fn apply_preset(&mut self) {
        let Some((Value::String(preset), origin)) = self.0.get("clustering.preset").cloned() else { return };
        if preset != "tutorial" {
            return;
        }
        for (key, value) in [
            ("clustering.method", Value::String("uniform".into())),
            ("clustering.coreset_size", Value::Integer(1000)),
            ("clustering.cold", Value::Boolean(true)),
            ("clustering.w_open", Value::Integer(1)),
            ("clustering.refine", Value::String("none".into())),
        ] {
            let rank = |o: &Origin| match o {
                Origin::Default | Origin::Host => 0,
                Origin::File(_) => 1,
                Origin::Env(_) => 2,
                Origin::Saved => 3,
                Origin::Flag(_) => 4,
                Origin::Command => 5,
            };
            if self.0.get(key).is_none_or(|(_, o)| rank(o) < rank(&origin)) {
                self.0.insert(key.into(), (value, origin.clone()));
            }
        }
    }

    /// Lambda is 18 unless set where the space is CIELAB: 50 levels and 18 Delta E give about as many colours.
    pub(super) fn apply_space(&mut self) {
        let Some((Value::String(word), origin)) = self.0.get("clustering.space").cloned() else { return };
        if Space::from_word(&word) == Some(Space::Cielab) && !self.0.contains_key("clustering.lambda") {
            let lambda = Space::Cielab.default_lambda_q6() / 64;
            self.0.insert("clustering.lambda".into(), (Value::Integer(lambda.into()), origin));
        }
    }

    pub(super) fn get(&self, key: &'static Key) -> (Value, Origin) {
        self.0.get(key.name).cloned().unwrap_or_else(|| ((key.default)(), Origin::Default))
    }

    pub(super) fn look(&self, name: &'static str) -> Word {
        // Every name below is in KEYS: the test `every_key_is_read` holds that.
        let key = KEYS.iter().find(|k| k.name == name).unwrap_or(&KEYS[0]);
        let (value, origin) = self.get(key);
        Word { key, value, origin }
    }
}

/// Warns of a variable that is meant for the configuration but has one underscore where two separate the words.
fn warn_of_separator(name: &OsStr) {
    let program = ENV_PREFIX.trim_end_matches('_');
    let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(program)).filter(|rest| rest.starts_with('_'))
    else {
        return;
    };
    let means = |key: &&Key| rest.trim_start_matches('_').eq_ignore_ascii_case(&key.name.replace('.', "_"));
    if let Some(key) = KEYS.iter().find(means) {
        let meant = format!("{ENV_PREFIX}{}", key.name.to_ascii_uppercase().replace('.', "__"));
        log::warn!("the environment variable {} is not read; two underscores separate: {meant}", name.display());
    }
}

pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{s:?}"),
        other => other.to_string(),
    }
}

/// One key's value on its way to being checked.
pub(super) struct Word {
    key: &'static Key,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Word {
    pub(super) fn refuse(&self) -> ConfigError {
        self.refuse_as(self.key.range)
    }

    /// Refuses the value; `range` follows "must be".
    pub(super) fn refuse_as(&self, range: impl Into<String>) -> ConfigError {
        let (key, value, origin) = (self.key.name, show(&self.value), self.origin.clone());
        ConfigError::Value { key, value, origin, range: range.into() }
    }

    /// Refuses a part of the value, named by `key`; `range` follows "must be".
    pub(super) fn refuse_part(&self, key: &'static str, value: String, range: impl Into<String>) -> ConfigError {
        ConfigError::Value { key, value, origin: self.origin.clone(), range: range.into() }
    }

    /// The key's name.
    pub(super) fn name(&self) -> &'static str {
        self.key.name
    }

    pub(super) fn text(&self) -> Result<String, ConfigError> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.refuse())
    }

    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        match &self.value {
            Value::Boolean(b) => Ok(*b),
            Value::String(s) => s.parse().map_err(|_| self.refuse()),
            _ => Err(self.refuse()),
        }
    }

    pub(super) fn whole(&self, min: u64, max: u64) -> Result<u64, ConfigError> {
        let n = match &self.value {
            Value::Integer(n) => u64::try_from(*n).ok(),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        n.filter(|n| (min..=max).contains(n)).ok_or_else(|| self.refuse())
    }

    pub(super) fn decimal(&self) -> Result<f64, ConfigError> {
        let x = match &self.value {
            Value::Integer(n) => Some(*n as f64),
            Value::Float(x) => Some(*x),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        x.filter(|x| x.is_finite()).ok_or_else(|| self.refuse())
    }

    pub(super) fn list(&self) -> Result<Vec<String>, ConfigError> {
        match &self.value {
            Value::Array(words) => {
                words.iter().map(|w| w.as_str().map(str::to_owned).ok_or_else(|| self.refuse())).collect()
            }
            Value::String(s) => Ok(s.split(',').map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect()),
            _ => Err(self.refuse()),
        }
    }
}
