//! `pcp-vmm inspect`: what VMs were started with.

use serde::Serialize;
use serde_json::Value;
use vmm::instance::{Entry, Record};

use crate::args::InspectArgs;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::table::Table;
use crate::vm_status::VmStatus;

/// A VM in JSON.
#[derive(Debug, Serialize)]
struct Inspected<'a> {
    name: String,
    status: Option<VmStatus>,
    record: Option<&'a Record>,
}

/// A VM's values in JSON.
#[derive(Debug, Serialize)]
struct Settings<'a> {
    name: String,
    settings: &'a Value,
}

/// Shows what VMs were started with.
pub(crate) fn inspect(
    args: &InspectArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let entries = runtime.select(&args.target)?;
    if args.resolved {
        resolved(&entries, output)?;
        return Ok(Exit::Success);
    }
    let inspected = |entry| Inspected {
        name: Entry::name(entry),
        status: VmStatus::of(entry),
        record: entry.record.as_ref(),
    };
    let all: Vec<Inspected<'_>> = entries.iter().map(inspected).collect();
    output.json(&all)?;
    Ok(Exit::Success)
}

fn resolved(entries: &[Entry], output: Output) -> Result<(), Stop> {
    const NONE: &Value = &Value::Null;
    let all: Vec<Settings<'_>> = entries
        .iter()
        .map(|entry| Settings {
            name: entry.name(),
            settings: entry.record.as_ref().map_or(NONE, |it| &it.settings),
        })
        .collect();
    if output.is_json() {
        return output.json(&all);
    }
    let mut table = Table::new(&["NAME", "SETTING", "VALUE", "FROM"]);
    for vm in &all {
        for setting in vm.settings.as_array().into_iter().flatten() {
            let field = |name: &str| setting[name].as_str().unwrap_or("-").to_owned();
            let setting = field("field").replace('_', "-");
            table.row([vm.name.clone(), setting, field("value"), field("origin")]);
        }
    }
    output.data(table.text())
}
