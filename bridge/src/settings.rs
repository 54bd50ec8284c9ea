//! Settings: one list of keys for each program, from its file, its environment and its flags, in that order.
//!
//! The result is a value for each key and where it came from. An unknown key is an error that names key, value and what is
//! allowed.

use crate::failure::Failure;
use host::tls::Tls;
use std::collections::BTreeMap;
use std::path::Path;

/// What a key's value must be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text.
    Text,
    /// A whole number within bounds.
    Number {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name, with a dot between section and key.
    pub name: &'static str,
    /// What its value must be.
    pub shape: Shape,
    /// Its value if it is not set.
    pub default: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is not set.
    Default,
    /// A file.
    File(String),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(file) => f.write_str(file),
            Origin::Environment(name) => write!(f, "${name}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// All values, checked for shape.
#[derive(Debug, Clone)]
pub struct Settings {
    keys: &'static [Key],
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Settings {
    /// Gathers the values: `file` (which must exist if `required`), `environment` under `prefix`, then `flags`.
    ///
    /// # Errors
    /// [`Failure::Config`], or [`Failure::NoInput`] for a file that was asked for and cannot be read.
    pub fn gather(
        keys: &'static [Key],
        file: &Path,
        required: bool,
        prefix: &str,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&'static str, Option<String>)],
    ) -> Result<Settings, Failure> {
        let values = keys.iter().map(|k| (k.name, (k.default.to_owned(), Origin::Default))).collect();
        let mut settings = Settings { keys, values };
        match std::fs::read_to_string(file) {
            Ok(text) => settings.read(&file.display().to_string(), &text)?,
            Err(e) if !required && e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Failure::NoInput(format!("{}: {e}", file.display()))),
        }
        for (name, value) in environment {
            if let Some(path) = name.strip_prefix(prefix).and_then(|p| p.strip_prefix("__")) {
                let key = path.to_ascii_lowercase().replace("__", ".");
                settings.set(&key, value, Origin::Environment(name))?;
            }
        }
        for (name, value) in flags {
            if let Some(value) = value {
                settings.set(name, value.clone(), Origin::Flag)?;
            }
        }
        Ok(settings)
    }

    fn read(&mut self, file: &str, text: &str) -> Result<(), Failure> {
        let table: toml::Table =
            toml::from_str(text).map_err(|e| Failure::Config(format!("{file}: {}", e.to_string().trim_end())))?;
        for (key, value) in flat("", table) {
            let text = match value {
                toml::Value::String(s) => s,
                toml::Value::Integer(n) => n.to_string(),
                other => {
                    return Err(Failure::Config(format!("{file}: {key}: `{other}` must be text or a whole number")));
                }
            };
            self.set(&key, text, Origin::File(file.to_owned()))?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: String, origin: Origin) -> Result<(), Failure> {
        let Some(key) = self.keys.iter().find(|k| k.name == name) else {
            let known: Vec<&str> = self.keys.iter().map(|k| k.name).collect();
            return Err(Failure::Config(format!(
                "{origin}: {name}: unknown key (value `{value}`); known are {}",
                known.join(", ")
            )));
        };
        if let Shape::Number { min, max } = key.shape
            && !value.parse::<i64>().is_ok_and(|n| (min..=max).contains(&n))
        {
            let text = format!("{origin}: {name}: `{value}` must be a whole number from {min} to {max}");
            return Err(if origin == Origin::Flag { Failure::Usage(text) } else { Failure::Config(text) });
        }
        self.values.insert(key.name, (value, origin));
        Ok(())
    }

    /// A value as text.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |(v, _)| v)
    }

    /// A value as text, none if it is empty.
    pub fn some(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|t| !t.is_empty())
    }

    /// A number.
    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// The error for a value that has the right shape and is wrong all the same. A flag's is wrong usage.
    pub fn wrong(&self, name: &str, must: &str) -> Failure {
        let (value, origin) = self.values.get(name).cloned().unwrap_or((String::new(), Origin::Default));
        let text = format!("{origin}: {name}: `{}` {must}", masked(&value));
        if origin == Origin::Flag { Failure::Usage(text) } else { Failure::Config(text) }
    }

    /// All values as the TOML file that would give them, each with where it came from.
    pub fn print(&self) -> String {
        let (mut out, mut section) = (String::new(), "");
        // Each section once, in the order in which the list names it first; keys of none come before all.
        let section_of = |key: &Key| key.name.split_once('.').map_or("", |(head, _)| head);
        let rank = |key: &&Key| match section_of(key) {
            "" => 0,
            head => 1 + self.keys.iter().position(|k| section_of(k) == head).unwrap_or(0),
        };
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        keys.sort_by_key(rank);
        for key in keys {
            let (head, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if head != section {
                section = head;
                out.push_str(&format!("\n[{head}]\n"));
            }
            let (value, origin) = self.values.get(key.name).cloned().unwrap_or((String::new(), Origin::Default));
            let value = match key.shape {
                Shape::Number { .. } => value,
                Shape::Text => toml::Value::String(masked(&value)).to_string(),
            };
            out.push_str(&format!("# {} ({origin})\n{name} = {value}\n", key.help));
        }
        out
    }
}

/// A value as it may be shown: without the password of a URL.
fn masked(value: &str) -> String {
    let shown = || {
        let (scheme, rest) = value.split_once("://")?;
        let (login, address) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{address}"))
    };
    shown().unwrap_or_else(|| value.to_owned())
}

fn flat(prefix: &str, table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut all = Vec::new();
    for (key, value) in table {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(t) => all.extend(flat(&name, t)),
            value => all.push((name, value)),
        }
    }
    all
}

/// An MQTT broker's address, as in `--mqtt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password; never shown.
    pub login: Option<(String, String)>,
    /// What TLS needs, if the connection is to be over it.
    pub tls: Option<Tls>,
}

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(s: &str) -> Result<Url, String> {
        const MUST: &str = "must be mqtt://[USER@]HOST[:PORT], mqtts:// for TLS, or embedded[:PORT]";
        let (tls, rest) = match s.strip_prefix("mqtts://") {
            Some(rest) => (Some(Tls::default()), rest),
            None => (None, s.strip_prefix("mqtt://").ok_or(MUST)?),
        };
        let rest = rest.trim_end_matches('/');
        let (login, address) = rest.rsplit_once('@').map_or((None, rest), |(l, a)| (Some(l), a));
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !address.ends_with(']') => (host, port.parse().map_err(|_| MUST)?),
            _ => (address, if tls.is_some() { 8883 } else { 1883 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || port == 0 || host.contains('/') {
            return Err(MUST.to_owned());
        }
        let login = login.map(|l| l.split_once(':').unwrap_or((l, ""))).map(|(u, p)| (u.to_owned(), p.to_owned()));
        Ok(Url { host: host.to_owned(), port, login, tls })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mqtt{}://{}:{}", if self.tls.is_some() { "s" } else { "" }, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[
        Key { name: "site", shape: Shape::Text, default: "home", help: "The site." },
        Key { name: "journal.partitions", shape: Shape::Number { min: 1, max: 8 }, default: "4", help: "Partitions." },
    ];

    fn gather(toml: &str, env: &[(&str, &str)], flag: Option<&str>) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.toml");
        std::fs::write(&file, toml).unwrap();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Settings::gather(KEYS, &file, true, "HUEFLOW_T", env, &[("site", flag.map(str::to_owned))])
            .map_err(|e| e.to_string())
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_defaults() {
        let file = "site = 'a'\n[journal]\npartitions = 2\n";
        assert_eq!(gather("", &[], None).unwrap().text("site"), "home");
        assert_eq!(gather(file, &[], None).unwrap().number("journal.partitions"), 2);
        let env = [("HUEFLOW_T__SITE", "b"), ("HUEFLOW_T__JOURNAL__PARTITIONS", "3"), ("HUEFLOW_TX__SITE", "no")];
        let s = gather(file, &env, Some("c")).unwrap();
        assert_eq!((s.text("site"), s.number("journal.partitions")), ("c", 3));
        let printed = s.print();
        assert!(printed.contains("# The site. (flag)\nsite = \"c\"\n"), "{printed}");
        assert!(
            printed.contains("[journal]\n# Partitions. ($HUEFLOW_T__JOURNAL__PARTITIONS)\npartitions = 3\n"),
            "{printed}"
        );
        assert!(toml::from_str::<toml::Table>(&printed).is_ok());
    }

    #[test]
    fn each_section_is_printed_once_wherever_its_keys_are_in_the_list() {
        const MIXED: &[Key] = &[
            Key { name: "b.x", shape: Shape::Text, default: "1", help: "X." },
            Key { name: "a.y", shape: Shape::Text, default: "2", help: "Y." },
            Key { name: "site", shape: Shape::Text, default: "3", help: "Site." },
            Key { name: "b.z", shape: Shape::Text, default: "4", help: "Z." },
        ];
        let settings = Settings::gather(MIXED, Path::new("/nonexistent"), false, "X", std::iter::empty(), &[]).unwrap();
        let read: toml::Table = toml::from_str(&settings.print()).unwrap();
        assert_eq!((read["b"]["z"].as_str(), read["site"].as_str()), (Some("4"), Some("3")), "{}", settings.print());
    }

    #[test]
    fn errors_name_key_value_and_range() {
        let e = gather("sitte = 'a'", &[], None).unwrap_err();
        assert!(e.contains("sitte: unknown key (value `a`)") && e.contains("journal.partitions"), "{e}");
        let e = gather("[journal]\npartitions = 9", &[], None).unwrap_err();
        assert!(e.contains("journal.partitions: `9` must be a whole number from 1 to 8"), "{e}");
        assert!(gather("", &[("HUEFLOW_T__NO", "1")], None).unwrap_err().contains("$HUEFLOW_T__NO: no: unknown key"));
        assert!(gather("site = [1]", &[], None).unwrap_err().contains("must be text"));
        assert!(gather("site =", &[], None).is_err());
    }

    #[test]
    fn urls() {
        let url = |s: &str| s.parse::<Url>();
        assert_eq!(url("mqtt://h:1").unwrap(), Url { host: "h".to_owned(), port: 1, login: None, tls: None });
        assert_eq!(
            url("mqtt://u:p@h").unwrap(),
            Url { host: "h".to_owned(), port: 1883, login: Some(("u".to_owned(), "p".to_owned())), tls: None }
        );
        let secure = url("mqtts://u@h").unwrap();
        assert!(secure.port == 8883 && secure.tls.is_some() && secure.to_string() == "mqtts://h:8883");
        assert_eq!(url("mqtt://[::1]:5").unwrap().host, "::1");
        for bad in ["", "h:1", "mqtt://", "mqtt://h:x", "mqtt://h:0", "mqtts://", "tls://h"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
