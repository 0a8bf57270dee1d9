//! `lifecycle status` and `lifecycle force-kill`.

use std::time::{Duration, Instant};

use guest::variant::{self, Variant};
use serde::Serialize;
use vmm::instance::Entry;

use super::super::stop::FORCE;
use super::super::stop::end_all;
use super::machine::Machine;
use super::{CONSOLES, consoles};
use crate::args::{LifecycleStatusArgs, VariantArgs};
use crate::at_once::at_once;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::ssh::greets;
use crate::table::Table;

/// How long a console may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A variant, in JSON.
#[derive(Debug, Serialize)]
struct Row {
    variant: String,
    name: String,
    pid: Option<u32>,
    phase: Option<String>,
    serial: bool,
    virtio: bool,
    ssh: bool,
}

/// The variants of these names, or all.
fn variants(names: &[String]) -> Result<Vec<Variant>, Diagnostic> {
    let all = variant::all();
    let mut all = all.map_err(|error| {
        Diagnostic::failure("variant", "cannot list the variants").because(&error)
    })?;
    for name in names {
        if !all.iter().any(|variant| variant.name == *name) {
            let known: Vec<&str> = all.iter().map(|variant| variant.name.as_str()).collect();
            let what = format!("there is no variant `{}`", name.escape_debug());
            return Err(
                Diagnostic::usage("variant", what).hint(format!("there are {}", known.join(", ")))
            );
        }
    }
    all.retain(|variant| names.is_empty() || names.contains(&variant.name));
    Ok(all)
}

/// The VMs of `variant` that run.
fn of_variant(entries: &[Entry], variant: &Variant) -> Vec<Entry> {
    let is_it = |entry: &&Entry| {
        let record = entry.record.as_ref();
        let process = record.and_then(|it| it.process.as_deref());
        entry.name() == variant.hostname || process == Some(variant.hostname.as_str())
    };
    entries.iter().filter(is_it).cloned().collect()
}

/// Tells how the variants are.
pub(super) fn status(
    args: &LifecycleStatusArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let variants = variants(&args.variant)?;
    let entries = runtime.all()?;
    let rows: Vec<Row> = at_once(&variants, |variant| row(variant, &entries));
    if output.is_json() {
        output.json(&rows)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["VARIANT", "PROCESS", "PHASE", "SERIAL", "VIRTIO", "SSH"]);
    let yes = |yes: bool| if yes { "answers" } else { "-" }.to_owned();
    for row in rows {
        let process = row.pid.map_or_else(
            || "not running".to_owned(),
            |pid| format!("running (PID: {pid})"),
        );
        let phase = row.phase.unwrap_or_else(|| "-".to_owned());
        let cells = [
            row.variant,
            process,
            phase,
            yes(row.serial),
            yes(row.virtio),
            yes(row.ssh),
        ];
        table.row(cells);
    }
    output.data(table.text())?;
    Ok(Exit::Success)
}

fn row(variant: &Variant, entries: &[Entry]) -> Row {
    let entry = of_variant(entries, variant).into_iter().next();
    let named = entry.and_then(|it| Some((it.name(), Machine::of_entry(it)?)));
    let Some((name, machine)) = named else {
        return Row {
            variant: variant.name.clone(),
            name: variant.hostname.clone(),
            pid: None,
            phase: None,
            serial: false,
            virtio: false,
            ssh: false,
        };
    };
    let begin = Instant::now();
    let late = || begin.elapsed() > PATIENCE;
    let answers = at_once(&CONSOLES, |&console| {
        consoles::answers(&machine, console, &late).is_ok()
    });
    let phase = machine.status().and_then(|status| status.phase);
    Row {
        variant: variant.name.clone(),
        name,
        pid: Some(machine.pid),
        phase: phase.map(|phase| phase.word().to_owned()),
        serial: answers.first().copied().unwrap_or(false),
        virtio: answers.get(1).copied().unwrap_or(false),
        ssh: machine
            .login()
            .is_ok_and(|login| greets(login.address()).is_none()),
    }
}

/// Ends the VMs of variants.
pub(super) fn force_kill(
    args: &VariantArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let variants = variants(&args.variant)?;
    let entries = runtime.all()?;
    let meant: Vec<Entry> = variants
        .iter()
        .flat_map(|variant| of_variant(&entries, variant))
        .collect();
    end_all(&meant, &FORCE, output)
}
