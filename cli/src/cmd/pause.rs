//! `pcp-vmm pause` and `pcp-vmm resume`: vCPUs that stop and go on.

use serde::Serialize;
use vmm::control::protocol::{Request, State};

use crate::args::TargetArgs;
use crate::exit::Exit;
use crate::instances::{RuntimeDir, ask};
use crate::output::{Output, Stop};

/// A VM and what it does now.
#[derive(Debug, Serialize)]
struct Changed {
    name: String,
    state: State,
}

/// Stops the vCPUs of VMs.
pub(crate) fn pause(
    target: &TargetArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    change(target, runtime, output, (&Request::Pause {}, State::Paused))
}

/// Lets them go on.
pub(crate) fn resume(
    target: &TargetArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    change(
        target,
        runtime,
        output,
        (&Request::Resume {}, State::Running),
    )
}

fn change(
    target: &TargetArgs,
    runtime: &RuntimeDir,
    output: Output,
    (request, state): (&Request, State),
) -> Result<Exit, Stop> {
    let mut changed = Vec::new();
    for entry in runtime.select(target)? {
        ask(&entry, request)?;
        let name = entry.name();
        if !output.is_json() {
            output.data(format!("{name}: {state}\n"))?;
        }
        changed.push(Changed { name, state });
    }
    if output.is_json() {
        output.json(&changed)?;
    }
    Ok(Exit::Success)
}
