//! `pcp-vmm ids`: the identifiers that VMs have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::args::{CommonArgs, IdsVerb};
use crate::deployment;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::folders;
use crate::ids::{self, Documented, Export, ExportFormat, PoolName, Store};
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::table::Table;

/// What a VM has, in JSON.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Whether it is one of PCP's documented VMs.
    documented: bool,
    running: bool,
    /// By pool.
    ids: BTreeMap<String, u64>,
    /// What those stand for.
    values: BTreeMap<String, String>,
}

/// Does what `verb` says.
pub(crate) fn dispatch(
    verb: IdsVerb,
    common: &CommonArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let folder = folders::state_dir(common)?;
    match verb {
        IdsVerb::Ls => list(&folder, runtime, output),
        IdsVerb::Assign { names, pool } => assign(&folder, &names, &pool, output),
        IdsVerb::Export { format } => export(&folder, format, output),
        IdsVerb::Free { names, all } => free(&folder, &names, all, runtime, output),
    }
}

/// Gives back what `names` have, as far as they have anything.
pub(crate) fn give_back<'a>(
    folder: &Path,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<(), Diagnostic> {
    let known = Store::read(folder)?.assignments;
    let known = known.vms();
    let mut names = names
        .into_iter()
        .filter(|name| known.contains(name.as_str()))
        .peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    let mut store = Store::hold(folder)?;
    for name in names {
        store.assignments.free(name);
    }
    Ok(store.save()?)
}

fn running(runtime: &RuntimeDir) -> Result<BTreeSet<String>, Diagnostic> {
    Ok(runtime.all()?.iter().map(|entry| entry.name()).collect())
}

fn list(folder: &Path, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let store = Store::read(folder)?;
    let rows = rows(&store, &ids::documented()?, &running(runtime)?);
    if output.is_json() {
        output.json(&rows)?;
        return Ok(Exit::Success);
    }
    if output.is_quiet() {
        let names: String = rows.iter().map(|row| format!("{}\n", row.name)).collect();
        output.data(names)?;
        return Ok(Exit::Success);
    }
    let used = |pool: &&str| rows.iter().any(|row| row.values.contains_key(*pool));
    let pools: Vec<&str> = store.pools.names().filter(used).collect();
    let titles: Vec<String> = pools.iter().map(|pool| pool.to_ascii_uppercase()).collect();
    let titles = titles.iter().map(String::as_str);
    let titles: Vec<&str> = ["NAME", "STATE"].into_iter().chain(titles).collect();
    let mut table = Table::new(&titles);
    for row in &rows {
        let state = match (row.running, row.documented) {
            (true, _) => "running",
            (false, true) => "documented",
            (false, false) => "kept",
        };
        let value = |pool: &&str| row.values.get(*pool).map_or("-", String::as_str).to_owned();
        let first = [row.name.clone(), state.to_owned()];
        table.row(first.into_iter().chain(pools.iter().map(value)));
    }
    output.data(table.text())?;
    Ok(Exit::Success)
}

fn rows(store: &Store, documented: &[Documented], running: &BTreeSet<String>) -> Vec<Row> {
    let prefix = store.mac_prefix();
    let row = |name: &str, is_documented: bool, ids: BTreeMap<String, u64>| {
        let value = |(pool, id): (&String, &u64)| {
            let step = store.pools.get(pool).map_or(1, |pool| pool.step);
            let text = ids::text(pool, *id, prefix);
            let text = match step {
                // PCP's ports do not follow each other.
                2.. if !is_documented => format!("{text}-{}", id + step - 1),
                _ => text,
            };
            (pool.clone(), text)
        };
        Row {
            name: name.to_owned(),
            documented: is_documented,
            running: running.contains(name),
            values: ids.iter().map(value).collect(),
            ids,
        }
    };
    let of_old = documented.iter().map(|vm| {
        let ids = vm
            .ids
            .iter()
            .map(|(pool, id)| (pool.as_str().to_owned(), *id));
        let mut row = row(&vm.name, true, ids.collect());
        row.values
            .insert(PoolName::Macs.as_str().to_owned(), vm.mac.to_string());
        row
    });
    let given = store.assignments.vms().into_iter().map(|name| {
        let ids = store.assignments.of(name);
        row(
            name,
            false,
            ids.map(|(pool, id)| (pool.to_owned(), id)).collect(),
        )
    });
    of_old.chain(given).collect()
}

fn export(folder: &Path, format: ExportFormat, output: Output) -> Result<Exit, Stop> {
    let export = Export::of(&Store::read(folder)?, &ids::documented()?);
    output.data(export.text(format))?;
    Ok(Exit::Success)
}

fn assign(folder: &Path, names: &[String], pools: &[String], output: Output) -> Result<Exit, Stop> {
    let documented = ids::documented()?;
    let failed = || Diagnostic::usage("ids", "cannot assign identifiers");
    let mut problems: Vec<String> = names
        .iter()
        .filter_map(|it| deployment::unfit_name(it))
        .collect();
    for vm in documented.iter().filter(|vm| names.contains(&vm.name)) {
        problems.push(format!("`{}` has PCP's documented ones", vm.name));
    }
    let mut store = Store::hold(folder)?;
    let usual = [PoolName::Ports, PoolName::Consoles].map(|pool| pool.as_str().to_owned());
    let pools = if pools.is_empty() { &usual[..] } else { pools };
    let mut ranges = Vec::new();
    for name in pools {
        match store.pools.get(name) {
            Some(pool) => ranges.push((name, pool)),
            None => {
                let known: Vec<&str> = store.pools.names().collect();
                let shown = name.escape_debug();
                problems.push(format!(
                    "there is no pool `{shown}`, but {}",
                    known.join(", ")
                ));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems
            .into_iter()
            .fold(failed(), Diagnostic::cause)
            .into());
    }
    for vm in names {
        for (name, pool) in &ranges {
            let given = store.assignments.assign(name, *pool, vm, |_| true);
            given.map_err(|error| {
                failed()
                    .because(&error)
                    .hint("`pcp-vmm ids free NAME` gives back what a VM has")
            })?;
        }
    }
    store.save()?;
    let rows = rows(&store, &[], &BTreeSet::new()).into_iter();
    let rows: Vec<Row> = rows.filter(|row| names.contains(&row.name)).collect();
    if output.is_json() {
        output.json(&rows)?;
        return Ok(Exit::Success);
    }
    for row in rows {
        for (pool, value) in row.values {
            output.data(format!("{} {pool} {value}\n", row.name))?;
        }
    }
    Ok(Exit::Success)
}

fn free(
    folder: &Path,
    names: &[String],
    all: bool,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    let mut store = Store::hold(folder)?;
    let running = running(runtime)?;
    let known: BTreeSet<String> = store
        .assignments
        .vms()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let failed = || Diagnostic::failure("ids", "cannot free identifiers");
    let names: Vec<&String> = if all {
        known
            .iter()
            .filter(|name| !running.contains(*name))
            .collect()
    } else {
        names.iter().collect()
    };
    let problem = |name: &&String| {
        let shown = name.escape_debug();
        if running.contains(*name) {
            Some(format!("`{shown}` runs"))
        } else if known.contains(*name) {
            None
        } else {
            Some(format!("`{shown}` has none"))
        }
    };
    let problems: Vec<String> = names.iter().filter_map(problem).collect();
    if !problems.is_empty() {
        let told = problems.into_iter().fold(failed(), Diagnostic::cause);
        return Err(told
            .hint("`pcp-vmm ids ls` lists who has some; `pcp-vmm stop NAME` ends a VM")
            .into());
    }
    for name in &names {
        store.assignments.free(name);
    }
    store.save()?;
    if output.is_json() {
        output.json(&json!({ "freed": names }))?;
    } else {
        for name in names {
            output.data(format!("{name}\n"))?;
        }
    }
    Ok(Exit::Success)
}
