//! The headers of an entry, kept in one text, so that a record costs two allocations and not twenty.
//!
//! Names and values come back in their order. Their meaning is the caller's.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Display, Write};

/// Room for the headers of a record: six names and values, about.
const TEXT_BYTES: usize = 192;
const HEADERS: usize = 8;

/// Names and values; a name may be there twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    /// Where each name and each value ends in the text.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    /// None yet, with room for those of a record.
    pub fn new() -> Headers {
        Headers { text: String::with_capacity(TEXT_BYTES), ends: Vec::with_capacity(HEADERS) }
    }

    /// Puts one behind the others.
    pub fn push(&mut self, name: &str, value: impl Display) {
        self.text.push_str(name);
        let named = self.text.len();
        let _ = write!(self.text, "{value}"); // A text takes all.
        self.ends.push((named, self.text.len()));
    }

    /// Names and values, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        let from = |i: usize| i.checked_sub(1).and_then(|i| self.ends.get(i)).map_or(0, |e| e.1);
        self.ends.iter().enumerate().map(move |(i, &(named, end))| {
            (self.text.get(from(i)..named).unwrap_or(""), self.text.get(named..end).unwrap_or(""))
        })
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The last value of a name.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.iter().rfind(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl<N: AsRef<str>, V: Display> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Headers {
        let mut headers = Headers::new();
        pairs.into_iter().for_each(|(name, value)| headers.push(name.as_ref(), value));
        headers
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// As an array of pairs.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Headers, D::Error> {
        Ok(Vec::<(String, String)>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_is_there_twice_has_a_first_and_a_last_value() {
        let mut headers = Headers::new();
        assert!(headers.is_empty() && headers.get("a").is_none());
        headers.push("a", 1);
        headers.push("", "");
        headers.push("a", "two");
        assert_eq!(
            (headers.get("a"), headers.last("a"), headers.get(""), headers.len()),
            (Some("1"), Some("two"), Some(""), 3)
        );
        assert_eq!(format!("{headers:?}"), r#"[("a", "1"), ("", ""), ("a", "two")]"#);
    }

    proptest! {
        #[test]
        fn pairs_come_back_also_by_way_of_json(pairs in prop::collection::vec((any::<String>(), any::<String>()), 0..9)) {
            let headers: Headers = pairs.iter().map(|(n, v)| (n, v)).collect();
            let back: Vec<_> = headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(&back, &pairs);
            let json = serde_json::to_string(&headers).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&pairs).unwrap());
            prop_assert_eq!(serde_json::from_str::<Headers>(&json).unwrap(), headers);
        }
    }
}
