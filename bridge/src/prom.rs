//! Metrics in Prometheus' text format, version 0.0.4.
//!
//! [`Prom`] collects families by name (without prefix), help, labels and values, and gives the text of `/metrics`. Each family
//! has its HELP and TYPE, and a label's value is escaped.
//!
//! The crate `prometheus-client` is not used: its text encoder writes OpenMetrics alone. That is another content type, ends with
//! `# EOF`, and appends suffixes to names (`_total`, `_info`, units).

use std::fmt::{Display, Write};

/// The content type of `/metrics`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a family behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises while the program runs.
    Counter,
    /// It comes and goes.
    Gauge,
}

/// A text under way.
#[derive(Debug)]
pub struct Prom {
    prefix: &'static str,
    text: String,
}

impl Prom {
    /// An empty one, whose names all begin with `prefix`.
    pub fn new(prefix: &'static str) -> Prom {
        Prom { prefix, text: String::new() }
    }

    /// A family of one sample.
    pub fn one(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.head(kind, name, help);
        let _ = writeln!(self.text, "{}{name} {value}", self.prefix);
    }

    /// A family of one sample for each value of `label`.
    pub fn each<L: AsRef<str>, V: Display>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(kind, name, help);
        for (of, value) in samples {
            let _ = writeln!(self.text, "{}{name}{{{label}=\"{}\"}} {value}", self.prefix, escaped(of.as_ref()));
        }
    }

    /// A family of one sample for each list of values of `labels`.
    pub fn labelled<V: Display>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[&str],
        samples: impl IntoIterator<Item = (Vec<String>, V)>,
    ) {
        self.head(kind, name, help);
        for (of, value) in samples {
            let pairs: Vec<_> =
                labels.iter().zip(&of).map(|(label, of)| format!("{label}=\"{}\"", escaped(of))).collect();
            let _ = writeln!(self.text, "{}{name}{{{}}} {value}", self.prefix, pairs.join(","));
        }
    }

    fn head(&mut self, kind: Kind, name: &str, help: &str) {
        let (prefix, kind) = (self.prefix, if kind == Kind::Counter { "counter" } else { "gauge" });
        let _ = writeln!(self.text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}");
    }

    /// The text.
    pub fn text(self) -> String {
        self.text
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Microseconds as seconds, exactly.
pub fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_with_two_labels_has_both() {
        let mut p = Prom::new("x_");
        p.labelled(Kind::Gauge, "a", "A.", &["b", "c"], [(vec!["1".to_owned(), "\"".to_owned()], 3)]);
        assert!(p.text().ends_with("x_a{b=\"1\",c=\"\\\"\"} 3\n"));
    }

    #[test]
    fn families_have_help_and_type_and_labels_stay_in_their_line() {
        let mut p = Prom::new("x_");
        p.one(Kind::Counter, "a_total", "All a.", 3);
        p.each(Kind::Gauge, "b", "Each b.", "of", [("q\"\n\\", 1)]);
        let want = "# HELP x_a_total All a.\n# TYPE x_a_total counter\nx_a_total 3\n\
                    # HELP x_b Each b.\n# TYPE x_b gauge\nx_b{of=\"q\\\"\\n\\\\\"} 1\n";
        assert_eq!(p.text(), want);
        assert_eq!(seconds(1_700_000_000_000_007), "1700000000.000007");
    }
}
