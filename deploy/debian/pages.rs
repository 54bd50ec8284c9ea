//! Writes a program's manual page and its completions for three shells, from the command line's own definition.
//!
//! The inputs are a clap command and the sections that the definition does not know. The results are `NAME.1`, `NAME.bash`,
//! `_NAME` and `NAME.fish` in the given folder. Options, values and defaults are clap's, so the page cannot differ from the
//! program.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::{Man, roff};
use std::io::Result;
use std::path::Path;

/// Writes the page and the completions of `command` into `dir`; `sections` are roff, for the page's end.
pub fn write(command: Command, sections: &str, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let name = command.get_name().to_owned();
    std::fs::write(dir.join(format!("{name}.1")), page(quiet(command.clone()), sections)?)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), &name, dir)?;
    }
    Ok(())
}

/// Without `help` and `--help` at every turn: the page names them once.
fn quiet(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let mut command = command.disable_help_subcommand(true).disable_help_flag(true);
    for name in names {
        command = command.mut_subcommand(name, quiet);
    }
    command
}

fn page(mut command: Command, sections: &str) -> Result<Vec<u8>> {
    command.build();
    let man = Man::new(command.clone()).manual("Hueflow");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    out.extend(b".SH SYNOPSIS\n");
    for sub in command.get_subcommands() {
        let usage = sub.clone().render_usage().to_string();
        let mut line = roff::Roff::new();
        line.text([roff::roman(usage.trim_start_matches("Usage: "))]).control("br", []);
        line.to_writer(&mut out)?;
    }
    let mut line = roff::Roff::new();
    line.text([roff::bold(command.get_name()), roff::roman(" [COMMAND] --help | --version")]);
    line.to_writer(&mut out)?;
    out.extend(b".SH COMMANDS\n");
    let mut seen: Vec<(&str, Vec<String>)> = Vec::new();
    for sub in command.get_subcommands() {
        let mut head = roff::Roff::new();
        head.control("SS", [sub.get_name()]);
        head.text([roff::roman(sub.get_about().map(|a| full_stop(&a.to_string())).unwrap_or_default())]);
        // Some commands take what another takes: that is mentioned, not repeated.
        let arguments: Vec<String> = sub.get_arguments().map(|a| format!("{a} {:?}", a.get_help())).collect();
        let same = seen.iter().find(|(_, a)| !a.is_empty() && *a == arguments);
        if let Some((as_in, _)) = same {
            head.text([roff::roman("It takes the options of "), roff::bold(*as_in), roff::roman(".")]);
        }
        head.to_writer(&mut out)?;
        if same.is_none() {
            let mut options = Vec::new();
            Man::new(sub.clone()).render_options_section(&mut options)?;
            body(&options, &mut out);
            seen.push((sub.get_name(), arguments));
        }
    }
    out.extend(sections.trim_start().bytes());
    Ok(out)
}

/// A section without its heading, and without roff's preamble.
fn body(section: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(section);
    let lines = text.lines().filter(|l| ![".SH", ".ie", ".el"].iter().any(|no| l.starts_with(no)));
    lines.for_each(|l| out.extend(format!("{l}\n").bytes()));
}

fn full_stop(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}
