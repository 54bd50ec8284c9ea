//! The parser of conditions: the text of `when` becomes a [`Condition`], or an error with the position and what was expected.
//!
//! Inputs are the text and the names of the configured colours and regions, in their order. `not` binds more than `and`, and
//! `and` more than `or`. Length and nesting are bounded, so that a condition has a bounded stack.
//!
//! ```text
//! or      = and { "or" and }
//! and     = not { "and" not }
//! not     = "not" not | "(" or ")" | measure ("<" | "<=" | ">" | ">=") number
//! measure = "share(" colour "," region ")" | "de00(" colour "," region ")" | "clusters" | "missed" | "silhouette"
//! ```

use super::eval::{Condition, Measure, Relation, Step};
use std::fmt;

/// Longest text: more than a person reads, and few enough steps for a frame.
pub const WHEN_BYTES_MAX: usize = 1_024;
/// Deepest nesting of parentheses and `not`. Each level leaves at most two truths on the stack, so that 64 are enough.
const NESTING_MAX: usize = 16;

const MEASURES: &str = "share(colour, region), de00(colour, region), clusters, missed, silhouette";

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The character where it goes wrong, from 1.
    pub at: usize,
    /// What was expected there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: expected {}, found {}", self.at, self.expected, self.found)
    }
}

/// The names that a condition may use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// Of colours, by index.
    pub colours: &'a [&'a str],
    /// Of regions, by index.
    pub regions: &'a [&'a str],
}

/// Reads a condition.
///
/// # Errors
/// [`ParseError`] with the first place that is wrong.
pub fn parse(text: &str, names: Names<'_>) -> Result<Condition, ParseError> {
    let mut parser = Parser { text, at: 0, names, nesting: 0, steps: Vec::new() };
    if text.len() > WHEN_BYTES_MAX {
        return Err(parser.refuse(&format!("at most {WHEN_BYTES_MAX} bytes")));
    }
    parser.any()?;
    if !parser.rest().is_empty() {
        return Err(parser.refuse("and, or, or the end"));
    }
    Ok(Condition::new(parser.steps))
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes that are read.
    at: usize,
    names: Names<'a>,
    nesting: usize,
    steps: Vec<Step>,
}

impl<'a> Parser<'a> {
    /// What is left, without white space in front of it.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or("");
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    /// The characters of a name or a word that are next.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        rest.get(..end.unwrap_or(rest.len())).unwrap_or("")
    }

    /// Takes `mark` if it is next.
    fn takes(&mut self, mark: &str) -> bool {
        let is_next = self.rest().starts_with(mark);
        self.at += if is_next { mark.len() } else { 0 };
        is_next
    }

    /// Takes `word` if it is next and ends there.
    fn takes_word(&mut self, word: &str) -> bool {
        let is_next = self.word() == word;
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn needs(&mut self, mark: &str) -> Result<(), ParseError> {
        if self.takes(mark) { Ok(()) } else { Err(self.refuse(&format!("`{mark}`"))) }
    }

    fn refuse(&mut self, expected: &str) -> ParseError {
        let word = self.word();
        let next = if word.is_empty() { self.rest().chars().take(1).collect() } else { word.to_owned() };
        let found = if next.is_empty() { "the end".to_owned() } else { format!("`{next}`") };
        let at = self.text.get(..self.at).unwrap_or("").chars().count() + 1;
        ParseError { at, expected: expected.to_owned(), found }
    }

    fn any(&mut self) -> Result<(), ParseError> {
        self.all()?;
        while self.takes_word("or") {
            self.all()?;
            self.steps.push(Step::Or);
        }
        Ok(())
    }

    fn all(&mut self) -> Result<(), ParseError> {
        self.one()?;
        while self.takes_word("and") {
            self.one()?;
            self.steps.push(Step::And);
        }
        Ok(())
    }

    fn one(&mut self) -> Result<(), ParseError> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.refuse(&format!("at most {NESTING_MAX} levels of parentheses and not")));
        }
        if self.takes_word("not") {
            self.one()?;
            self.steps.push(Step::Not);
        } else if self.takes("(") {
            self.any()?;
            self.needs(")")?;
        } else {
            self.comparison()?;
        }
        self.nesting -= 1;
        Ok(())
    }

    fn comparison(&mut self) -> Result<(), ParseError> {
        let measure = self.measure()?;
        let relation = self.relation()?;
        let limit = self.number()?;
        self.steps.push(Step::Test { measure, relation, limit });
        Ok(())
    }

    fn measure(&mut self) -> Result<Measure, ParseError> {
        let word = self.word();
        let plain = match word {
            "share" | "de00" => None,
            "clusters" => Some(Measure::Clusters),
            "missed" => Some(Measure::Missed),
            "silhouette" => Some(Measure::Silhouette),
            _ => return Err(self.refuse(&format!("not, `(` or one of {MEASURES}"))),
        };
        self.at += word.len();
        if let Some(measure) = plain {
            return Ok(measure);
        }
        self.needs("(")?;
        let colour = self.name("colour", self.names.colours)?;
        self.needs(",")?;
        let region = self.name("region", self.names.regions)?;
        self.needs(")")?;
        Ok(if word == "share" { Measure::Share { colour, region } } else { Measure::De00 { colour, region } })
    }

    /// The index of a name.
    fn name(&mut self, what: &str, names: &[&str]) -> Result<u8, ParseError> {
        let word = self.word();
        match names.iter().zip(0u8..).find(|(name, _)| **name == word) {
            Some((_, index)) => {
                self.at += word.len();
                Ok(index)
            }
            None if names.is_empty() => Err(self.refuse(&format!("the name of a {what}, but there is no [[{what}]]"))),
            None => Err(self.refuse(&format!("the name of a {what} ({})", names.join(", ")))),
        }
    }

    fn relation(&mut self) -> Result<Relation, ParseError> {
        let all = [("<=", Relation::AtMost), (">=", Relation::AtLeast), ("<", Relation::Below), (">", Relation::Above)];
        let found = all.into_iter().find(|(mark, _)| self.takes(mark));
        found.map(|(_, relation)| relation).ok_or_else(|| self.refuse("<, <=, > or >="))
    }

    fn number(&mut self) -> Result<f64, ParseError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(rest.len());
        let digits = rest.get(..end).unwrap_or("");
        let number = digits.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| self.refuse("a number, such as 0.02"))?;
        self.at += end;
        Ok(number)
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
