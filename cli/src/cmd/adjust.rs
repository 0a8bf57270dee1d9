//! `pcp-vmm balloon` and `pcp-vmm link`: devices that are changed while the guest runs.

use serde::Serialize;
use vmm::control::protocol::{Answer, BalloonSize, LinkState, Request};

use crate::args::{BalloonArgs, LinkArgs, TargetArgs};
use crate::diagnostic::Diagnostic;
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

/// Shows or changes the balloons of VMs.
pub(crate) fn balloon(
    args: &BalloonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let (target, size) = args.read().map_err(usage)?;
    let request = Request::Balloon { size };
    each(&target, runtime, &request, output, |name, answer| {
        let size = answer.balloon;
        let line = size.map(|BalloonSize { target, actual }| {
            let (target, actual) = (size_words(target), size_words(actual));
            format!("{name}: {actual} given, {target} wanted\n")
        });
        (Balloon { name, size }, line)
    })
}

/// Shows or changes the links of VMs' network cards.
pub(crate) fn link(args: &LinkArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let (target, state) = args.read().map_err(usage)?;
    let state = state.map(LinkState::from);
    let request = Request::Link { state };
    each(&target, runtime, &request, output, |name, answer| {
        let link = answer.link;
        let line = link.map(|link| {
            let word = match link {
                LinkState::Up => "up",
                LinkState::Down => "down",
            };
            format!("{name}: {word}\n")
        });
        (Link { name, link }, line)
    })
}

/// What is said of a command line that is none.
pub(super) fn usage(why: String) -> Diagnostic {
    Diagnostic::usage("usage", why).hint("all options: `pcp-vmm VERB --help`")
}

/// Asks all VMs that are meant; those that do not do it do not keep the others from it.
fn each<T: Serialize>(
    target: &TargetArgs,
    runtime: &RuntimeDir,
    request: &Request,
    output: Output,
    told: impl Fn(String, Answer) -> (T, Option<String>),
) -> Result<Exit, Stop> {
    let (mut rows, mut lines, mut failed) = (Vec::new(), String::new(), Vec::new());
    for entry in runtime.select(target)? {
        match ask(&entry, request) {
            Ok(answer) => {
                let (row, line) = told(entry.name(), answer);
                rows.push(row);
                lines.push_str(&line.unwrap_or_default());
            }
            Err(diagnostic) => failed.push(diagnostic),
        }
    }
    if output.is_json() {
        output.json(&rows)?;
    } else {
        output.data(lines)?;
    }
    output.failures(failed)?;
    Ok(Exit::Success)
}
