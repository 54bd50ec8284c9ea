//! Guest: a Pi-like arm64 machine under QEMU, with a real kernel's camera, that runs one script and ends.
//!
//! Takes the script's name and what it is to know. Gives the machine under way, and its console.
//! Touches one QEMU process, and the cache where kernel and edge lie.
//! Never a wait without a limit, and never a port of this machine but the broker's.

use crate::process::Running;
use crate::root;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A guest under way.
pub struct Guest {
    process: Running,
    console: PathBuf,
}

impl Guest {
    /// Builds what it boots and starts it; `job` is a file of `tests/guest`, `facts` are `hueflow.NAME=VALUE`.
    pub fn boot(dir: &Path, job: &str, facts: &[(&str, String)]) -> Guest {
        let made = Command::new(root().join("tests/guest/prepare")).output().expect("tests/guest/prepare");
        assert!(made.status.success(), "tests/guest/prepare: {}", String::from_utf8_lossy(&made.stderr));
        let cache = PathBuf::from(String::from_utf8_lossy(&made.stdout).trim().to_string());
        let console = dir.join("console.log");
        let facts: String = facts.iter().map(|(name, value)| format!(" hueflow.{name}={value}")).collect();
        let mut qemu = Command::new("qemu-system-aarch64");
        qemu.args(["-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1G", "-accel", "tcg,thread=multi"]);
        qemu.arg("-kernel").arg(cache.join("vmlinuz")).arg("-initrd").arg(cache.join("initrd.zst"));
        qemu.arg("-append")
            .arg(format!("console=ttyAMA0 quiet loglevel=4 rdinit=/init panic=-1 hueflow.job={job}{facts}"));
        qemu.args(["-display", "none", "-monitor", "none", "-no-reboot", "-serial"]);
        qemu.arg(format!("file:{}", console.display()));
        qemu.args(["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]);
        Guest { process: Running::start("guest", dir, &mut qemu), console }
    }

    /// What it has written on its console.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.console).unwrap_or_default()).replace('\r', "")
    }

    /// Waits until it has switched itself off, and gives its console.
    pub fn wait(&mut self, limit: Duration) -> String {
        let code = self.process.wait(limit);
        let console = self.console();
        assert!(code == 0, "QEMU ended with {code}: {}\n{console}", self.process.stderr());
        console
    }
}
