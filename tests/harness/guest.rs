//! A Pi-like arm64 machine under QEMU, with a real kernel's camera and display, that runs one script and ends.
//!
//! The caller names the script, its variables and its files. A running guest gives its console, what is on its screen, and
//! the files it leaves. It is one QEMU process; kernel and edge come from the cache. Waits have limits, and the only port
//! of this machine that the guest reaches is the broker's.

use crate::glass::Glass;
use crate::process::{Running, wait_for};
use crate::root;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

/// Room for what a guest leaves.
const LEFT_BYTES: u64 = 256 << 20;
/// How long QEMU may take to answer.
const QMP_LIMIT: Duration = Duration::from_secs(30);

/// The display that a guest has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Display {
    /// None.
    #[default]
    None,
    /// A screen of so many pixels, at `/dev/fb0`.
    Screen(u32, u32),
    /// Lines from `/dev/spidev0.0` and `/dev/gpiochip0` to a glass of so many pixels.
    Wires(usize, usize),
}

/// What a guest is to do, and with what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// A file of `tests/guest`.
    pub job: &'a str,
    /// What the script reads as `hueflow.NAME=VALUE`.
    pub facts: &'a [(&'a str, String)],
    /// A folder whose files are a tar at `/dev/vda`; what it writes as a tar to `/dev/vdb` is what it leaves.
    pub files: Option<&'a Path>,
    /// Its display.
    pub display: Display,
}

/// A guest under way.
pub struct Guest {
    process: Running,
    dir: PathBuf,
    tty: Option<UnixStream>,
    glass: Option<JoinHandle<Glass>>,
}

impl Guest {
    /// Builds what it boots and starts it.
    pub fn boot(dir: &Path, setup: &Setup<'_>) -> Guest {
        let made = Command::new(root().join("tests/guest/prepare")).output().expect("tests/guest/prepare");
        assert!(made.status.success(), "tests/guest/prepare: {}", String::from_utf8_lossy(&made.stderr));
        let cache = PathBuf::from(String::from_utf8_lossy(&made.stdout).trim().to_string());
        let facts: String = setup.facts.iter().map(|(name, value)| format!(" hueflow.{name}={value}")).collect();
        let mut qemu = Command::new("qemu-system-aarch64");
        qemu.args(["-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1G", "-accel", "tcg,thread=multi"]);
        qemu.arg("-kernel").arg(cache.join("vmlinuz")).arg("-initrd").arg(cache.join("initrd.zst"));
        qemu.arg("-append").arg(format!(
            "console=ttyAMA0 quiet loglevel=4 rdinit=/init panic=-1 vt.global_cursor_default=0 hueflow.job={}{facts}",
            setup.job
        ));
        qemu.args(["-display", "none", "-monitor", "none", "-no-reboot"]);
        let socket = |name: &str| format!("{},server=on,wait=off", dir.join(name).display());
        qemu.arg("-qmp").arg(format!("unix:{}", socket("qmp")));
        let log = dir.join("console.log");
        qemu.arg("-chardev").arg(format!("socket,id=tty,path={},logfile={}", socket("tty"), log.display()));
        qemu.args(["-serial", "chardev:tty"]);
        if let Some(files) = setup.files {
            let (given, left) = (dir.join("given.tar"), dir.join("left.tar"));
            let tar = Command::new("tar").arg("-C").arg(files).arg("-cf").arg(&given).arg(".").status();
            assert!(tar.is_ok_and(|s| s.success()), "tar");
            std::fs::File::create(&left).and_then(|f| f.set_len(LEFT_BYTES)).expect("a file for what it leaves");
            for (id, path) in [("given", given), ("left", left)] {
                qemu.arg("-drive").arg(format!("if=none,format=raw,id={id},file={}", path.display()));
                qemu.arg("-device").arg(format!("virtio-blk-pci,drive={id}"));
            }
        }
        let mut glass = None;
        match setup.display {
            Display::None => {
                qemu.args(["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]);
            }
            Display::Screen(width, height) => {
                let screen = format!("virtio-gpu-pci,xres={width},yres={height}");
                qemu.args([
                    "-netdev",
                    "user,id=n0",
                    "-device",
                    "virtio-net-pci,netdev=n0,romfile=",
                    "-device",
                    &screen,
                ]);
            }
            Display::Wires(width, height) => {
                // What the lines do goes through a pipe: it is hundreds of megabytes.
                let wires = dir.join("wires");
                let made = Command::new("mkfifo").arg(&wires).status();
                assert!(made.is_ok_and(|s| s.success()), "mkfifo");
                qemu.args(["-nic", "none", "-trace", "pl061_set_output", "-D"]).arg(&wires);
                qemu.arg("-dtb").arg(cache.join("virt.dtb"));
                glass = Some(std::thread::spawn(move || Glass::watch(&wires, width, height)));
            }
        }
        Guest { process: Running::start("guest", dir, &mut qemu), dir: dir.to_path_buf(), tty: None, glass }
    }

    /// What it has written on its console.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("console.log")).unwrap_or_default()).replace('\r', "")
    }

    /// Waits until there is a line with `text` on its console, and gives it.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        wait_for(&format!("{text:?} on the guest's console"), limit, || {
            let console = self.console();
            assert!(self.process.is_running(), "it ended before it printed {text:?}\n{console}");
            // A line is one when it has ended.
            let whole = &console[..console.rfind('\n').unwrap_or(0)];
            whole.lines().find(|l| l.contains(text)).map(str::to_string)
        })
    }

    /// Tells its script, which reads a line of its console, to go on.
    pub fn go_on(&mut self) {
        if self.tty.is_none() {
            let tty = UnixStream::connect(self.dir.join("tty")).expect("its console");
            let mut reads = tty.try_clone().expect("a second handle");
            // Its output is in the log; here it only has to end, until QEMU hangs up.
            std::thread::spawn(move || std::io::copy(&mut reads, &mut std::io::sink()));
            self.tty = Some(tty);
        }
        self.tty.as_mut().expect("its console").write_all(b"go\n").expect("its console takes a word");
    }

    /// Writes what is on its screen now to `path`, as PNG.
    pub fn screendump(&self, path: &Path) {
        self.call(&json!({"execute": "screendump", "arguments": {"filename": path, "format": "png"}}));
    }

    /// From now on what its wires do is not recorded any more: that costs most of their time.
    pub fn stop_record(&self) {
        let arguments = json!({"name": "pl061_set_output", "enable": false});
        self.call(&json!({"execute": "trace-event-set-state", "arguments": arguments}));
    }

    /// Has QEMU do something.
    fn call(&self, what: &Value) {
        let mut socket = UnixStream::connect(self.dir.join("qmp")).expect("QEMU's socket");
        socket.set_read_timeout(Some(QMP_LIMIT)).expect("a time-out");
        let mut answers = BufReader::new(socket.try_clone().expect("a second handle"));
        for call in [&json!({"execute": "qmp_capabilities"}), what] {
            writeln!(socket, "{call}").expect("QEMU takes a call");
            loop {
                let mut line = String::new();
                assert!(answers.read_line(&mut line).expect("QEMU answers") > 0, "QEMU hung up");
                let answer: Value = serde_json::from_str(&line).expect("JSON");
                assert!(answer.get("error").is_none(), "{call}: {answer}");
                // Its greeting and its events are none.
                if answer.get("return").is_some() {
                    break;
                }
            }
        }
    }

    /// Unpacks what it has left so far into `dir`.
    pub fn left(&self, dir: &Path) {
        std::fs::create_dir_all(dir).expect("a folder");
        let tar = Command::new("tar").arg("-C").arg(dir).arg("-xmf").arg(self.dir.join("left.tar")).status();
        assert!(tar.is_ok_and(|s| s.success()), "what the guest left is no tar\n{}", self.console());
    }

    /// Waits until it has switched itself off, and gives its console.
    pub fn wait(&mut self, limit: Duration) -> String {
        let code = self.process.wait(limit);
        let console = self.console();
        assert!(code == 0, "QEMU ended with {code}: {}\n{console}", self.process.stderr());
        console
    }

    /// What the wires did, once it has ended.
    pub fn glass(&mut self) -> Glass {
        self.glass.take().expect("a guest with wires").join().expect("the wires could be read")
    }
}
