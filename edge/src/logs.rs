//! Logs on standard error, held back while a picture fills the terminal.
//!
//! Inputs are log records; the result is lines on standard error, at once or when the terminal is free again. At most the last
//! `HELD_LINES_MAX` lines are held. Standard output is for data and gets none.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Lines kept while the terminal shows a picture; beyond that the oldest goes.
pub const HELD_LINES_MAX: usize = 200;

static HELD: Mutex<Held> = Mutex::new(Held { on: false, status: false, lines: VecDeque::new(), dropped: 0 });

/// Back to the line's beginning, and clear it.
const CLEAR_LINE: &[u8] = b"\r\x1b[K";

struct Held {
    on: bool,
    /// The cursor stands behind a status line.
    status: bool,
    lines: VecDeque<Vec<u8>>,
    dropped: u64,
}

struct Gate;

impl Write for Gate {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.on {
            let mut err = io::stderr().lock();
            if std::mem::take(&mut held.status) {
                err.write_all(CLEAR_LINE)?;
            }
            return err.write(line);
        }
        if held.lines.len() == HELD_LINES_MAX {
            held.lines.pop_front();
            held.dropped += 1;
        }
        held.lines.push_back(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts logging; `RUST_LOG` decides what is logged, else `info` and above.
pub fn start() {
    let env = env_logger::Env::default().default_filter_or("info,rumqttc=off");
    // A second start (in tests) is harmless.
    let _ = env_logger::Builder::from_env(env).target(env_logger::Target::Pipe(Box::new(Gate))).try_init();
}

/// Holds lines back (the terminal shows a picture), or lets them out again.
pub fn hold(on: bool) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.on = on;
    if !on {
        let mut err = io::stderr().lock();
        if held.dropped > 0 {
            let _ = writeln!(err, "({} earlier lines were not kept)", held.dropped);
            held.dropped = 0;
        }
        for line in held.lines.drain(..) {
            let _ = err.write_all(&line);
        }
    }
}

/// Shows `text` in the last line, in place of the one before; with none, clears it.
pub fn status(text: Option<&str>) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.on || (text.is_none() && !held.status) {
        return;
    }
    held.status = text.is_some();
    let mut err = io::stderr().lock();
    let _ = err.write_all(CLEAR_LINE);
    let _ = err.write_all(text.unwrap_or("").as_bytes());
    let _ = err.flush();
}
