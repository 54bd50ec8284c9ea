//! The store: rows by name, dropped duplicates, and the records that the windows name.
//!
//! It reads a journal's entries in order. No two rows have the same name.

use super::{Journal, Message, Name, Record};
use firmware::custody::{JournalId, StreamWindow, WindowId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Store {
    journal: Option<JournalId>,
    pub offset: usize,
    pub rows: BTreeMap<Name, Record>,
    pub duplicates: u64,
    declared: BTreeSet<Name>,
    windows: BTreeMap<u64, StreamWindow>,
    pub last_window: Option<WindowId>,
}

impl Store {
    pub fn read(&mut self, journal: &Journal, most: usize) {
        if self.journal.as_ref() != Some(&journal.id) {
            (self.journal, self.offset) = (Some(journal.id.clone()), 0);
            self.windows.clear();
        }
        for message in journal.log.iter().skip(self.offset).take(most) {
            self.offset += 1;
            match message {
                Message::Window(w) => {
                    self.last_window = Some(w.id);
                    for s in &w.streams {
                        let old = self.windows.entry(s.stream).or_insert(*s);
                        (old.since, old.next) = (old.since.max(s.since), old.next.max(s.next));
                    }
                }
                Message::Record(r) if self.rows.contains_key(&r.name()) => self.duplicates += 1,
                Message::Record(r) => {
                    self.rows.insert(r.name(), *r);
                    self.declared.extend(r.loss.into_iter().flat_map(|(s, from, to)| (from..to).map(move |q| (s, q))));
                }
            }
        }
    }

    /// Returns the records that the windows name and that are neither stored nor declared lost.
    pub fn missing(&self) -> Vec<Name> {
        let claimed = self.windows.values().flat_map(|w| (w.since..w.next).map(|q| (w.stream, q)));
        claimed.filter(|n| !self.rows.contains_key(n) && !self.declared.contains(n)).collect()
    }

    /// Returns the number of records that were declared lost and are not stored.
    pub fn lost(&self) -> usize {
        self.declared.iter().filter(|n| !self.rows.contains_key(n)).count()
    }
}
