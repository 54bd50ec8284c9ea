//! Doctor: what of this machine the edge can use, one line a check: ok, or what is wrong and what to type.
//!
//! Takes a configuration. Gives lines on standard output, and the exit code.
//! Touches what the edge would touch, read only; asks the broker under a name of its own.
//! Never changes anything, but for `--write`, which writes one file.

mod broker;
mod camera;
mod display;
mod groups;
mod host;
mod machine;
mod spool;
mod write;

pub use write::Write;

use crate::config::Config;
use crate::exit::{Failure, Reason};
use crate::output;
use host::Host;
use std::fmt;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or not for ever.
    Warning,
    /// Something that is needed is not there.
    Wrong,
    /// The configuration says what cannot be.
    Misconfigured,
}

/// One check's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    check: &'static str,
    state: State,
    what: String,
    /// What to type.
    advice: String,
}

impl Line {
    fn new(check: &'static str, state: State, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line { check, state, what: what.into(), advice: advice.into() }
    }

    fn ok(check: &'static str, what: impl Into<String>) -> Line {
        Line::new(check, State::Ok, what, "")
    }

    fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line::new(check, State::Warning, what, advice)
    }

    fn wrong(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line::new(check, State::Wrong, what, advice)
    }

    fn misconfigured(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Line {
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
        // One line, whatever a driver or a broker has said.
        let what: String = self.what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "{word:<8} {:<8} {what}", self.check)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "  -> {}", self.advice) }
    }
}

/// Checks this machine, after writing a configuration if that is asked for.
///
/// # Errors
/// [`Failure`] if something necessary is wrong, or the configuration cannot be written.
pub fn run(config: Result<Config, Failure>, write: Option<&Write>) -> Result<(), Failure> {
    let host = Host::this();
    let config = match config {
        Ok(config) => config,
        Err(failure) => {
            let advice =
                "put it right; hueflow-edge print-config --all shows every key; the other checks come after that";
            output::write(&format!("{}\n", Line::misconfigured("config", failure.to_string(), advice)))?;
            return Err(failure);
        }
    };
    let mut lines = Vec::new();
    if let Some(write) = write {
        lines.push(write.found(&host, &config)?);
    }
    lines.extend(look(&host, &config));
    output::write(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    verdict(&lines)
}

/// All checks.
fn look(host: &Host, config: &Config) -> Vec<Line> {
    let mut lines = vec![machine::configuration(config)];
    lines.extend(camera::check(host, config));
    lines.extend(display::check(host, config));
    lines.extend(groups::check(host));
    lines.extend(broker::check(host, config));
    lines.push(machine::clock(host));
    lines.push(spool::check(host, config));
    lines.push(machine::memory(host, config));
    lines
}

fn verdict(lines: &[Line]) -> Result<(), Failure> {
    let has = |state| lines.iter().filter(|l| l.state == state).count();
    let (wrong, misconfigured) = (has(State::Wrong), has(State::Misconfigured));
    let reason = match (wrong, misconfigured) {
        (0, 0) => return Ok(()),
        (0, _) => Reason::Config,
        _ => Reason::Unavailable,
    };
    let checks: Vec<&str> =
        lines.iter().filter(|l| matches!(l.state, State::Wrong | State::Misconfigured)).map(|l| l.check).collect();
    Err(Failure::new(reason, anyhow::anyhow!("not well: {}", checks.join(", "))))
}

#[cfg(test)]
mod tests;
