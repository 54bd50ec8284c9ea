//! `doctor`: whether the edge can use this machine. One line a check: ok, or what is wrong and what to type.
//!
//! The input is a configuration; the results are lines on standard output, and the exit code. What the edge would use is only
//! read, and the broker is asked with a client id of its own. Only `--write` changes anything: it writes one file.

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
use crate::exit::Failure;
use crate::output;
use ::host::check::{self, Line};
use host::Host;

/// Checks this machine, after writing a configuration if that is asked for.
///
/// # Errors
/// [`Failure`] if something necessary is wrong, or the configuration cannot be written.
pub fn run(config: Result<Config, Failure>, write: Option<&Write>) -> Result<(), Failure> {
    let host = Host::this();
    let mut config = match config {
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
        let (line, written) = write.found(&host, &config)?;
        lines.push(line);
        // The other checks are about the file that is there now.
        config = written.unwrap_or(config);
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
    match check::verdict(lines) {
        None => Ok(()),
        Some((code, text)) => Err(Failure::new(code, anyhow::anyhow!("{text}"))),
    }
}

#[cfg(test)]
mod tests;
