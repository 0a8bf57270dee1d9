//! `pcp-vmm ls`: the VMs that run, a line each.

use crate::args::LsArgs;
use crate::exit::Exit;
use crate::instances::{RuntimeDir, named};
use crate::output::{Output, Stop};
use crate::table::Table;
use crate::vm_status::{VmStatus, duration_words, size_words};

/// Lists the VMs that run.
pub(crate) fn list(args: &LsArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let mut entries = runtime.all()?;
    if !args.names.is_empty() {
        entries = named(&entries, &args.names)?;
    }
    let rows = VmStatus::of_all(&entries);
    if output.is_json() {
        output.json(&rows)?;
    } else if output.is_quiet() {
        let names: String = rows.iter().map(|row| format!("{}\n", row.name)).collect();
        output.data(names)?;
    } else if rows.is_empty() {
        output.note("no VM runs");
    } else {
        output.data(table(&rows).text())?;
    }
    Ok(Exit::Success)
}

fn table(rows: &[VmStatus]) -> Table {
    let mut table = Table::new(&[
        "NAME", "VARIANT", "STATE", "PHASE", "UPTIME", "CPU", "MEMORY", "ADDRESS", "PORTS",
    ]);
    let dash = || "-".to_owned();
    for row in rows {
        let memory = row.resident_bytes.zip(row.memory_bytes);
        table.row([
            row.name.clone(),
            row.variant.clone().unwrap_or_else(dash),
            row.state.clone(),
            row.phase.map_or_else(dash, |phase| phase.word().to_owned()),
            row.uptime_ms.map_or_else(dash, duration_words),
            row.cpu_percent
                .map_or_else(dash, |percent| format!("{percent:.0} %")),
            memory.map_or_else(dash, |(used, all)| {
                format!("{} of {}", size_words(used), size_words(all))
            }),
            row.address.map_or_else(dash, |address| address.to_string()),
            row.ports(),
        ]);
    }
    table
}
