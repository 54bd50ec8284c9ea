//! What documents refer to outside the programs: files, scripts and their options, links, and configuration keys.
//!
//! Files and scripts are looked up in the repository. An option of a script exists if the script's text has it.

use crate::markdown::Document;
use harness::root;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Scripts that documents name options of.
const SCRIPTS: [&str; 8] = [
    "deploy/demo",
    "deploy/install",
    "deploy/kafka/start",
    "deploy/package",
    "tests/bench/run",
    "tests/chaos",
    "tests/fuzz/run",
    "tests/run",
];
/// Options of cargo that documents name.
const CARGO: [&str; 2] = ["--features", "--release"];
/// Ends of file names that look like a key, such as `metrics.toml`.
const FILE_ENDS: [&str; 8] = ["toml", "sqlite", "db", "svg", "png", "md", "json", "rs"];
/// Options whose value is a file that must be there already.
const INPUTS: [&str; 1] = ["--image"];
/// What stands for a file in documents that is not in the repository.
const PLACEHOLDERS: [&str; 4] = ["-", "FILE", "DIR", "CLIP"];

fn exists(path: &str) -> Result<(), String> {
    // The shell's braces: only the first of their words is looked for.
    let (start, end) = path.split_once('{').unwrap_or((path, ""));
    let (first, end) =
        end.split_once('}').map_or(("", ""), |(words, end)| (words.split(',').next().unwrap_or(""), end));
    let found = root().join(format!("{start}{first}{end}")).exists();
    found.then_some(()).ok_or_else(|| format!("there is no {path}"))
}

/// Whether the script that a command starts exists, is executable and has its options, and the files that it names exist.
pub fn check_script(words: &[String]) -> Result<(), String> {
    for word in words {
        let path = word.strip_prefix("file:").unwrap_or(word);
        let path = path.strip_prefix("./").unwrap_or(path);
        if ["deploy/", "tests/"].iter().any(|folder| path.starts_with(folder)) && !path.contains(['<', '*']) {
            exists(path)?;
        }
    }
    let inputs = words.windows(2).filter(|w| INPUTS.contains(&w[0].as_str())).map(|w| &w[1]);
    inputs.chain(clustered(words)).filter(|i| !PLACEHOLDERS.contains(&i.as_str())).try_for_each(|i| exists(i))?;
    let Some(script) = words.first().map(|w| w.strip_prefix("./").unwrap_or(w)) else { return Ok(()) };
    let path = root().join(script);
    if !script.contains('/') || !path.is_file() || words.len() < 2 {
        return Ok(());
    }
    let mode = path.metadata().map_or(0, |m| m.permissions().mode());
    if mode & 0o111 == 0 {
        return Err(format!("{script} is not executable"));
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let options = words.iter().filter(|w| w.starts_with("--"));
    let mut unknown = options.filter(|o| !has_word(&text, o));
    unknown.next().map_or(Ok(()), |o| Err(format!("{script} has no option {o}")))
}

/// The inputs of `hueflow-edge cluster`: words before its first option.
fn clustered(words: &[String]) -> impl Iterator<Item = &String> {
    let is_cluster = words.len() > 1 && words[0] == "hueflow-edge" && words[1] == "cluster";
    words.iter().skip(2).take_while(move |w| is_cluster && !w.starts_with("--"))
}

/// Whether `text` has `word`, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_end = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '-');
    text.match_indices(word).any(|(i, _)| is_end(text[i + word.len()..].chars().next()))
}

/// Whether a script, or cargo, has the option.
pub fn has_script_option(option: &str) -> bool {
    let has = |script: &&str| has_word(&std::fs::read_to_string(root().join(script)).unwrap_or_default(), option);
    CARGO.contains(&option) || SCRIPTS.iter().any(has)
}

/// The keys that a TOML text sets, as `section.key`; a list of tables is one key.
///
/// # Errors
/// The syntax error of a text that is not TOML.
pub fn toml_keys(text: &str) -> Result<Vec<String>, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
    let keys = table.into_iter().flat_map(|(name, value)| match value {
        toml::Value::Table(section) => section.keys().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name],
    });
    Ok(keys.collect())
}

/// The key that a code span names, such as `spool.dir` or `metrics.listen = "9108"`, if its section is one of `known`.
pub fn key_in_span(text: &str, known: &BTreeSet<&str>) -> Option<String> {
    let key = text.split(" = ").next()?;
    let (section, name) = key.split_once('.')?;
    let is_word = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_key = is_word(section) && is_word(name) && !FILE_ENDS.contains(&name);
    let is_section = known.iter().any(|k| k.split_once('.').is_some_and(|(s, _)| s == section));
    (is_key && is_section).then(|| key.to_owned())
}

/// Links of a document that lead to no file, or to no heading of its own.
pub fn broken_links(document: &Document, root: &Path) -> Vec<String> {
    let folder = root.join(&document.path).parent().map(Path::to_path_buf).unwrap_or_default();
    let is_broken = |target: &str| match target.split_once('#') {
        Some(("", anchor)) => !document.anchors.iter().any(|a| a == anchor),
        Some((file, _)) => !folder.join(file).exists(),
        None => !folder.join(target).exists(),
    };
    let local = document.links.iter().filter(|(_, target)| !target.contains("://"));
    let broken = local.filter(|(_, target)| is_broken(target));
    broken.map(|(line, target)| format!("{}:{line}: {target} leads nowhere", document.path)).collect()
}

/// Source files in a document's code spans that do not exist: paths from the root that begin with a part's folder.
pub fn missing_files(document: &Document, root: &Path) -> Vec<String> {
    let parts = ["firmware/", "edge/", "bridge/", "tests/", "deploy/"];
    let is_path = |text: &str| parts.iter().any(|p| text.starts_with(p)) && !text.contains([' ', '*', '{', '<', ':']);
    let missing = document.spans.iter().filter(|(_, text)| is_path(text) && !root.join(text).exists());
    missing.map(|(line, path)| format!("{}:{line}: there is no {path}", document.path)).collect()
}

/// Constants in a document that are not in the source file named before them on the same line.
pub fn missing_constants(document: &Document, root: &Path) -> Vec<String> {
    let is_constant = |text: &str| text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut missing = Vec::new();
    let mut file = (0, "");
    for (line, text) in &document.spans {
        if text.ends_with(".rs") && root.join(text).is_file() {
            file = (*line, text);
        } else if is_constant(text) && file.0 == *line {
            let source = std::fs::read_to_string(root.join(file.1)).unwrap_or_default();
            if !source.contains(&format!("const {text}:")) {
                missing.push(format!("{}:{line}: {} has no constant {text}", document.path, file.1));
            }
        }
    }
    missing
}
