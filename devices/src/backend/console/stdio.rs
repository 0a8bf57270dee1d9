//! Standard input and output as the outer end of a console, and the terminal's raw mode.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
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
///
/// A terminal whose foreground belongs to another job is not read: that would stop the process
/// (SIGTTIN).
pub(super) fn open() -> io::Result<(Vec<Client>, Option<RawTerminal>)> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let mut clients = vec![endpoint(stdout, OFlags::WRONLY, Kind::Output)?];
    if !isatty(stdin) {
        clients.push(endpoint(stdin, OFlags::RDONLY, Kind::Input)?);
        return Ok((clients, None));
    }
    if tcgetpgrp(stdin).ok() != Some(rustix::process::getpgrp()) {
        log::warn!("in the background: the console does not read the terminal");
        return Ok((clients, None));
    }
    let terminal = RawTerminal::enter(stdin.try_clone_to_owned()?)?;
    clients.push(endpoint(stdin, OFlags::RDONLY, Kind::Input)?);
    Ok((clients, Some(terminal)))
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
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).ok()
        }
        _ => None,
    };
    let fd = match reopened {
        Some(fd) => fd,
        None => fd.as_fd().try_clone_to_owned()?,
    };
    Ok(Client::new(fd, kind))
}
