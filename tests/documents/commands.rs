//! Command lines in documents, checked against the programs' own definitions.
//!
//! [`simple_commands`] takes a shell text apart as far as the documents need it: comments, quotes, pipes, `&&`, loops and
//! assignments. [`Programs`] gives each command to clap, as the program itself does. Variables stay as they are, as values.

use clap::{Command, CommandFactory};

/// The first words of the shell that are not the command.
const BEFORE: [&str; 4] = ["sudo", "do", "then", "exec"];

/// The simple commands of a shell text: for each its line, from 1, and its words without quotes.
pub fn simple_commands(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut commands = Vec::new();
    let (mut words, mut word, mut line, mut first) = (Vec::new(), None::<String>, 1, 1);
    let mut chars = text.chars().chain(['\n']).peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'\n') => {
                chars.next();
                line += 1;
            }
            '\'' | '"' => {
                let quoted: String = chars.by_ref().take_while(|&q| q != c).collect();
                word.get_or_insert_default().push_str(&quoted);
            }
            '#' if word.is_none() => while chars.next_if(|&n| n != '\n').is_some() {},
            ' ' | '\n' | '|' | ';' | '&' => {
                words.extend(word.take());
                if c != ' ' && !words.is_empty() {
                    commands.push((first, std::mem::take(&mut words)));
                }
                line += usize::from(c == '\n');
                if words.is_empty() {
                    first = line;
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    let own = |words: Vec<String>| -> Vec<String> {
        let is_before = |w: &String| BEFORE.contains(&w.as_str()) || is_assignment(w);
        words.into_iter().skip_while(is_before).collect()
    };
    commands.into_iter().map(|(line, words)| (line, own(words))).filter(|(_, words)| !words.is_empty()).collect()
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The three programs' command lines.
pub struct Programs(Vec<Command>);

impl Programs {
    /// As the programs define them.
    pub fn new() -> Programs {
        let (bridge, metrics) = (hueflow_bridge::cli::Bridge::command(), hueflow_bridge::cli::Metrics::command());
        let mut commands = vec![hueflow_edge::cli::command(), bridge, metrics];
        commands.iter_mut().for_each(Command::build);
        Programs(commands)
    }

    fn find(&self, words: &[String]) -> Result<Option<&Command>, String> {
        let Some(name) = words.first().filter(|n| n.starts_with("hueflow-")) else { return Ok(None) };
        let found = self.0.iter().find(|c| c.get_name() == name);
        found.map(Some).ok_or_else(|| "there is no such program".to_owned())
    }

    /// Whether a program takes the whole command line. Commands of others pass.
    pub fn check(&self, words: &[String]) -> Result<(), String> {
        let Some(command) = self.find(words)? else { return Ok(()) };
        match command.clone().try_get_matches_from(words) {
            Ok(_) => Ok(()),
            // Not `hueflow-edge` alone: a document shows what does something.
            Err(e) => Err(e.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    /// Whether the subcommands and options of a command line exist, which may lack required ones. A first word alone, such
    /// as the name of a package, passes; an option alone must be one of any program or script.
    pub fn check_names(&self, words: &[String]) -> Result<(), String> {
        let options = || words.iter().filter(|w| w.starts_with("--")).map(|w| w.split('=').next().unwrap_or(w));
        if words.first().is_some_and(|w| w.starts_with("--")) {
            let known = |option: &str| {
                self.0.iter().any(|c| has_option_below(c, option)) || crate::references::has_script_option(option)
            };
            return options().find(|o| !known(o)).map_or(Ok(()), |o| Err(format!("nothing has an option {o}")));
        }
        if words.len() < 2 {
            return Ok(());
        }
        let Some(mut command) = self.find(words)? else { return Ok(()) };
        for word in words.iter().skip(1).take_while(|w| !w.starts_with("--")) {
            match command.find_subcommand(word) {
                Some(sub) => command = sub,
                None if command.has_subcommands() => return Err(format!("{} has no {word}", command.get_name())),
                None => break,
            }
        }
        let unknown = options().find(|o| !has_option(command, o));
        unknown.map_or(Ok(()), |o| Err(format!("{} has no option {o}", command.get_name())))
    }
}

fn has_option(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|a| a.get_long().is_some_and(|l| option.strip_prefix("--") == Some(l)))
}

fn has_option_below(command: &Command, option: &str) -> bool {
    has_option(command, option) || command.get_subcommands().any(|c| has_option_below(c, option))
}
