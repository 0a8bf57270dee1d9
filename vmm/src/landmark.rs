//! Recognises how far the guest has come from what its consoles print.
//!
//! Called for every byte on the thread that wrote it, so it keeps one line in a fixed buffer and
//! looks at it only when the line ends or a prompt could be complete.

use crate::event::{EventSender, Landmark, MachineEvent};

/// The longest prefix of a line that is looked at.
const LINE: usize = 256;

/// What to look for, in the order in which they come.
const PATTERNS: [(Landmark, &[u8]); 5] = [
    (Landmark::Kernel, b"Linux version "),
    (Landmark::Init, b"Run /"),
    (Landmark::Userspace, b"systemd["),
    (Landmark::Login, b"login: "),
    (Landmark::Panic, b"Kernel panic - not syncing"),
];

/// A watcher of one console's output.
#[derive(Debug)]
pub(crate) struct LandmarkScanner {
    events: EventSender,
    line: [u8; LINE],
    len: usize,
    seen: [bool; PATTERNS.len()],
}

impl LandmarkScanner {
    /// A scanner that reports each landmark once.
    #[must_use]
    pub(crate) fn new(events: EventSender) -> Self {
        Self {
            events,
            line: [0; LINE],
            len: 0,
            seen: [false; PATTERNS.len()],
        }
    }

    /// Takes the console's next bytes.
    pub(crate) fn scan(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.check();
                self.len = 0;
                continue;
            }
            if let Some(slot) = self.line.get_mut(self.len) {
                *slot = byte;
                self.len += 1;
                // A prompt ends without a new line.
                if byte == b' ' && self.line[..self.len].ends_with(b"login: ") {
                    self.check();
                }
            }
        }
    }

    fn check(&mut self) {
        let line = self.line.get(..self.len).unwrap_or_default();
        for ((landmark, pattern), seen) in PATTERNS.iter().zip(&mut self.seen) {
            if !*seen && line.windows(pattern.len()).any(|window| window == *pattern) {
                *seen = true;
                self.events.send(MachineEvent::Landmark(*landmark));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::queue;

    fn landmarks(output: &[u8]) -> Vec<MachineEvent> {
        let (sender, receiver) = queue().unwrap();
        let mut scanner = LandmarkScanner::new(sender);
        output.chunks(3).for_each(|chunk| scanner.scan(chunk));
        std::iter::from_fn(|| receiver.take()).collect()
    }

    #[test]
    fn each_landmark_of_a_boot_is_reported_once() {
        let log = b"[    0.000000] Linux version 6.12\r\n[ 0.1] Linux version again\r\n\
            [    0.3] Run /init as init process\r\n[    0.4] systemd[1]: hello\r\npcp-vm login: ";
        let wanted = [
            Landmark::Kernel,
            Landmark::Init,
            Landmark::Userspace,
            Landmark::Login,
        ];
        assert_eq!(landmarks(log), wanted.map(MachineEvent::Landmark));
    }

    #[test]
    fn a_panic_is_seen_and_overlong_lines_do_no_harm() {
        let mut log = vec![b'x'; 10_000];
        log.extend_from_slice(b"\n[ 1.0] Kernel panic - not syncing: VFS\n");
        assert_eq!(landmarks(&log), [MachineEvent::Landmark(Landmark::Panic)]);
    }

    #[test]
    fn a_prompt_is_seen_without_a_new_line() {
        assert_eq!(
            landmarks(b"pcp-vm login: "),
            [MachineEvent::Landmark(Landmark::Login)]
        );
        assert_eq!(landmarks(b"login:"), []);
    }
}
