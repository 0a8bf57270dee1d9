//! This process's own terminal, lent to the lab by `--shell`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use super::watch::Event;

/// Ctrl-], which leaves the terminal whatever runs in it.
const LEAVE: u8 = 0x1d;

/// The terminal in raw mode; dropping it restores the mode that it had.
#[derive(Debug)]
pub(super) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Takes the terminal of standard input.
    pub(super) fn take() -> Result<Self> {
        if !isatty(io::stdin()) {
            bail!("`--shell` needs a terminal on standard input");
        }
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)
            .context("cannot set the terminal's mode")?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The terminal's rows and columns, as a line for L1.
pub(super) fn size_line() -> String {
    match tcgetwinsize(io::stdin()) {
        Ok(size) if size.ws_row > 0 => format!("{} {}\n", size.ws_row, size.ws_col),
        _ => "24 80\n".into(),
    }
}

/// Joins the terminal and L1's console until either ends.
pub(super) fn join(socket: UnixStream, events: Sender<Event>) -> Result<()> {
    let mut to_lab = socket.try_clone().context("cannot copy a socket")?;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = io::stdin().read(&mut buffer) {
            if buffer[..count].contains(&LEAVE) || to_lab.write_all(&buffer[..count]).is_err() {
                // The receiver is gone when the lab has ended already.
                let _ = events.send(Event::Left);
                break;
            }
        }
    });
    super::output::relay(socket, io::stdout(), "\u{1}never\u{1}").context("the console broke off")
}
