//! Clients of the control socket that say anything, in any pieces, and read when they like.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::Value;
use vmm::control::protocol::Answer;
use vmm::control::testing::ServedSocket;

use crate::ground::Folder;
use crate::input::Input;

/// The operations, one byte each; of that byte's value the remainder by [`op::COUNT`] counts.
pub mod op {
    /// Another client.
    pub const CONNECT: u8 = 0;
    /// A client says something: client, string.
    pub const SAY: u8 = 1;
    /// A client makes a request: client, which, string that is its parameter.
    pub const ASK: u8 = 2;
    /// A client reads: client, number of bytes.
    pub const READ: u8 = 3;
    /// A client says nothing more: client.
    pub const HALF: u8 = 4;
    /// A client goes: client.
    pub const LEAVE: u8 = 5;
    /// The guest comes to a phase: which.
    pub const PHASE: u8 = 6;
    /// The guest prints: string.
    pub const PRINT: u8 = 7;
    /// The guest reads its console: number of bytes.
    pub const TYPED: u8 = 8;
    /// How many there are.
    pub const COUNT: u8 = 9;
}

/// Requests with a place for a parameter.
pub const REQUESTS: [&str; 20] = [
    r#"{"request":"info"}"#,
    r#"{"request":"events"}"#,
    r#"{"request":"events","follow":true}"#,
    r#"{"request":"pause"}"#,
    r#"{"request":"resume"}"#,
    r#"{"request":"power-button"}"#,
    r#"{"request":"ctrl-alt-del"}"#,
    r#"{"request":"quit"}"#,
    r#"{"request":"forwards"}"#,
    r#"{"request":"add-forward","forward":$}"#,
    r#"{"request":"remove-forward","forward":$}"#,
    r#"{"request":"balloon"}"#,
    r#"{"request":"balloon","size":$}"#,
    r#"{"request":"link"}"#,
    r#"{"request":"link","state":"down"}"#,
    r#"{"request":"link","state":$}"#,
    r#"{"request":"console","console":"serial"}"#,
    r#"{"request":"console","console":"serial","last":4}"#,
    r#"{"request":"console","console":$}"#,
    r#"{"request":$}"#,
];

/// Operations of one input.
const OPERATIONS: usize = 256;
/// The most clients of one input: more than the server takes at once.
const CLIENTS: usize = 40;
/// What may be kept for one client: a line and a helping, answers up to the limit, and beyond it one answer and all
/// events.
const KEPT_MAX: usize = 192 << 10;
/// What clients may type ahead of the guest.
const TYPED_MAX: usize = 16 << 10;

/// One client.
#[derive(Debug)]
struct Caller {
    stream: UnixStream,
    said: Vec<u8>,
    /// Whether its connection has become a console's.
    on_console: bool,
    answered: usize,
}

impl Caller {
    /// Reads up to `most` bytes; whether there was anything.
    ///
    /// # Panics
    /// What it is told is no answer.
    fn read(&mut self, most: usize) -> bool {
        let mut data = vec![0; most];
        let read = self.stream.read(&mut data).unwrap_or_default();
        self.said.extend(&data[..read]);
        while !self.on_console
            && let Some(end) = self.said.iter().position(|&byte| byte == b'\n')
        {
            let rest = self.said.split_off(end + 1);
            let line = std::mem::replace(&mut self.said, rest);
            let value: Value = serde_json::from_slice(&line).expect("a line of JSON");
            if value.get("event").is_some() {
                assert!(value["seq"].is_u64(), "an event without a number: {value}");
                continue;
            }
            let answer: Answer = serde_json::from_value(value).expect("an answer");
            assert_eq!(answer.ok, answer.error.is_none(), "{answer:?}");
            self.on_console = answer.replay.is_some();
            self.answered += usize::from(answer.ok);
        }
        if self.on_console {
            self.said.clear();
        }
        read > 0
    }
}

/// Runs `data` as the words of clients; how many of their requests were carried out.
///
/// # Panics
/// The server keeps too much, says what is no answer, or has no ear for the next client.
#[must_use]
pub fn run(data: &[u8]) -> usize {
    let mut input = Input(data);
    let folder = Folder::new();
    let mut socket = ServedSocket::new(folder.path());
    let mut callers: Vec<Caller> = Vec::new();
    let mut answered = 0;
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        answered += step(&mut input, &socket, &mut callers);
        socket.turn();
        let kept = socket.kept();
        assert!(kept <= KEPT_MAX, "{kept} bytes are kept for a client");
    }
    for caller in &mut callers {
        while caller.read(1 << 16) {}
        answered += caller.answered;
    }
    drop(callers);
    let typed: usize = (0..2).map(|_| socket.reads(u16::MAX)).sum();
    assert!(typed <= TYPED_MAX, "{typed} bytes are typed ahead");
    finish(&mut socket);
    answered
}

/// Whoever came is gone, and the next client is served.
fn finish(socket: &mut ServedSocket) {
    // Each turn lets some in who wait outside, and notices that they are gone.
    for _ in 0..8 {
        socket.turn();
    }
    assert_eq!(socket.clients(), 0, "clients that are gone");
    let stream = socket.connect().expect("a place in the socket's queue");
    let mut last = Caller {
        stream,
        said: Vec::new(),
        on_console: false,
        answered: 0,
    };
    let asked = last.stream.write_all(b"{\"request\":\"info\"}\n");
    asked.expect("room for a request");
    for _ in 0..4 {
        socket.turn();
        last.read(1 << 16);
    }
    assert_eq!(last.answered, 1, "the answer to the last client");
}

/// One operation; the answers of a client that goes.
fn step(input: &mut Input<'_>, socket: &ServedSocket, callers: &mut Vec<Caller>) -> usize {
    let what = input.u8() % op::COUNT;
    match what {
        op::CONNECT => {
            if callers.len() < CLIENTS {
                callers.extend(socket.connect().map(|stream| Caller {
                    stream,
                    said: Vec::new(),
                    on_console: false,
                    answered: 0,
                }));
            }
            return 0;
        }
        op::PHASE => socket.passes(input.u8()),
        op::PRINT => socket.prints(input.string()),
        op::TYPED => {
            let most = input.u16();
            assert!(socket.reads(most) <= TYPED_MAX, "typed ahead without end");
        }
        _ => {}
    }
    if !(op::SAY..=op::LEAVE).contains(&what) {
        return 0;
    }
    let number = usize::from(input.u8());
    let index = number % callers.len().max(1);
    let Some(caller) = callers.get_mut(index) else {
        return 0;
    };
    match what {
        // A client whose words have no room says them in part.
        op::SAY => drop(caller.stream.write(input.string())),
        op::ASK => {
            let request = REQUESTS[usize::from(input.u8()) % REQUESTS.len()];
            let parameter = String::from_utf8_lossy(input.string());
            let parameter = Value::from(parameter.as_ref()).to_string();
            let line = request.replace('$', &parameter) + "\n";
            drop(caller.stream.write(line.as_bytes()));
        }
        op::READ => drop(caller.read(input.u16().into())),
        op::HALF => drop(caller.stream.shutdown(Shutdown::Write)),
        _ => return callers.swap_remove(index).answered,
    }
    0
}
