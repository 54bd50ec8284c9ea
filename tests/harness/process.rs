//! One started program: its output goes to files, and it is stopped when it goes out of scope.
//!
//! A [`Running`] gives the program's exit and its output so far, and can kill it. Nothing waits without a limit.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// How long a program may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Waits until `condition` gives something, and fails the test with `what` after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < limit, "{what} did not come within {limit:?}");
        std::thread::sleep(POLL);
    }
}

/// The path of one of our programs, beside the test's own folder, or beside the test where that is a program itself.
pub fn bin(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the test's own path");
    let dir = own.parent().expect("target/<profile>");
    let dir = if dir.ends_with("deps") { dir.parent().expect("target/<profile>") } else { dir };
    let path = dir.join(name);
    assert!(path.exists(), "{} is not built: run ./tests/run", path.display());
    path
}

/// A program under way.
pub struct Running {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`; its standard output and error go to `name.out` and `name.err` in `dir`.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> Running {
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let file = |path: &Path| File::options().create(true).append(true).open(path).expect("a log file");
        let child = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).spawn();
        let child = child.unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Running { name: name.to_string(), child, out, err, ended: None }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process ids of those that it has started itself, and that still run.
    pub fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|p| p.parse().ok()).collect()
    }

    /// Bytes of memory that it has resident; 0 if it has ended.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Where its standard error goes.
    pub fn log(&self) -> &Path {
        &self.err
    }

    /// What it wrote on standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// What it wrote on standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Waits until its output (either) has `text`, and gives the line.
    pub fn wait_for_line(&self, text: &str, limit: Duration) -> String {
        wait_for(&format!("{text:?} from {} (see {})", self.name, self.err.display()), limit, || {
            let both = self.stdout() + &self.stderr();
            both.lines().find(|l| l.contains(text)).map(str::to_string)
        })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits for its end and gives its exit code.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        let what = format!("the end of {}; its last words: {}", self.name, last_lines(&self.stderr()));
        let start = Instant::now();
        while self.poll().is_none() {
            assert!(start.elapsed() < limit, "{what} did not come within {limit:?}\n{}", last_lines(&self.stderr()));
            std::thread::sleep(POLL);
        }
        self.ended.and_then(|s| s.code()).unwrap_or(-1)
    }

    /// Sends a signal by name ("TERM", "KILL", "STOP", "CONT").
    pub fn signal(&mut self, name: &str) {
        if self.poll().is_none() {
            // A process that ends at this very moment is no failure.
            let _ = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        }
    }

    /// Stops it as a user would, and gives its exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal("TERM");
        self.wait(STOP_LIMIT)
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("\n")
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.poll().is_some() {
            return;
        }
        self.signal("TERM");
        // One that a test has stopped does not receive it.
        self.signal("CONT");
        let start = Instant::now();
        while self.poll().is_none() && start.elapsed() < STOP_LIMIT {
            std::thread::sleep(POLL);
        }
        if self.ended.is_none() {
            self.kill();
        }
    }
}
