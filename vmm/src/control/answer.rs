//! What each request of the control socket does.

use devices::WithSources;
use devices::backend::console::ConsoleHandle;
use devices::virtio::net::LinkHandle;

use super::protocol::{
    Answer, BalloonSize, ConsoleInfo, ConsoleName, EventKind, Info, LinkState, Request, VERSION,
};
use super::{Order, Served};
use crate::config::Forward;
use crate::config::value::MemorySize;

/// What follows on an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// The next request.
    Stay,
    /// Events, from this number on.
    Follow(u64),
    /// A console's bytes, from this position on.
    Console(ConsoleHandle, u64),
}

/// Does what is asked.
pub(super) fn obey(request: Request, served: &Served) -> (Answer, Next) {
    let answer = match request {
        Request::Info {} => Answer {
            info: Some(info(served)),
            ..Answer::done()
        },
        Request::Events { follow } => return events(follow, served),
        Request::Console { console, last } => return attach(console, last, served),
        Request::Pause {} => ordered(Order::Pause, served),
        Request::Resume {} => ordered(Order::Resume, served),
        Request::PowerButton {} => ordered(Order::PowerButton, served),
        Request::CtrlAltDel {} => ordered(Order::CtrlAltDel, served),
        Request::Quit {} => ordered(Order::Quit, served),
        Request::Forwards {} => Answer {
            forwards: Some(forwards(served)),
            ..Answer::done()
        },
        Request::AddForward { forward } => change(&forward, served, |net, forward| {
            let text = forward.to_string();
            net.add(forward)
                .map_err(|error| WithSources(&error).to_string())?;
            Ok(EventKind::ForwardAdded { forward: text })
        }),
        Request::RemoveForward { forward } => change(&forward, served, |net, forward| {
            let removed = net.remove(forward.protocol, forward.host);
            let removed = removed.map_err(|error| WithSources(&error).to_string())?;
            // The request's port in the guest need not be that of the forward.
            let forward = removed.to_string();
            Ok(EventKind::ForwardRemoved { forward })
        }),
        Request::Link { state } => link(state, served),
        Request::Balloon { size } => balloon(size, served),
    };
    (answer, Next::Stay)
}

fn info(served: &Served) -> Info {
    let status = &served.status;
    let phases = status.phases();
    let console = |console: &super::ServedConsole| ConsoleInfo {
        console: console.name,
        device: console.name.device().to_owned(),
        place: console.place.to_string(),
        output: console.handle.output_len(),
    };
    Info {
        protocol: VERSION,
        name: served.name.clone(),
        pid: served.pid,
        state: status.state(),
        phase: phases.last().map(|passed| passed.phase),
        phases,
        uptime_ms: status.uptime(),
        memory: served.memory,
        cpus: served.cpus,
        consoles: served.consoles.iter().map(console).collect(),
        forwards: forwards(served),
        balloon: balloon_size(served),
        link: link_state(served),
    }
}

fn events(follow: bool, served: &Served) -> (Answer, Next) {
    let events = served.status.events(0);
    let next = events.last().map_or(0, |event| event.seq + 1);
    let answer = Answer {
        events: Some(events),
        ..Answer::done()
    };
    let next = if follow {
        Next::Follow(next)
    } else {
        Next::Stay
    };
    (answer, next)
}

fn attach(name: ConsoleName, last: Option<u64>, served: &Served) -> (Answer, Next) {
    let Some(console) = served.consoles.iter().find(|it| it.name == name) else {
        let device = name.device();
        let why = format!("the machine has no console {device}");
        return (Answer::refusal(why), Next::Stay);
    };
    let (cursor, replay) = console.handle.replay(last.unwrap_or(u64::MAX));
    let answer = Answer {
        replay: Some(replay),
        ..Answer::done()
    };
    (answer, Next::Console(console.handle.clone(), cursor))
}

fn ordered(order: Order, served: &Served) -> Answer {
    match served.status.order(order) {
        Ok(()) => Answer::done(),
        Err(why) => Answer::refusal(why),
    }
}

fn balloon_size(served: &Served) -> Option<BalloonSize> {
    let balloon = served.controls.balloon.as_ref()?;
    Some(BalloonSize {
        target: balloon.target(),
        actual: balloon.actual(),
    })
}

fn balloon(size: Option<MemorySize>, served: &Served) -> Answer {
    let Some(balloon) = &served.controls.balloon else {
        return Answer::refusal("the machine has no balloon");
    };
    if let Some(size) = size {
        balloon.resize(size.0);
        let target = balloon.target();
        served.status.note(EventKind::Balloon { target });
    }
    Answer {
        balloon: balloon_size(served),
        ..Answer::done()
    }
}

/// The links are up if one is.
fn link_state(served: &Served) -> Option<LinkState> {
    let links = &served.controls.links;
    let up = links.iter().any(LinkHandle::is_up);
    let state = if up { LinkState::Up } else { LinkState::Down };
    (!links.is_empty()).then_some(state)
}

/// Takes the links of all cards down or up again, if asked to.
fn link(state: Option<LinkState>, served: &Served) -> Answer {
    if served.controls.links.is_empty() {
        return Answer::refusal("the machine has no network card");
    }
    if let Some(state) = state {
        let links = served.controls.links.iter();
        links.for_each(|link| link.set(state == LinkState::Up));
        served.status.note(EventKind::Link { state });
    }
    Answer {
        link: link_state(served),
        ..Answer::done()
    }
}

fn forwards(served: &Served) -> Vec<String> {
    let nets = served.controls.forwards.iter();
    nets.flat_map(|net| net.forwards())
        .map(|forward| forward.to_string())
        .collect()
}

/// Does something with a forward of the network.
fn change(
    text: &str,
    served: &Served,
    what: impl FnOnce(&crate::ForwardControl, Forward) -> Result<EventKind, String>,
) -> Answer {
    let Some(net) = served.controls.forwards.first() else {
        return Answer::refusal("the machine has no user-mode network");
    };
    let done = text
        .parse()
        .map_err(|error| WithSources(&error).to_string())
        .and_then(|forward| what(net, forward));
    match done {
        Ok(event) => {
            served.status.note(event);
            Answer::done()
        }
        Err(why) => Answer::refusal(why),
    }
}
