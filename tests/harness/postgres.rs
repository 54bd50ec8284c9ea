//! A real PostgreSQL for a test, started by `deploy/postgres/start` on a port and a folder of its own.
//!
//! [`Postgres`] can be killed and started again on the same data. [`Postgres::query`] asks by `psql`, as a user would.

use crate::process::{Running, wait_for};
use crate::{free_port, root};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A PostgreSQL on a port of its own.
pub struct Postgres {
    /// Its loopback port.
    pub port: u16,
    /// The script that runs it.
    pub process: Running,
    dir: TempDir,
}

impl Postgres {
    /// Starts one, and waits until it answers.
    pub fn start() -> Postgres {
        let dir = TempDir::with_prefix("hueflow-postgres-").expect("a temporary folder");
        // The server's user is not the tests'.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        let port = free_port();
        let process = Postgres::run(&dir, port);
        let postgres = Postgres { port, process, dir };
        postgres.wait();
        postgres
    }

    fn run(dir: &TempDir, port: u16) -> Running {
        let mut command = Command::new(root().join("deploy/postgres/start"));
        command.args(["--port", &port.to_string(), "--dir"]).arg(dir.path());
        Running::start("postgres", dir.path(), &mut command)
    }

    /// Waits until it answers.
    pub fn wait(&self) {
        wait_for("PostgreSQL to answer", START_LIMIT, || self.ask("SELECT 1").ok());
    }

    /// The file with its user's password.
    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    fn password(&self) -> String {
        std::fs::read_to_string(self.password_file()).unwrap_or_default().trim_end().to_string()
    }

    /// Its URL for our programs, with the password.
    pub fn url(&self) -> String {
        format!("postgres://hueflow:{}@127.0.0.1:{}/hueflow", self.password(), self.port)
    }

    /// Kills it without warning, and waits until the script that ran it has noticed.
    pub fn kill(&mut self) {
        let file = std::fs::read_to_string(self.dir.path().join("data/postmaster.pid")).expect("postmaster.pid");
        let pid = file.lines().next().expect("a process id").to_string();
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
        self.process.wait(START_LIMIT);
    }

    /// Starts it again on the same port and data, after a test killed it. It may not answer yet.
    pub fn restart(&mut self) {
        self.process = Postgres::run(&self.dir, self.port);
    }

    /// Rows of a query, columns with `|` between them.
    ///
    /// # Errors
    /// The output of psql.
    pub fn ask(&self, sql: &str) -> Result<Vec<String>, String> {
        let port = self.port.to_string();
        let mut command = Command::new("psql");
        command.args(["-h", "127.0.0.1", "-p", &port, "-U", "hueflow", "-d", "hueflow", "-qtAX", "-c", sql]);
        let out = command.env("PGPASSWORD", self.password()).output().map_err(|e| format!("psql: {e}"))?;
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).lines().map(str::to_string).collect())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    /// The store's offsets, for [`crate::journal::is_read`].
    pub fn offsets(&self) -> Option<Vec<String>> {
        self.ask("SELECT place, part, next FROM claims WHERE next IS NOT NULL").ok()
    }

    /// The same of a server that answers.
    pub fn query(&self, sql: &str) -> Vec<String> {
        self.ask(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }
}
