//! Conversations on the control socket.

use super::Seed;
use crate::script::Script;
use crate::talk::{REQUESTS, op};

const ALL: u16 = u16::MAX;

fn ask(script: Script, client: u8, which: usize, parameter: &str) -> Script {
    let which = u8::try_from(which).unwrap_or_default();
    let script = script.raw(&[op::ASK, client, which]);
    script.string(parameter.as_bytes())
}

fn read(script: Script, client: u8) -> Script {
    script.raw(&[op::READ, client]).raw(&ALL.to_le_bytes())
}

fn say(script: Script, client: u8, text: &[u8]) -> Script {
    script.raw(&[op::SAY, client]).string(text)
}

/// Every request once.
fn all() -> Script {
    let mut script = Script::default().raw(&[op::CONNECT]);
    for (which, request) in REQUESTS.iter().enumerate() {
        let parameter = match request {
            request if request.contains("-forward") => "tcp:127.0.0.1:2022:22",
            request if request.contains("balloon") => "64M",
            request if request.contains("state") => "up",
            _ => "virtio",
        };
        script = read(ask(script, 0, which, parameter), 0);
        if which == 2 {
            // Events go on; another asks the rest.
            script = script.raw(&[op::PHASE, 1, op::LEAVE, 0, op::CONNECT]);
        }
    }
    script
}

/// A console with words behind the request, and a guest that reads them late.
fn console() -> Script {
    let script = Script::default().raw(&[op::PRINT]).string(b"login: ");
    let mut text = REQUESTS[16].as_bytes().to_vec();
    text.extend(b"\nroot\r");
    let script = say(script.raw(&[op::CONNECT]), 0, &text);
    let script = read(say(script, 0, b"more"), 0);
    let script = script.raw(&[op::TYPED, 2, 0, op::PRINT]).string(b"# ");
    let script = read(script.raw(&[op::HALF, 0]), 0);
    script.raw(&[op::TYPED, 0xff, 0xff, op::LEAVE, 0])
}

/// Halves of requests, garbage, several in one helping, and a line without end.
fn pieces() -> Script {
    let script = Script::default().raw(&[op::CONNECT, op::CONNECT]);
    let script = say(say(script, 0, b"{\"request\":"), 0, b"\"info\"}\n");
    let many = [REQUESTS[0], REQUESTS[8], REQUESTS[11], ""].join("\n");
    let script = read(say(read(script, 0), 0, many.as_bytes()), 0);
    let script = say(
        script,
        1,
        b"\xff\0{}\n[]\n\"\"\n{\"request\":\"info\",\"more\":1}\n",
    );
    let script = say(say(read(script, 1), 1, &[b'x'; 3000]), 1, &[b'x'; 3000]);
    let script = read(script, 1).raw(&[op::HALF, 0]);
    read(script, 0)
}

pub(super) fn seeds() -> Vec<Seed> {
    let seed = |name, script: Script, successful| Seed {
        target: "control",
        name,
        bytes: script.0,
        successful,
    };
    vec![
        seed("requests", all(), 16),
        seed("console", console(), 1),
        seed("pieces", pieces(), 4),
    ]
}
