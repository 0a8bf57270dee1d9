//! What `run` tells: the planned machine, and where to reach a guest.

use std::fmt::Write;

use serde::Serialize;
use vmm::config::{ConsoleSpec, DeviceSpec, Forward, NetBackendSpec, Setting, VmSpec};
use vmm::layout::{Layout, Range};

use super::plan::Plan;
use crate::output::{Output, Stop};

/// What `--dry-run --json` prints.
#[derive(Serialize)]
struct DryRun<'a> {
    spec: &'a VmSpec,
    settings: &'a [Setting],
    layout: &'a [Place],
    host_changes: Vec<String>,
}

/// A range of guest-physical addresses and what is there.
#[derive(Serialize)]
struct Place {
    name: &'static str,
    start: u64,
    end: u64,
}

/// Where everything is in a machine of the wanted size; nothing, if that size is not possible.
fn places(spec: &VmSpec) -> Vec<Place> {
    let layout = Layout::new(spec.memory, u32::from(spec.cpus)).ok();
    let claims = layout.map(|layout| layout.claims()).unwrap_or_default();
    let place = |(name, range): (_, Range)| Place {
        name,
        start: range.start,
        end: range.end(),
    };
    let mut places: Vec<Place> = claims.into_iter().map(place).collect();
    places.sort_by_key(|place| place.start);
    places
}

/// Shows the planned machine.
pub(crate) fn dry_run(plan: &Plan, output: Output) -> Result<(), Stop> {
    let spec = &plan.resolved.spec;
    let settings = plan.resolved.settings.as_slice();
    let host_changes = host_changes(spec);
    let layout = places(spec);
    if output.is_json() {
        return output.json(&DryRun {
            spec,
            settings,
            layout: &layout,
            host_changes,
        });
    }
    let mut text = String::new();
    let width = settings
        .iter()
        .map(|s| s.field.as_str().len())
        .max()
        .unwrap_or(0);
    for Setting {
        field,
        value,
        origin,
    } in settings
    {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<width$}  {value}  ({origin})", field.as_str());
    }
    let _ = writeln!(text, "\nThe guest's addresses:");
    for Place { name, start, end } in &layout {
        let _ = writeln!(text, "  {start:#014x}..{end:#014x}  {name}");
    }
    let _ = writeln!(text, "\nOn this host:");
    for change in &host_changes {
        let _ = writeln!(text, "  {change}");
    }
    output.data(text)
}

/// What a run does to the host, apart from using its processor and memory.
fn host_changes(spec: &VmSpec) -> Vec<String> {
    let mut changes = vec!["opens /dev/kvm".to_owned()];
    changes.extend(consoles(spec).filter_map(|(name, console)| match console {
        ConsoleSpec::None | ConsoleSpec::Stdio => None,
        ConsoleSpec::File(path) => Some(format!("writes {name} to {}", path.display())),
        ConsoleSpec::Unix(path) => Some(format!("serves {name} at {}", path.display())),
        ConsoleSpec::Connect(path) => Some(format!("connects {name} to {}", path.display())),
        ConsoleSpec::Tcp(address) => Some(format!("serves {name} at tcp {address}")),
        ConsoleSpec::Inherited(fd) => Some(format!("serves {name} at the inherited socket {fd}")),
    }));
    for forward in forwards(spec) {
        let Forward {
            protocol,
            host,
            guest_port,
        } = forward;
        changes.push(format!(
            "listens at {protocol} {host} for guest port {guest_port}"
        ));
    }
    for device in &spec.devices {
        match device {
            DeviceSpec::Fs(fs) if !fs.read_only => {
                changes.push(format!("lets the guest write to {}", fs.path.display()));
            }
            DeviceSpec::Blk(blk) if !blk.read_only => {
                changes.push(format!("lets the guest write to {}", blk.path.display()));
            }
            _ => {}
        }
    }
    changes
}

/// Says how to reach the guest, and warns of passwords that everybody knows.
pub(crate) fn banner(plan: &Plan, output: Output) {
    let Some(bundle) = &plan.bundle else {
        return;
    };
    let spec = &plan.resolved.spec;
    let mut text = format!("{} ({}):", spec.name, bundle.variant);
    for forward in forwards(spec) {
        let known = bundle
            .forwards
            .iter()
            .find(|f| f.guest == forward.guest_port);
        let name = known.map_or("", |f| f.name.as_str());
        let _ = write!(
            text,
            "\n  {:<22} guest port {:<5}  {name}",
            format!("{} {}", forward.protocol, forward.host),
            forward.guest_port
        );
    }
    for (name, console) in consoles(spec) {
        if *console != ConsoleSpec::None {
            let place = console.to_string().replace("tcp=", "tcp ");
            let _ = write!(text, "\n  {place:<22} console {name}");
        }
    }
    output.note(text);
    let logins = &bundle.logins;
    let open = logins
        .ssh
        .as_ref()
        .is_some_and(|ssh| ssh.password.is_some());
    if open || logins.console.is_some() {
        output
            .warn("a debug image: its password is known to everybody; keep its ports to yourself");
    }
}

/// Shows the last lines of a console. The guest wrote them: what could command the terminal is left
/// out.
pub(crate) fn console_tail(tail: &[u8], lines: usize, output: Output) {
    let text = printable(&String::from_utf8_lossy(tail));
    let all: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = all
        .get(all.len().saturating_sub(lines)..)
        .unwrap_or_default();
    if !last.is_empty() {
        output.talk(&format!(
            "the console's last lines:\n  {}\n\n",
            last.join("\n  ")
        ));
    }
}

/// `text` without escape sequences (ECMA-48, control sequences) and control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push(' '),
            '\x1b' if chars.next_if_eq(&'[').is_some() => {
                // Parameters and intermediates, then one final byte from `@` to `~`.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            c if !c.is_control() => out.push(c),
            _ => {}
        }
    }
    out
}

fn consoles(spec: &VmSpec) -> impl Iterator<Item = (&'static str, &ConsoleSpec)> {
    let virtio = spec.devices.iter().filter_map(|device| match device {
        DeviceSpec::Console(console) => Some(("hvc0", console)),
        _ => None,
    });
    std::iter::once(("ttyS0", &spec.serial)).chain(virtio)
}

fn forwards(spec: &VmSpec) -> impl Iterator<Item = &Forward> {
    spec.devices.iter().flat_map(|device| match device {
        DeviceSpec::Net(net) => match &net.backend {
            NetBackendSpec::User(user) => user.forwards.as_slice(),
            NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. } => &[],
        },
        _ => &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_left_out() {
        let text = "\x1b[1;31mred\x1b[0m\r\n\x1b]0;title\x07a\tb\x1b[";
        assert_eq!(printable(text), "red\n]0;titlea b");
    }
}
