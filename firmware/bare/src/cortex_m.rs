//! Reset and console of a Cortex-M, by a debugger or by QEMU.
//!
//! Text and the exit code go through the semihosting channel. No peripheral of a particular chip is used.

use super::digest::{Memory, digest};
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hio};

/// The end of a program that cannot go on.
pub fn stop() -> ! {
    loop {
        debug::exit(debug::EXIT_FAILURE);
    }
}

#[entry]
fn start() -> ! {
    let mut console = hio::hstdout().ok();
    // A line at a time: each call stops the machine.
    let (mut line, mut len) = ([0; 128], 0);
    let mut print = |bytes: &[u8]| {
        for &byte in bytes {
            if let Some(slot) = line.get_mut(len) {
                *slot = byte;
                len += 1;
            }
            if byte == b'\n' {
                if let (Some(console), Some(line)) = (&mut console, line.get(..len)) {
                    let _ = console.write_all(line);
                }
                len = 0;
            }
        }
    };
    // Not on the stack: what is static is counted against the memory map when the image is linked.
    let memory = cortex_m::singleton!(: Memory = Memory::EMPTY);
    if memory.and_then(|memory| digest(memory, &mut print)).is_some() {
        debug::exit(debug::EXIT_SUCCESS);
    }
    stop()
}
