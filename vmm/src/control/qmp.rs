//! QEMU's Machine Protocol, as far as programs that start and stop machines speak it (QEMU docs/interop/qmp-spec.rst).

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::answer::{Next, obey};
use super::hmp;
use super::monitor::Reply;
use super::protocol::{Event, EventKind, Request, State};
use super::{Served, combination::Combination};
use crate::config::value::MemorySize;
use crate::event::Landmark;

/// What can be asked, in the order of their names.
const COMMANDS: [&str; 19] = [
    "balloon",
    "cont",
    "human-monitor-command",
    "input-send-event",
    "qmp_capabilities",
    "query-balloon",
    "query-commands",
    "query-cpus-fast",
    "query-events",
    "query-kvm",
    "query-name",
    "query-status",
    "query-target",
    "query-version",
    "quit",
    "send-key",
    "stop",
    "system_powerdown",
    "system_reset",
];

/// The events that there are.
const EVENTS: [&str; 5] = ["GUEST_PANICKED", "POWERDOWN", "RESUME", "SHUTDOWN", "STOP"];

/// Why a command was not carried out.
#[derive(Debug)]
enum Refusal {
    /// There is no such command, or not now.
    NotFound(String),
    /// Anything else.
    Generic(String),
}

/// A client's side of the conversation.
#[derive(Debug, Default)]
pub(super) struct Qmp {
    /// Whether capabilities have been agreed on.
    agreed: bool,
    held: Combination,
}

impl Qmp {
    /// What we say first.
    pub(super) fn greeting() -> Vec<u8> {
        line(&json!({"QMP": {"version": version(), "capabilities": []}}))
    }

    /// Takes the next JSON value out of what came, and answers it.
    pub(super) fn heed(&mut self, pending: &mut Vec<u8>, served: &Served) -> Option<Reply> {
        let mut values = serde_json::Deserializer::from_slice(pending).into_iter::<Value>();
        let next = values.next()?;
        let end = values.byte_offset();
        match next {
            Ok(request) => {
                pending.drain(..end);
                let id = request.get("id").cloned();
                let (answer, follows) = match self.obey(&request, served) {
                    Ok((value, follows)) => (json!({"return": value}), follows),
                    Err(refusal) => (error(&refusal), None),
                };
                Some(reply(answer, id, follows))
            }
            Err(why) if why.is_eof() => None,
            Err(why) => {
                // Where the next value begins nobody knows: after this line.
                let end = pending.iter().position(|&byte| byte == b'\n');
                pending.drain(..end.map_or(pending.len(), |at| at + 1));
                let refusal = Refusal::Generic(format!("JSON parse error, {why}"));
                Some(reply(error(&refusal), None, None))
            }
        }
    }

    fn obey(&mut self, request: &Value, served: &Served) -> Result<(Value, Option<u64>), Refusal> {
        let name = request.get("execute").and_then(Value::as_str);
        let name = name.ok_or_else(|| generic("QMP input lacks member 'execute'"))?;
        let none = json!({});
        let arguments = request.get("arguments").unwrap_or(&none);
        if name == "qmp_capabilities" {
            if self.agreed {
                let why = "Capabilities negotiation is already complete, command ignored";
                return Err(Refusal::NotFound(why.to_owned()));
            }
            self.agreed = true;
            let next = served.status.events(0);
            let next = next.last().map_or(0, |event| event.seq + 1);
            return Ok((json!({}), Some(next)));
        }
        if !self.agreed {
            let why = "Expecting capabilities negotiation with 'qmp_capabilities'";
            return Err(Refusal::NotFound(why.to_owned()));
        }
        self.command(name, arguments, served)
            .map(|value| (value, None))
    }

    fn command(
        &mut self,
        name: &str,
        arguments: &Value,
        served: &Served,
    ) -> Result<Value, Refusal> {
        match name {
            "query-status" => Ok(status(served)),
            "query-version" => Ok(version()),
            "query-commands" => Ok(named(&COMMANDS)),
            "query-events" => Ok(named(&EVENTS)),
            "query-name" => Ok(json!({"name": served.name})),
            "query-target" => Ok(json!({"arch": "x86_64"})),
            "query-kvm" => Ok(json!({"enabled": true, "present": true})),
            "query-cpus-fast" => Ok(cpus(served)),
            "query-balloon" => balloon(None, served),
            "balloon" => {
                let size = arguments.get("value").and_then(Value::as_u64);
                let size = size.ok_or_else(|| generic("Parameter 'value' is missing"))?;
                balloon(Some(size), served).map(|_| json!({}))
            }
            "stop" => ask(Request::Pause {}, served),
            "cont" => ask(Request::Resume {}, served),
            "system_powerdown" => ask(Request::PowerButton {}, served),
            "system_reset" => {
                served.status.ends_by("host-qmp-system-reset");
                ask(Request::Quit {}, served)
            }
            "quit" => {
                served.status.ends_by("host-qmp-quit");
                ask(Request::Quit {}, served)
            }
            "input-send-event" => {
                let events = arguments.get("events").and_then(Value::as_array);
                let events = events.ok_or_else(|| generic("Parameter 'events' is missing"))?;
                for event in events {
                    let (down, key) = key_event(event).ok_or_else(no_keyboard)?;
                    self.key(&key, down, served)?;
                }
                Ok(json!({}))
            }
            "send-key" => {
                let keys = arguments.get("keys").and_then(Value::as_array);
                let keys = keys.ok_or_else(|| generic("Parameter 'keys' is missing"))?;
                for key in keys {
                    let key = qcode(key).ok_or_else(no_keyboard)?;
                    self.key(&key, true, served)?;
                }
                self.held = Combination::default();
                Ok(json!({}))
            }
            "human-monitor-command" => {
                let line = arguments.get("command-line").and_then(Value::as_str);
                let line = line.ok_or_else(|| generic("Parameter 'command-line' is missing"))?;
                Ok(Value::String(hmp::answer(line.trim(), served)))
            }
            _ => Err(Refusal::NotFound(format!(
                "The command {name} has not been found"
            ))),
        }
    }

    /// A key goes down or up.
    fn key(&mut self, name: &str, down: bool, served: &Served) -> Result<(), Refusal> {
        match self.held.press(name, down) {
            None => Err(no_keyboard()),
            Some(true) => ask(Request::CtrlAltDel {}, served).map(drop),
            Some(false) => Ok(()),
        }
    }

    /// What is said of an event.
    pub(super) fn event(event: &Event, served: &Served) -> Vec<u8> {
        let (name, data) = match &event.kind {
            EventKind::PowerButton {} => ("POWERDOWN", None),
            EventKind::State {
                state: State::Paused,
            } => ("STOP", None),
            EventKind::State {
                state: State::Running,
            } => ("RESUME", None),
            EventKind::Phase {
                phase: Landmark::Panic,
            } => ("GUEST_PANICKED", Some(json!({"action": "shutdown"}))),
            EventKind::End { reason } => {
                let (guest, reason) = match reason.as_str() {
                    "poweroff" => (true, "guest-shutdown"),
                    "reboot" => (true, "guest-reset"),
                    "panic" => (true, "guest-panic"),
                    "killed" => (false, served.status.ended_by().unwrap_or("host-signal")),
                    _ => (false, "host-error"),
                };
                ("SHUTDOWN", Some(json!({"guest": guest, "reason": reason})))
            }
            _ => return Vec::new(),
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let timestamp = json!({"seconds": now.as_secs(), "microseconds": now.subsec_micros()});
        let mut message = json!({"timestamp": timestamp, "event": name});
        if let (Some(data), Some(message)) = (data, message.as_object_mut()) {
            message.insert("data".to_owned(), data);
        }
        line(&message)
    }
}

/// Does what the control socket does on such a request.
pub(super) fn request(request: Request, served: &Served) -> Result<(), String> {
    let (answer, next) = obey(request, served);
    debug_assert!(matches!(next, Next::Stay), "monitors ask for answers alone");
    match answer.error {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

fn ask(what: Request, served: &Served) -> Result<Value, Refusal> {
    request(what, served)
        .map(|()| json!({}))
        .map_err(Refusal::Generic)
}

/// What the guest has, after it was asked to have `size` bytes.
fn balloon(size: Option<u64>, served: &Served) -> Result<Value, Refusal> {
    let given = size.map(|size| MemorySize(served.memory.saturating_sub(size)));
    let (answer, _) = obey(Request::Balloon { size: given }, served);
    match answer.balloon {
        Some(balloon) => Ok(json!({"actual": served.memory.saturating_sub(balloon.actual)})),
        None => Err(generic("No balloon device has been activated")),
    }
}

fn status(served: &Served) -> Value {
    let runs = served.status.state() != State::Paused;
    json!({"status": if runs { "running" } else { "paused" }, "running": runs, "singlestep": false})
}

fn cpus(served: &Served) -> Value {
    let cpu = |index| json!({"cpu-index": index, "target": "x86_64", "qom-path": format!("/machine/cpu[{index}]")});
    (0..served.cpus).map(cpu).collect()
}

/// Our own version: there is no QEMU whose it would be.
fn version() -> Value {
    let mut numbers = env!("CARGO_PKG_VERSION")
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0_u32);
    let [major, minor, micro] = [number(), number(), number()];
    json!({"qemu": {"major": major, "minor": minor, "micro": micro}, "package": "pcp-vmm"})
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

/// Whether a key goes down, and its name; none of what is no key.
fn key_event(event: &Value) -> Option<(bool, String)> {
    let data = event.get("data")?;
    (event.get("type")? == "key").then_some(())?;
    Some((data.get("down")?.as_bool()?, qcode(data.get("key")?)?))
}

fn qcode(key: &Value) -> Option<String> {
    (key.get("type")? == "qcode").then_some(())?;
    key.get("data")?.as_str().map(str::to_owned)
}

fn generic(why: &str) -> Refusal {
    Refusal::Generic(why.to_owned())
}

fn no_keyboard() -> Refusal {
    generic("there is no keyboard: only Ctrl-Alt-Del (ctrl, alt, delete) reaches the guest")
}

fn error(refusal: &Refusal) -> Value {
    let (class, desc) = match refusal {
        Refusal::NotFound(why) => ("CommandNotFound", why),
        Refusal::Generic(why) => ("GenericError", why),
    };
    json!({"error": {"class": class, "desc": desc}})
}

fn reply(mut answer: Value, id: Option<Value>, follows: Option<u64>) -> Reply {
    if let (Some(id), Some(answer)) = (id, answer.as_object_mut()) {
        answer.insert("id".to_owned(), id);
    }
    let bytes = line(&answer);
    Reply { bytes, follows }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\r\n").into_bytes()
}
