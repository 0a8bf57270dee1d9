//! Phases 2 and 2b: the guest answers on its consoles.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use vmm::control::protocol::{ConsoleInfo, ConsoleName};

use super::board::Board;
use super::machine::{Machine, rest};
use crate::args::ConsoleArg;
use crate::lifecycle::Phase;
use crate::lifecycle::console::{Answer, Asked};

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A way to a console.
trait Way: Read + Write {}
impl<T: Read + Write> Way for T {}

/// Which console a phase is about.
fn console_of(phase: Phase) -> ConsoleName {
    match phase {
        Phase::Virtio => ConsoleName::Virtio,
        _ => ConsoleName::Serial,
    }
}

fn words(console: ConsoleName) -> &'static str {
    match console {
        ConsoleName::Serial => "Serial console",
        ConsoleName::Virtio => "Virtio console",
    }
}

/// Sees that the guest answers on the console of `phase`.
pub(super) fn check(machine: &Machine, phase: Phase, board: &Board) {
    board.begin(phase);
    let console = console_of(phase);
    let what = words(console);
    match answers(machine, console, &|| board.late(phase)) {
        Ok(place) => board.pass(phase, format!("{what} answers ({place})")),
        Err(cause) => board.fail(phase, format!("{what} does not answer"), cause),
    }
    board.end(phase);
}

/// Waits until the guest answers on `console`, or `late` says that it is too late; where the console is.
pub(super) fn answers(
    machine: &Machine,
    console: ConsoleName,
    late: &dyn Fn() -> bool,
) -> Result<String, String> {
    loop {
        let info = console_info(machine, console);
        let opened = match &info {
            Some(info) => open(machine, info),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let last = match opened {
            Err(error) => format!("it cannot be reached: {error}"),
            Ok((way, place)) => {
                let mut asked = Asked::new(way, Instant::now());
                loop {
                    let begin = Instant::now();
                    match asked.look(begin) {
                        Answer::Prompt => return Ok(place),
                        Answer::None if late() => return Err(unanswered(asked.last_line())),
                        Answer::None => rest(begin, LOOK),
                        Answer::Over => break,
                    }
                }
                "its connection ends".to_owned()
            }
        };
        if machine.has_ended() {
            return Err("the VM has ended".to_owned());
        }
        if late() {
            return Err(last);
        }
        rest(Instant::now(), 2 * LOOK);
    }
}

fn unanswered(last: Option<String>) -> String {
    match last {
        Some(line) => format!("no login prompt; last: {line}"),
        None => "no login prompt".to_owned(),
    }
}

fn console_info(machine: &Machine, console: ConsoleName) -> Option<ConsoleInfo> {
    let consoles = machine.consoles();
    consoles.into_iter().find(|it| it.console == console)
}

/// A connection to a console: by its TCP port, as a user would, else by the control socket.
fn open(machine: &Machine, info: &ConsoleInfo) -> io::Result<(Box<dyn Way>, String)> {
    let port = info.place.strip_prefix("tcp=");
    if let Some(address) = port.and_then(|it| it.parse::<SocketAddr>().ok()) {
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(CONNECT))?;
        return Ok((Box::new(stream), format!("port {}", address.port())));
    }
    let which = match info.console {
        ConsoleName::Serial => ConsoleArg::Serial,
        ConsoleName::Virtio => ConsoleArg::Virtio,
    };
    let attached = machine.attach(Some(which), Some(0));
    let attached = attached.map_err(io::Error::other)?;
    let stream: UnixStream = attached.stream;
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(CONNECT))?;
    Ok((Box::new(stream), info.device.clone()))
}
