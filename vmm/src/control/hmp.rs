//! QEMU's monitor for people, as far as test drivers use it: a prompt, a line, its answer, the prompt again.

use super::Served;
use super::answer::obey;
use super::combination::Combination;
use super::protocol::{Request, State};
use super::qmp::request;
use crate::config::value::MemorySize;

const PROMPT: &str = "(qemu) ";
const HELP: &str = "\
balloon SIZE -- ask the guest to have SIZE MiB of memory
cont -- let the vCPUs go on
info balloon|kvm|name|status|version -- tell of the machine
quit -- end the machine
sendkey ctrl-alt-delete -- press Ctrl-Alt-Del
stop -- stop the vCPUs
system_powerdown -- press the power button
system_reset -- end the machine, as a reset of the guest does
";

/// What we say first.
pub(super) fn greeting() -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    format!("pcp-vmm {version} monitor - type 'help' for more information\r\n{PROMPT}").into_bytes()
}

/// Does what a line says, and what is said then.
pub(super) fn talk(line: &str, served: &Served) -> Vec<u8> {
    let answer = answer(line, served).replace('\n', "\r\n");
    format!("{answer}{PROMPT}").into_bytes()
}

/// Does what a line says; the answer, without the prompt.
pub(super) fn answer(line: &str, served: &Served) -> String {
    let mut words = line.split_ascii_whitespace();
    let done = match (words.next(), words.next(), words.next()) {
        (None, ..) => return String::new(),
        (Some("help" | "?"), None, None) => return HELP.to_owned(),
        (Some("info"), Some(what), None) => return info(what, served),
        (Some("quit" | "q"), None, None) => {
            served.status.ends_by("host-qmp-quit");
            request(Request::Quit {}, served)
        }
        (Some("system_reset"), None, None) => {
            served.status.ends_by("host-qmp-system-reset");
            request(Request::Quit {}, served)
        }
        (Some("system_powerdown"), None, None) => request(Request::PowerButton {}, served),
        (Some("stop" | "s"), None, None) => request(Request::Pause {}, served),
        (Some("cont" | "c"), None, None) => request(Request::Resume {}, served),
        // How long the keys are held does not matter.
        (Some("sendkey"), Some(keys), _) => send(keys, served),
        (Some("balloon"), Some(size), None) => balloon(size, served),
        (Some(word), ..) => return format!("unknown command: '{word}'\n"),
    };
    match done {
        Ok(()) => String::new(),
        Err(why) => format!("Error: {why}\n"),
    }
}

fn info(what: &str, served: &Served) -> String {
    match what {
        "status" if served.status.state() == State::Paused => "VM status: paused\n".to_owned(),
        "status" => "VM status: running\n".to_owned(),
        "version" => format!("{} (pcp-vmm)\n", env!("CARGO_PKG_VERSION")),
        "name" => format!("{}\n", served.name),
        "kvm" => "kvm support: enabled\n".to_owned(),
        "balloon" => match obey(Request::Balloon { size: None }, served).0.balloon {
            Some(balloon) => {
                let actual = served.memory.saturating_sub(balloon.actual) >> 20;
                format!("balloon: actual={actual}\n")
            }
            None => "Error: No balloon device has been activated\n".to_owned(),
        },
        _ => format!("unknown command: 'info {what}'\n"),
    }
}

/// Presses keys together: their names, with hyphens between.
fn send(keys: &str, served: &Served) -> Result<(), String> {
    let mut held = Combination::default();
    let mut complete = false;
    for key in keys.split('-') {
        match held.press(key, true) {
            Some(completes) => complete |= completes,
            None => {
                return Err(format!(
                    "there is no key '{key}': only ctrl-alt-delete reaches the guest"
                ));
            }
        }
    }
    if !complete {
        return Err("only ctrl-alt-delete reaches the guest".to_owned());
    }
    request(Request::CtrlAltDel {}, served)
}

/// The guest is to have so many mebibytes.
fn balloon(size: &str, served: &Served) -> Result<(), String> {
    let size = size
        .parse::<u64>()
        .ok()
        .and_then(|size| size.checked_mul(1 << 20));
    let size = size.ok_or_else(|| "the size is a number of mebibytes".to_owned())?;
    let size = Some(MemorySize(served.memory.saturating_sub(size)));
    request(Request::Balloon { size }, served)
}
