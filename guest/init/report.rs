//! What the init has to say, put into the kernel's log so that every console shows it.

use std::fs::OpenOptions;
use std::io::{self, Write};

/// The line that ends a failed start; tests and people can look for it.
const MARKER: &str = "the guest cannot start";

/// Notes `message` in the kernel's log.
pub(crate) fn note(message: &str) {
    // 6 is KERN_INFO; a guest whose log cannot be written starts all the same.
    let _ = log(6, message);
}

/// Reports the failure that ends the start.
pub(crate) fn failure(message: &str) {
    // 2 is KERN_CRIT, which even `quiet` shows.
    if log(2, message).and_then(|()| log(2, MARKER)).is_err() {
        console(message);
        console(MARKER);
    }
}

fn log(level: u8, message: &str) -> io::Result<()> {
    // One write is one record.
    let line = format!("<{level}>pcp-vmm-init: {message}\n");
    OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")?
        .write_all(line.as_bytes())
}

/// Writes `message` to the console that the kernel gave to this process.
pub(crate) fn console(message: &str) {
    let _ = writeln!(io::stderr(), "pcp-vmm-init: {message}");
}
