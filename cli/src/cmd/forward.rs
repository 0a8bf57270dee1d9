//! `pcp-vmm forward`: host ports that lead into a VM, while it runs.

use serde::Serialize;
use vmm::config::Forward;
use vmm::control::protocol::Request;
use vmm::instance::Entry;

use super::adjust::usage;
use crate::args::ForwardVerb;
use crate::at_once::parted;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::{RuntimeDir, ask, connect, silent};
use crate::output::{Output, Stop};
use crate::table::Table;

/// The forwards of a VM in JSON.
#[derive(Debug, Serialize)]
struct Forwards {
    name: String,
    forwards: Vec<String>,
}

/// Does what `verb` says.
pub(crate) fn dispatch(
    verb: &ForwardVerb,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    match verb {
        ForwardVerb::Add(args) => {
            let (target, forwards) = args.read().map_err(usage)?;
            let forwards = parse(&forwards, |text| text.parse().ok())?;
            let request = |forward: String| Request::AddForward { forward };
            change(&runtime.select(&target)?, &forwards, request, output)
        }
        ForwardVerb::Rm(args) => {
            let (target, forwards) = args.read().map_err(usage)?;
            let forwards = parse(&forwards, of_host)?;
            let request = |forward: String| Request::RemoveForward { forward };
            change(&runtime.select(&target)?, &forwards, request, output)
        }
        ForwardVerb::Ls { target } => list(&runtime.select(target)?, output),
    }
}

/// A forward of which only the host's side matters.
fn of_host(text: &str) -> Option<Forward> {
    // The guest's port is any.
    let whole = text.parse().or_else(|_| format!("{text}:1").parse());
    whole.ok()
}

fn parse(
    texts: &[String],
    read: impl Fn(&str) -> Option<Forward>,
) -> Result<Vec<Forward>, Diagnostic> {
    let parsed = texts.iter().map(|text| {
        read(text).ok_or_else(|| {
            let what = format!("`{}` is no forward", text.escape_debug());
            Diagnostic::usage("forward", what)
                .hint("write `HOST:GUEST`, or `udp:127.0.0.1:5353:53`")
        })
    });
    parsed.collect()
}

/// Changes forwards of VMs, one VM after the other: a host port is the first one's that asks for it. The forwards before one
/// that fails stay changed, and a VM that fails does not keep the others from it.
fn change(
    entries: &[Entry],
    forwards: &[Forward],
    request: impl Fn(String) -> Request,
    output: Output,
) -> Result<Exit, Stop> {
    let of_one = |entry: &Entry| -> Result<Entry, Diagnostic> {
        let mut client = connect(entry)?;
        for forward in forwards {
            let asked = client.ask(&request(forward.to_string()));
            asked.map_err(|error| silent(entry, &error))?;
        }
        Ok(entry.clone())
    };
    let (done, failed) = parted(entries.iter().map(of_one));
    if output.is_json() {
        list(&done, output)?;
    } else if entries.is_empty() {
        output.note("no VM runs");
    }
    output.failures(failed)?;
    Ok(Exit::Success)
}

fn list(entries: &[Entry], output: Output) -> Result<Exit, Stop> {
    let mut all = Vec::new();
    for entry in entries {
        let answer = ask(entry, &Request::Forwards {})?;
        all.push(Forwards {
            name: entry.name(),
            forwards: answer.forwards.unwrap_or_default(),
        });
    }
    if output.is_json() {
        output.json(&all)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["NAME", "PROTOCOL", "HOST", "GUEST"]);
    for Forwards { name, forwards } in &all {
        for forward in forwards.iter().filter_map(|text| text.parse().ok()) {
            let Forward {
                protocol,
                host,
                guest_port,
            } = forward;
            table.row([
                name.clone(),
                protocol.to_string(),
                host.to_string(),
                guest_port.to_string(),
            ]);
        }
    }
    output.data(table.text())?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_port_alone_tells_which_forward_goes() {
        for text in ["8080", "tcp:8080", "127.0.0.1:8080", "8080:80"] {
            assert_eq!(of_host(text).map(|it| it.host.port()), Some(8080), "{text}");
        }
        assert_eq!(of_host("x"), None);
    }
}
