//! Headless Chromium on a page, controlled through its DevTools port.
//!
//! A [`Browser`] evaluates expressions on the page and takes screenshots. It owns one Chromium process with a profile of
//! its own. A test waits until the page itself reports that it is ready.

use crate::process::{POLL, Running, wait_for};
use base64::Engine;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

const LIMIT: Duration = Duration::from_secs(60);
/// DevTools keeps connections open; our own page closes them, and may have a silhouette to compute first.
const DEVTOOLS_LIMIT: Duration = Duration::from_secs(2);
const PAGE_LIMIT: Duration = Duration::from_secs(60);
/// Chromium's own processes may write for a moment after the first of them has ended.
const TIDY_LIMIT: Duration = Duration::from_secs(10);

/// Status and body of a GET on our page's server.
pub fn get(page: &str, path: &str) -> (u16, Vec<u8>) {
    ask(page, path, PAGE_LIMIT)
}

fn ask(page: &str, path: &str, limit: Duration) -> (u16, Vec<u8>) {
    let host = page.trim_start_matches("http://").trim_end_matches('/');
    let Ok(mut stream) = TcpStream::connect(host) else { return (0, Vec::new()) };
    let mut bytes = Vec::new();
    let asked = write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    if asked.is_err() || stream.set_read_timeout(Some(limit)).is_err() {
        return (0, bytes);
    }
    // A server that keeps the connection open all the same has sent everything when the time-out comes.
    let _ = stream.read_to_end(&mut bytes);
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |i| i + 4);
    let status = String::from_utf8_lossy(bytes.get(9..12).unwrap_or(b"0")).parse().unwrap_or(0);
    (status, bytes.split_off(head))
}

/// A page in a browser.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    next: u64,
    folders: [PathBuf; 2],
    process: Option<Running>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.process.take());
        let start = Instant::now();
        for folder in &self.folders {
            while folder.exists() && std::fs::remove_dir_all(folder).is_err() && start.elapsed() < TIDY_LIMIT {
                std::thread::sleep(POLL);
            }
        }
    }
}

impl Browser {
    /// Opens `page` in a window of `width` x `height` pixels.
    pub fn open(dir: &Path, page: &str, width: u32, height: u32) -> Browser {
        let program = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(|b| Command::new(b).arg("--version").output().is_ok())
            .expect("chromium: run ./tests/run");
        let profile = dir.join("chromium");
        let temporary = dir.join("chromium-tmp");
        std::fs::create_dir_all(&temporary).expect("a folder for Chromium");
        let mut command = Command::new(program);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--hide-scrollbars", "--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--remote-debugging-port=0", &format!("--window-size={width},{height}")])
            .arg(format!("--user-data-dir={}", profile.display()))
            // It is ended by a signal, and leaves what it has there.
            .env("TMPDIR", &temporary)
            .arg(page);
        let process = Running::start("chromium", dir, &mut command);
        let port = wait_for("Chromium's DevTools port", LIMIT, || {
            let text = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
            text.lines().next()?.parse::<u16>().ok()
        });
        let host = format!("127.0.0.1:{port}");
        let url = wait_for("the page in Chromium", LIMIT, || {
            let (_, body) = ask(&format!("http://{host}/"), "/json/list", DEVTOOLS_LIMIT);
            let targets: Value = serde_json::from_slice(&body).ok()?;
            let of_page = targets.as_array()?.iter().find(|t| t["type"] == "page" && t["url"] == page)?.clone();
            of_page["webSocketDebuggerUrl"].as_str().map(str::to_string)
        });
        let stream = TcpStream::connect(&host).expect("DevTools");
        stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
        let (socket, _) = tungstenite::client(url, stream).expect("a DevTools session");
        Browser { socket, next: 0, folders: [profile, temporary], process: Some(process) }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let text = json!({ "id": self.next, "method": method, "params": params }).to_string();
        self.socket.send(Message::text(text)).expect("DevTools takes a call");
        loop {
            let message = self.socket.read().expect("DevTools answers");
            let Ok(text) = message.to_text() else { continue };
            let answer: Value = serde_json::from_str(text).unwrap_or_default();
            if answer["id"] == self.next {
                return answer["result"].clone();
            }
        }
    }

    /// The value of a JavaScript expression on the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let result = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        result["result"]["value"].clone()
    }

    /// The value of a promise on the page, such as what an asynchronous function gives.
    pub fn resolved(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        self.call("Runtime.evaluate", params)["result"]["value"].clone()
    }

    /// Opens another address, as if it were typed.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// Lets the page save files to `dir`.
    pub fn save_to(&mut self, dir: &Path) {
        self.call("Browser.setDownloadBehavior", json!({ "behavior": "allow", "downloadPath": dir }));
    }

    /// Presses the key Enter, where the focus is.
    pub fn press_enter(&mut self) {
        let key = |kind: &str| json!({ "type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13 });
        self.call("Input.dispatchKeyEvent", key("keyDown"));
        self.call("Input.dispatchKeyEvent", key("keyUp"));
    }

    /// Makes the window as wide and as high as a device, with its system's colours: `dark` or `light`.
    pub fn look_like(&mut self, width: u32, height: u32, scheme: &str) {
        let is_phone = width < 600;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Writes all of the page to `path`, as PNG, also what is below the window.
    pub fn whole_screenshot(&mut self, path: &Path) {
        let result = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let data = result["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        std::fs::write(path, bytes).expect("the screenshot's file");
    }

    /// Waits until an expression is true.
    pub fn wait_until(&mut self, what: &str, expression: &str) {
        wait_for(what, LIMIT, || (self.value(expression) == true).then_some(()));
    }

    /// Writes what the page looks like now to `path`, as PNG.
    pub fn screenshot(&mut self, path: &Path) {
        let result = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = result["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        std::fs::write(path, bytes).expect("the screenshot's file");
    }
}
