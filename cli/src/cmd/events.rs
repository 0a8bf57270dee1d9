//! `pcp-vmm events`: what happened to VMs, and what happens.

use serde::Serialize;
use vmm::control::protocol::{Event, EventKind, LinkState, Request};
use vmm::instance::Entry;

use crate::args::EventsArgs;
use crate::at_once::{at_once, parted};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::{RuntimeDir, connect, silent};
use crate::output::{Output, Stop};
use crate::vm_status::size_words;

/// An event in JSON.
#[derive(Debug, Serialize)]
struct Told<'a> {
    name: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

/// Tells what happened to VMs.
pub(crate) fn tell(args: &EventsArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let entries = runtime.select(&args.target)?;
    // Each on a thread of its own: they happen at any time.
    let told = at_once(&entries, |entry| of_one(entry, args.follow, output));
    output.failures(parted(told).1)?;
    Ok(Exit::Success)
}

fn of_one(entry: &Entry, follow: bool, output: Output) -> Result<(), Stop> {
    let name = entry.name();
    let mut client = connect(entry)?;
    let answer = client.ask(&Request::Events { follow });
    let answer = answer.map_err(|error| silent(entry, &error))?;
    for event in answer.events.unwrap_or_default() {
        line(&name, &event, output)?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        match client.next_event() {
            Ok(event) => {
                line(&name, &event, output)?;
                if matches!(event.kind, EventKind::End { .. }) {
                    return Ok(());
                }
            }
            Err(error) if error.is_end() => return Ok(()),
            Err(error) => return Err(silent(entry, &error).into()),
        }
    }
}

/// One event is one line, in JSON too.
fn line(name: &str, event: &Event, output: Output) -> Result<(), Stop> {
    if output.is_json() {
        let text = serde_json::to_string(&Told { name, event })
            .map_err(|error| Diagnostic::failure("json", "cannot write JSON").because(&error))?;
        return output.data(format!("{text}\n"));
    }
    let seconds = event.after_ms as f64 / 1000.0;
    let what = words(&event.kind);
    output.data(format!("{name}  {seconds:>9.3} s  {what}\n"))
}

fn words(event: &EventKind) -> String {
    match event {
        EventKind::Phase { phase } => format!("phase {}", phase.word()),
        EventKind::State { state } => state.to_string(),
        EventKind::PowerButton {} => "power button pressed".to_owned(),
        EventKind::CtrlAltDel {} => "Ctrl-Alt-Del pressed".to_owned(),
        EventKind::ForwardAdded { forward } => format!("forward {forward} added"),
        EventKind::ForwardRemoved { forward } => format!("forward {forward} removed"),
        EventKind::Balloon { target } => format!("balloon of {} wanted", size_words(*target)),
        EventKind::Link {
            state: LinkState::Up,
        } => "link up".to_owned(),
        EventKind::Link {
            state: LinkState::Down,
        } => "link down".to_owned(),
        EventKind::End { reason } => format!("ended: {reason}"),
    }
}
