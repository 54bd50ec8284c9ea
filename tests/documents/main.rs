//! Rules for README.md and deploy/docs: what they name exists, and every configuration key is explained.
//!
//! Commands are checked against the programs' own command lines (clap), keys against the programs' own lists, files and
//! scripts against the repository. Nothing is started. Each rule is also run on a planted violation, which it must find.

#![allow(clippy::unwrap_used, clippy::panic)]

mod commands;
mod markdown;
mod references;

use commands::Programs;
use harness::root;
use markdown::Document;
use std::collections::BTreeSet;

/// Words that README.md may have: it is read in five to ten minutes.
const README_WORDS_MAX: usize = 1_330;

fn documents() -> Vec<Document> {
    let root = root();
    let mut paths = vec!["README.md".to_owned()];
    let entries = std::fs::read_dir(root.join("deploy/docs")).unwrap().map(Result::unwrap);
    paths.extend(entries.map(|e| format!("deploy/docs/{}", e.file_name().to_string_lossy())));
    paths.sort();
    paths.iter().map(|p| Document::new(p, &std::fs::read_to_string(root.join(p)).unwrap())).collect()
}

/// Every key of the three programs, as `section.key`, and the program that has it.
fn keys() -> Vec<(&'static str, &'static str)> {
    let edge = hueflow_edge::config::KEYS.iter().map(|k| ("hueflow-edge", k.name));
    let bridge = hueflow_bridge::config::BRIDGE_KEYS.iter().map(|k| ("hueflow-bridge", k.name));
    let metrics = hueflow_bridge::config::METRICS_KEYS.iter().map(|k| ("hueflow-metrics", k.name));
    edge.chain(bridge).chain(metrics).collect()
}

/// What is wrong with the TOML in a document: syntax, or keys that no one program has.
fn wrong_toml(document: &Document) -> Vec<String> {
    let programs = ["hueflow-edge", "hueflow-bridge", "hueflow-metrics"];
    let mut wrong = Vec::new();
    for fence in document.fences.iter().filter(|f| f.language == "toml") {
        let named = match references::toml_keys(&fence.text) {
            Ok(named) => named,
            Err(e) => {
                wrong.push(format!("{}:{}: {e}", document.path, fence.line));
                continue;
            }
        };
        let unknown = |program: &str| -> Vec<String> {
            named.iter().filter(|k| !keys().contains(&(program, k))).cloned().collect()
        };
        let best = programs.map(unknown).into_iter().min_by_key(Vec::len).unwrap();
        if !best.is_empty() {
            wrong.push(format!("{}:{}: no program has all of these keys: {best:?}", document.path, fence.line));
        }
    }
    wrong
}

/// What is wrong with the keys in code spans, such as `spool.dir`.
fn wrong_spans(document: &Document) -> Vec<String> {
    let known: BTreeSet<&str> = keys().iter().map(|(_, k)| *k).collect();
    let named = document.spans.iter().filter_map(|(line, text)| Some((line, references::key_in_span(text, &known)?)));
    named
        .filter(|(_, key)| !known.contains(key.as_str()))
        .map(|(line, key)| format!("{}:{line}: no program has the key {key}", document.path))
        .collect()
}

/// Keys that no document in `documents` explains.
fn undocumented(documents: &[Document]) -> Vec<String> {
    let mut named: BTreeSet<String> = BTreeSet::new();
    for document in documents {
        named.extend(document.spans.iter().map(|(_, text)| text.clone()));
        let blocks = document.fences.iter().filter(|f| f.language == "toml");
        named.extend(blocks.flat_map(|f| references::toml_keys(&f.text).unwrap_or_default()));
    }
    let missing = keys().into_iter().filter(|(_, key)| !named.contains(*key));
    missing.map(|(program, key)| format!("no document in deploy/docs names {key} of {program}")).collect()
}

/// What is wrong with a document's commands, scripts, files, options and links.
fn wrong_commands(document: &Document) -> Vec<String> {
    let programs = Programs::new();
    let mut wrong = Vec::new();
    for fence in document.fences.iter().filter(|f| f.language == "sh") {
        for (line, command) in commands::simple_commands(&fence.text) {
            let found = programs.check(&command).and_then(|()| references::check_script(&command));
            if let Err(e) = found {
                wrong.push(format!("{}:{}: {}: {e}", document.path, fence.line + line, command.join(" ")));
            }
        }
    }
    for (line, text) in &document.spans {
        for (_, command) in commands::simple_commands(text) {
            let found = programs.check_names(&command).and_then(|()| references::check_script(&command));
            if let Err(e) = found {
                wrong.push(format!("{}:{line}: `{text}`: {e}", document.path));
            }
        }
    }
    wrong
}

fn all(check: impl Fn(&Document) -> Vec<String>) {
    let documents = documents();
    assert!(documents.len() > 5, "deploy/docs was not read");
    let wrong: Vec<String> = documents.iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_in_the_documents_is_one_that_the_programs_and_scripts_take() {
    all(wrong_commands);
}

#[test]
fn every_configuration_key_in_the_documents_is_known() {
    all(wrong_toml);
    all(wrong_spans);
}

#[test]
fn every_configuration_key_is_explained_in_deploy_docs() {
    let documents: Vec<Document> = documents().into_iter().filter(|d| d.path.starts_with("deploy/docs/")).collect();
    let missing = undocumented(&documents);
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_link_in_the_documents_leads_to_a_file() {
    let broken = |d: &Document| references::broken_links(d, &root());
    all(broken);
    for path in ["ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        assert_eq!(broken(&Document::new(path, &text)), Vec::<String>::new());
    }
}

#[test]
fn files_that_architecture_names_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing = references::missing_files(&Document::new("ARCHITECTURE.md", &text), &root());
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let planted = Document::new("ARCHITECTURE.md", "See `edge/src/nowhere.rs` and `edge/src/see.rs`.");
    assert_eq!(references::missing_files(&planted, &root()), ["ARCHITECTURE.md:1: there is no edge/src/nowhere.rs"]);
}

#[test]
fn constants_that_architecture_names_are_in_the_files_it_names() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let document = Document::new("ARCHITECTURE.md", &text);
    let missing = references::missing_constants(&document, &root());
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let planted = Document::new("ARCHITECTURE.md", "| See | `edge/src/parcel.rs` `PARCELS_MAX`, `CRATES_MAX` | 8 |");
    assert_eq!(
        references::missing_constants(&planted, &root()),
        ["ARCHITECTURE.md:1: edge/src/parcel.rs has no constant CRATES_MAX"]
    );
}

#[test]
fn the_readme_is_short() {
    let words = std::fs::read_to_string(root().join("README.md")).unwrap().split_whitespace().count();
    assert!(words <= README_WORDS_MAX, "README.md has {words} words; move details to deploy/docs");
}

#[test]
fn planted_violations_are_found() {
    let sh = |line: &str| Document::new("planted.md", &format!("Text.\n\n```sh\n{line}\n```\n"));
    let right = [
        "hueflow-edge run --display none # --nothing",
        "cat tests/golden/china.png | hueflow-edge cluster - --json",
        "sudo hueflow-edge doctor --write && hueflow-bridge doctor",
        "deploy/kafka/start 3.4 --port 9092",
        "for l in 20 50; do\n  hueflow-edge cluster tests/golden/china.png --lambda $l\ndone",
    ];
    for line in right {
        assert_eq!(wrong_commands(&sh(line)), Vec::<String>::new(), "{line}");
    }
    let wrong = [
        ("hueflow-edge runs", "unrecognized subcommand"),
        ("hueflow-edge run --dislay none", "unexpected argument"),
        ("hueflow-metrics video --out x/", "required arguments"),
        ("hueflow-edge cluster photo.png", "there is no photo.png"),
        ("hueflow-metrics silhouette --image photo.png --labels l.png", "there is no photo.png"),
        ("deploy/kafka/run", "there is no deploy/kafka/run"),
        ("./deploy/demo --fast", "has no option --fast"),
        ("hueflow-edge run --source file:tests/golden/none.png", "there is no tests/golden/none.png"),
        ("hueflow-what", "there is no such program"),
    ];
    for (line, error) in wrong {
        let found = wrong_commands(&sh(line));
        assert!(found.len() == 1 && found[0].contains(error) && found[0].contains("planted.md:4"), "{line}: {found:?}");
    }
    let span = |text: &str| Document::new("planted.md", &format!("A `{text}` b."));
    assert_eq!(wrong_commands(&span("hueflow-bridge dlq replay")), Vec::<String>::new());
    assert_eq!(wrong_commands(&span("hueflow-bridge dlq again")).len(), 1);
    assert_eq!(wrong_commands(&span("hueflow-bridge run --standing")).len(), 1);
    assert_eq!(wrong_commands(&span("--standing")).len(), 1);
    assert_eq!(wrong_spans(&span("spool.dir")), Vec::<String>::new());
    assert_eq!(wrong_spans(&span("spool.directory")).len(), 1);
    let toml = |text: &str| Document::new("planted.md", &format!("```toml\n{text}\n```"));
    assert_eq!(wrong_toml(&toml("[[mask]]\nrect = [0, 0, 1, 1]\n[camera]\nfps = 3")), Vec::<String>::new());
    assert_eq!(wrong_toml(&toml("[camera]\nspeed = 3")).len(), 1);
    assert_eq!(wrong_toml(&toml("[camera]\nfps = 3\n[store]\nfile = 'x'")).len(), 1, "keys of two programs");
    assert_eq!(wrong_toml(&toml("camera")).len(), 1);
    let without = [Document::new("planted.md", "`spool.dir`")];
    assert_eq!(undocumented(&without).len(), keys().len() - 1);
    let links = Document::new("planted.md", "[a](README.md) [b](nothing.md) [c](#planted)\n## Planted");
    assert_eq!(references::broken_links(&links, &root()), ["planted.md:1: nothing.md leads nowhere"]);
}
