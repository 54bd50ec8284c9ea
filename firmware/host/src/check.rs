//! The lines that `doctor` prints: one for each check, with its outcome and what to type if it is not well.
//!
//! A [`Line`] is plain data. [`verdict`] decides from all lines how the program ends.

use crate::exit::Code;
use std::fmt;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or not for ever.
    Warning,
    /// Something that is needed is missing or broken.
    Wrong,
    /// The configuration asks for what cannot be.
    Misconfigured,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What was checked, in a word.
    pub check: &'static str,
    /// How it came out.
    pub state: State,
    /// What was found.
    pub what: String,
    /// What to type; empty if there is nothing to do.
    pub advice: String,
}

impl Line {
    /// A line of any state.
    pub fn new(check: &'static str, state: State, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line { check, state, what: what.into(), advice: advice.into() }
    }

    /// All is well.
    pub fn ok(check: &'static str, what: impl Into<String>) -> Line {
        Line::new(check, State::Ok, what, "")
    }

    /// It works, with a reservation.
    pub fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line::new(check, State::Warning, what, advice)
    }

    /// Something that is needed is missing or broken.
    pub fn wrong(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line::new(check, State::Wrong, what, advice)
    }

    /// The configuration asks for what cannot be.
    pub fn misconfigured(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line::new(check, State::Misconfigured, what, advice)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Wrong | State::Misconfigured => "wrong",
        };
        // One line, whatever a driver or a broker has answered.
        let what: String = self.what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "{word:<8} {:<8} {what}", self.check)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "  -> {}", self.advice) }
    }
}

/// How a program ends that printed these lines: none if all is well, else the exit code and the checks that are not. What is
/// missing on the machine counts before what is wrong in the configuration.
pub fn verdict(lines: &[Line]) -> Option<(Code, String)> {
    let is_bad = |line: &&Line| matches!(line.state, State::Wrong | State::Misconfigured);
    let bad: Vec<&str> = lines.iter().filter(is_bad).map(|line| line.check).collect();
    let is_broken = lines.iter().any(|line| line.state == State::Wrong);
    let code = if is_broken { Code::Unavailable } else { Code::Config };
    (!bad.is_empty()).then(|| (code, format!("not well: {}", bad.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_outcome_first_and_what_to_type_last() {
        let line = Line::warning("clock", "not\nsynchronised", "timedatectl set-ntp true");
        assert_eq!(line.to_string(), "warning  clock    not synchronised  -> timedatectl set-ntp true");
        assert_eq!(Line::ok("disk", "9 MiB free").to_string(), "ok       disk     9 MiB free");
        assert!(Line::misconfigured("x", "", "").to_string().starts_with("wrong "));
    }

    #[test]
    fn the_machine_counts_before_the_configuration() {
        let (ok, warning) = (Line::ok("a", ""), Line::warning("b", "", ""));
        let (wrong, misconfigured) = (Line::wrong("c", "", ""), Line::misconfigured("d", "", ""));
        assert_eq!(verdict(&[ok, warning]), None);
        let both = [misconfigured.clone(), wrong];
        assert_eq!(verdict(&both), Some((Code::Unavailable, "not well: d, c".to_owned())));
        assert_eq!(verdict(&[misconfigured]), Some((Code::Config, "not well: d".to_owned())));
    }
}
