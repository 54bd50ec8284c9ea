//! The commands of README.md that end by themselves, run as they stand.
//!
//! Each line of a shell block that clusters or scores files is given to a shell, in order, in a temporary folder that sees
//! the repository's `tests` and `deploy`. What needs a screen, a camera or a fixed port is tested elsewhere.

use harness::{bin, root};
use std::path::Path;
use std::process::Command;

/// How lines begin that are run.
const RUN: [&str; 3] = ["hueflow-edge cluster ", "hueflow-metrics silhouette --image ", "hueflow-metrics compare "];

fn scripts(readme: &str) -> Vec<String> {
    let blocks = readme.split("```sh\n").skip(1).filter_map(|b| b.split("\n```").next());
    blocks.flat_map(str::lines).filter(|l| RUN.iter().any(|r| l.starts_with(r))).map(str::to_owned).collect()
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

#[test]
fn the_readmes_commands_on_files_run_as_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["tests", "deploy"] {
        std::os::unix::fs::symlink(root().join(folder), dir.path().join(folder)).unwrap();
    }
    let programs = bin("hueflow-edge").parent().unwrap().display().to_string();
    assert!(bin("hueflow-metrics").starts_with(&programs));
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let scripts = scripts(&std::fs::read_to_string(root().join("README.md")).unwrap());
    assert!(scripts.len() >= 3, "{scripts:?}");
    for script in &scripts {
        let mut shell = Command::new("sh");
        let output = shell.args(["-ec", script]).current_dir(dir.path()).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    for file in ["recoloured/000000.png", "labels/000000.png", "knife.png", "lambdas.png"] {
        assert!(is_png(&dir.path().join(file)), "{file}");
    }
}
