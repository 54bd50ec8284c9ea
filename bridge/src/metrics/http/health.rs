//! Health: whether the services around this program answer, and how far the store is behind.
//!
//! The threads that use a service set its field; `/healthz` and the page's banner show it. A field is None while all is well.

use serde::Serialize;

/// Whether journal, store and broker can be used, and how far the store is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Why the journal cannot be read, if it cannot.
    pub journal: Option<String>,
    /// Why the store cannot be written, if it cannot.
    pub store: Option<String>,
    /// Why the MQTT broker cannot be reached, if it is configured and cannot.
    pub broker: Option<String>,
    /// Why the site's bridge relays nothing, if its status has a reason.
    pub bridge: Option<String>,
    /// Entries of the journal that are not in the store yet, if that is known.
    pub lag: Option<u64>,
}

impl Health {
    /// Whether both journal and store work. This program stores and shows everything without a broker.
    pub fn is_good(&self) -> bool {
        self.journal.is_none() && self.store.is_none()
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_good() {
            writeln!(f, "ok")?;
        }
        let parts =
            [("journal", &self.journal), ("store", &self.store), ("broker", &self.broker), ("bridge", &self.bridge)];
        for (what, error) in parts {
            if let Some(error) = error {
                writeln!(f, "{what}: {error}")?;
            }
        }
        match self.lag {
            Some(lag) => writeln!(f, "lag: {lag} entries"),
            None => writeln!(f, "lag: unknown"),
        }
    }
}
