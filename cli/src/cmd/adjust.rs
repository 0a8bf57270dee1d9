//! `pcp-vmm balloon` and `pcp-vmm link`: devices that are changed while the guest runs.

use serde::Serialize;
use vmm::control::protocol::{BalloonSize, LinkState, Request};

use crate::args::{BalloonArgs, LinkArgs};
use crate::exit::Exit;
use crate::instances::{RuntimeDir, ask};
use crate::output::{Output, Stop};
use crate::vm_status::size_words;

/// A balloon in JSON.
#[derive(Debug, Serialize)]
struct Balloon {
    name: String,
    #[serde(flatten)]
    size: Option<BalloonSize>,
}

/// Links in JSON.
#[derive(Debug, Serialize)]
struct Link {
    name: String,
    link: Option<LinkState>,
}

/// Shows or changes a VM's balloon.
pub(crate) fn balloon(
    args: &BalloonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let entry = runtime.one(&args.name)?;
    let size = ask(&entry, &Request::Balloon { size: args.size })?.balloon;
    let name = entry.name();
    if output.is_json() {
        output.json(&Balloon { name, size })?;
    } else if let Some(BalloonSize { target, actual }) = size {
        let (target, actual) = (size_words(target), size_words(actual));
        output.data(format!("{name}: {actual} given, {target} wanted\n"))?;
    }
    Ok(Exit::Success)
}

/// Shows or changes the links of a VM's network cards.
pub(crate) fn link(args: &LinkArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let entry = runtime.one(&args.name)?;
    let state = args.state.map(LinkState::from);
    let link = ask(&entry, &Request::Link { state })?.link;
    let name = entry.name();
    if output.is_json() {
        output.json(&Link { name, link })?;
    } else if let Some(link) = link {
        let word = match link {
            LinkState::Up => "up",
            LinkState::Down => "down",
        };
        output.data(format!("{name}: {word}\n"))?;
    }
    Ok(Exit::Success)
}
