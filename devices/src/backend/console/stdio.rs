//! Standard input and output as the outer end of a console, and the terminal's raw mode.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::getpgrp;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr,
    tcgetpgrp, tcsetattr,
};

use super::client::{Client, Kind};

/// Ctrl-], which in raw mode interrupts the VMM; Ctrl-C goes to the guest.
const INTERRUPT_KEY: u8 = 0x1d;
/// `_POSIX_VDISABLE` on Linux.
const NO_KEY: u8 = 0;

/// A terminal in raw mode; as it was again when dropped.
#[derive(Debug)]
pub(super) struct RawTerminal {
    fd: OwnedFd,
    original: Termios,
}

impl RawTerminal {
    /// Passes each key to the guest at once and unchanged, except Ctrl-], which is the interrupt
    /// key in the place of Ctrl-C.
    fn enter(fd: OwnedFd) -> io::Result<Self> {
        let original = tcgetattr(&fd)?;
        let mut raw = original.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        raw.input_modes -= InputModes::ICRNL
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::IXON
            | InputModes::ISTRIP
            | InputModes::INPCK
            | InputModes::PARMRK
            | InputModes::BRKINT;
        raw.special_codes[SpecialCodeIndex::VINTR] = INTERRUPT_KEY;
        raw.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
        raw.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&fd, OptionalActions::Now, &raw)?;
        log::info!("the terminal is the guest's: Ctrl-] asks it to shut down");
        Ok(Self { fd, original })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.fd, OptionalActions::Now, &self.original);
    }
}

/// Standard output and input as clients, and the terminal if they are on one.
pub(super) fn open() -> io::Result<(Vec<Client>, Option<RawTerminal>)> {
    connect(rustix::stdio::stdin(), rustix::stdio::stdout())
}

/// A terminal whose foreground belongs to another job is not read: that would stop the process
/// (SIGTTIN).
fn connect(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
) -> io::Result<(Vec<Client>, Option<RawTerminal>)> {
    let mut clients = vec![endpoint(stdout, OFlags::WRONLY, Kind::Output)?];
    let mut terminal = None;
    if isatty(stdin) {
        if tcgetpgrp(stdin).is_ok_and(|foreground| foreground != getpgrp()) {
            log::warn!("in the background: the console does not read the terminal");
            return Ok((clients, None));
        }
        terminal = Some(RawTerminal::enter(stdin.try_clone_to_owned()?)?);
    }
    clients.push(endpoint(stdin, OFlags::RDONLY, Kind::Input)?);
    Ok((clients, terminal))
}

/// `fd` as a client that need not block on it. A terminal or pipe is opened anew where possible,
/// because `O_NONBLOCK` on the inherited description would bind every process that shares it.
fn endpoint(fd: BorrowedFd<'_>, access: OFlags, kind: Kind) -> io::Result<Client> {
    let file_type = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    let kind = match file_type {
        FileType::RegularFile if kind == Kind::Output => Kind::File,
        _ => kind,
    };
    let reopened = match file_type {
        FileType::CharacterDevice | FileType::Fifo => {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).ok()
        }
        _ => None,
    };
    let fd = match reopened {
        Some(fd) => fd,
        None => fd.try_clone_to_owned()?,
    };
    Ok(Client::new(fd, kind))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{PipeReader, Read, Write};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;
    use crate::backend::console::{ConsoleHandle, ConsolePump};
    use crate::event_loop::EventLoop;

    /// A console on `stdin` and `stdout`, and the loop that runs it.
    fn run(stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> (ConsoleHandle, EventLoop) {
        let (clients, terminal) = connect(stdin, stdout).unwrap();
        let console = ConsoleHandle::new("serial").unwrap();
        let pump = ConsolePump::new(console.clone(), None, clients, terminal).unwrap();
        let events = EventLoop::spawn("io").unwrap();
        events.handle().add(Box::new(pump)).unwrap();
        (console, events)
    }

    fn typed(console: &ConsoleHandle, len: usize) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut found = Vec::new();
        while found.len() < len && Instant::now() < deadline {
            let mut data = [0; 512];
            let n = console.read(&mut data);
            found.extend_from_slice(&data[..n]);
            if n == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        found
    }

    fn terminal() -> (File, File) {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        let path = ptsname(&outer, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let inner = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        (File::from(outer), File::from(inner))
    }

    #[test]
    fn a_terminal_passes_keys_unchanged_and_is_as_before_at_the_end() {
        let (mut outer, inner) = terminal();
        let before = tcgetattr(&inner).unwrap();
        let (console, mut events) = run(inner.as_fd(), inner.as_fd());
        outer.write_all(b"ls\r\x03\x1a").unwrap();
        assert_eq!(typed(&console, 5), b"ls\r\x03\x1a");
        console.write(b"login: ");
        let mut shown = [0; 7];
        outer.read_exact(&mut shown).unwrap();
        assert_eq!(&shown, b"login: ", "and no echo");
        events.stop();
        let after = tcgetattr(&inner).unwrap();
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
        let interrupt = SpecialCodeIndex::VINTR;
        assert_eq!(
            after.special_codes[interrupt],
            before.special_codes[interrupt]
        );
    }

    #[test]
    fn a_terminal_that_nobody_reads_holds_nobody_up() {
        let (_outer, inner) = terminal();
        let (console, mut events) = run(inner.as_fd(), inner.as_fd());
        let start = Instant::now();
        for _ in 0..64 {
            console.write(&[b'x'; 4096]);
        }
        events.stop();
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn files_serve_as_input_and_output() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("in");
        let text: Vec<u8> = (0..100_000).map(|i| (i / 3) as u8).collect();
        std::fs::write(&script, &text).unwrap();
        let stdin = File::open(&script).unwrap();
        let log = folder.path().join("out");
        let stdout = File::create(&log).unwrap();
        let (console, mut events) = run(stdin.as_fd(), stdout.as_fd());
        assert!(typed(&console, text.len()) == text);
        console.write(b"done");
        events.stop();
        assert_eq!(std::fs::read(&log).unwrap(), b"done");
    }

    fn pipe() -> (PipeReader, io::PipeWriter) {
        io::pipe().unwrap()
    }

    #[test]
    fn pipes_serve_until_they_close() {
        let ((stdin, mut keys), (mut shown, stdout)) = (pipe(), pipe());
        let (console, mut events) = run(stdin.as_fd(), stdout.as_fd());
        keys.write_all(b"key").unwrap();
        assert_eq!(typed(&console, 3), b"key");
        drop(keys);
        console.write(&[b'y'; 100_000]);
        let mut found = vec![0; 100_000];
        shown.read_exact(&mut found).unwrap();
        assert!(found.iter().all(|&byte| byte == b'y'));
        drop(shown);
        console.write(b"nobody reads this");
        events.stop();
    }
}
