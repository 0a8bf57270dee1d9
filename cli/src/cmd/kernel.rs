//! `pcp-vmm kernel`: Debian's kernels in the cache.

mod check;
mod unpack;

use std::path::PathBuf;

use guest::kernels::{
    CachedKernel, Entry, KernelError, KernelStore, Offer, Order, Package, Source,
};
use serde::Serialize;

use crate::args::{
    KernelAddArgs, KernelLsArgs, KernelRmArgs, KernelShowArgs, KernelVerb, MirrorArgs,
};
use crate::diagnostic::Diagnostic;
use crate::env;
use crate::exit::Exit;
use crate::nearest::nearest;
use crate::output::{Output, Stop};
use crate::progress::BuildProgress;
use crate::table::Table;

/// Does what `verb` says.
pub(crate) fn dispatch(verb: KernelVerb, output: Output) -> Result<Exit, Stop> {
    match verb {
        KernelVerb::Ls(args) if args.available => available(&store()?, args, output)?,
        KernelVerb::Ls(_) => list(&store()?, output)?,
        KernelVerb::Add(args) => add(&store()?, &args, output)?,
        KernelVerb::Show(args) => show(&store()?, &args, output)?,
        KernelVerb::Check(args) => return check::check(&args, output),
        KernelVerb::Unpack(args) => return unpack::unpack(&args, output),
        KernelVerb::Rm(args) => remove(&store()?, &args, output)?,
    }
    Ok(Exit::Success)
}

/// The cache's kernels.
pub(super) fn store() -> Result<KernelStore, Diagnostic> {
    let cache = env::cache_dir().ok_or_else(|| {
        Diagnostic::failure("cache", "there is no folder for kernels")
            .hint("set `HOME`, or `PCP_VMM_CACHE` to a folder")
    })?;
    // Beside them, what bzImages unpack to.
    Ok(KernelStore::new(cache.join("kernels/debian")))
}

/// A failure of the cache's kernels.
pub(super) fn failed(message: impl Into<String>, error: &KernelError) -> Diagnostic {
    let diagnostic = Diagnostic::failure("kernel", message).because(error);
    match error.hint() {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

fn cannot_list(error: &KernelError) -> Diagnostic {
    failed("cannot list the kernels", error)
}

/// That no kernel of the cache is named so.
pub(super) fn unknown(store: &KernelStore, wanted: &str) -> Diagnostic {
    let diagnostic = Diagnostic::failure(
        "kernel",
        format!("there is no kernel {} in the cache", wanted.escape_debug()),
    );
    let names = store.entries().unwrap_or_default();
    let diagnostic = match nearest(wanted, names.into_iter().map(|it| it.name)) {
        Some(name) => diagnostic.hint(format!("did you mean `{name}`?")),
        None => diagnostic,
    };
    diagnostic.hint(format!(
        "`pcp-vmm kernel add {}` fetches it, `pcp-vmm kernel ls` lists those that are there",
        wanted.escape_debug()
    ))
}

/// A row of `kernel ls`.
#[derive(Debug, Serialize)]
struct Row {
    release: String,
    version: Option<String>,
    flavour: Option<&'static str>,
    suite: Option<String>,
    size: Option<u64>,
    path: Option<PathBuf>,
    problem: Option<String>,
}

impl From<Entry> for Row {
    fn from(entry: Entry) -> Self {
        let problem = entry.kernel.as_ref().err().map(ToString::to_string);
        let kernel = entry.kernel.ok();
        let kernel = kernel.as_ref();
        Self {
            release: entry.name,
            version: kernel.map(|it| it.version.clone()),
            flavour: kernel.map(|it| it.flavour.name()),
            suite: kernel.map(|it| it.suite.clone()),
            size: kernel.map(|it| it.size),
            path: kernel.map(|it| it.folder().to_owned()),
            problem,
        }
    }
}

fn list(store: &KernelStore, output: Output) -> Result<(), Stop> {
    let entries = store.entries().map_err(|error| cannot_list(&error))?;
    let rows: Vec<Row> = entries.into_iter().map(Row::from).collect();
    if output.is_json() {
        return output.json(&rows);
    }
    if output.is_quiet() {
        let lines = rows.iter().map(|row| format!("{}\n", row.release));
        return output.data(lines.collect::<String>());
    }
    if rows.is_empty() {
        output.note("no kernels are in the cache; `pcp-vmm kernel add 6.12` fetches one");
        return Ok(());
    }
    let mut table = Table::new(&["RELEASE", "VERSION", "FLAVOUR", "SUITE", "SIZE"]);
    for row in &rows {
        let told = match &row.problem {
            Some(problem) => format!("unusable: {problem}"),
            None => row.version.clone().unwrap_or_default(),
        };
        table.row([
            row.release.clone(),
            told,
            row.flavour.unwrap_or_default().to_owned(),
            row.suite.clone().unwrap_or_default(),
            row.size.map(mib).unwrap_or_default(),
        ]);
    }
    output.data(table.text())
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn source(from: MirrorArgs) -> Source {
    Source {
        mirror: from.mirror,
        keyring: from.keyring,
    }
}

/// A row of `kernel ls --available`.
#[derive(Debug, Serialize)]
struct Available<'a> {
    #[serde(flatten)]
    offer: &'a Offer,
    cached: bool,
}

fn available(store: &KernelStore, args: KernelLsArgs, output: Output) -> Result<(), Stop> {
    let suite = args.from.suite.clone();
    let mut progress = BuildProgress::new(output);
    let offers = store.available(suite.as_deref(), &source(args.from), &mut progress);
    progress.finish(offers.is_ok());
    let offers = offers.map_err(|error| failed("cannot tell what kernels there are", &error))?;
    let cached = store.kernels().map_err(|error| cannot_list(&error))?;
    let rows = offers.iter().map(|offer| Available {
        offer,
        cached: cached.iter().any(|it| it.release == offer.release),
    });
    let rows: Vec<_> = rows.collect();
    if output.is_json() {
        return output.json(&rows);
    }
    let mut table = Table::new(&["RELEASE", "VERSION", "FLAVOUR", "SUITE", "FETCH", "CACHED"]);
    for Available { offer, cached } in rows {
        table.row([
            offer.release.clone(),
            offer.version.clone(),
            offer.flavour.name().to_owned(),
            offer.suite.clone(),
            mib(offer.size),
            if cached { "yes" } else { "" }.to_owned(),
        ]);
    }
    output.data(table.text())
}

/// What `kernel show --json` prints, and `kernel add --json` for each kernel.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    release: &'a str,
    version: &'a str,
    flavour: &'static str,
    suite: &'a str,
    size: u64,
    kernel: PathBuf,
    config: PathBuf,
    modules: PathBuf,
    packages: &'a [Package],
}

impl<'a> From<&'a CachedKernel> for Shown<'a> {
    fn from(kernel: &'a CachedKernel) -> Self {
        Self {
            release: &kernel.release,
            version: &kernel.version,
            flavour: kernel.flavour.name(),
            suite: &kernel.suite,
            size: kernel.size,
            kernel: kernel.image(),
            config: kernel.config(),
            modules: kernel.modules(),
            packages: &kernel.packages,
        }
    }
}

fn add(store: &KernelStore, args: &KernelAddArgs, output: Output) -> Result<(), Stop> {
    let mut added = Vec::new();
    for wanted in &args.versions {
        let order = Order {
            wanted: wanted.clone(),
            flavour: Some(args.flavour.into()),
            suite: args.from.suite.clone(),
            source: Source {
                mirror: args.from.mirror.clone(),
                keyring: args.from.keyring.clone(),
            },
        };
        let mut progress = BuildProgress::new(output);
        let kernel = store.add(&order, &mut progress);
        progress.finish(kernel.is_ok());
        let kernel = kernel.map_err(|error| {
            failed(
                format!("cannot add the kernel {}", wanted.escape_debug()),
                &error,
            )
        })?;
        if !output.is_json() {
            output.data(format!("{}\n", kernel.release))?;
        }
        added.push(kernel);
    }
    if output.is_json() {
        output.json(&added.iter().map(Shown::from).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn show(store: &KernelStore, args: &KernelShowArgs, output: Output) -> Result<(), Stop> {
    let kernels = store.kernels().map_err(|error| cannot_list(&error))?;
    let found = kernels.iter().find(|it| it.is_named(&args.version));
    let shown: Shown<'_> = found.ok_or_else(|| unknown(store, &args.version))?.into();
    if output.is_json() {
        return output.json(&shown);
    }
    let mut table = Table::default();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("release", shown.release.to_owned());
    row("version", shown.version.to_owned());
    row("flavour", shown.flavour.to_owned());
    row("suite", shown.suite.to_owned());
    row("size", mib(shown.size));
    row("kernel", shown.kernel.display().to_string());
    row("config", shown.config.display().to_string());
    row("modules", shown.modules.display().to_string());
    for package in shown.packages {
        let Package {
            name,
            version,
            sha256,
        } = package;
        row("package", format!("{name} {version} sha256:{sha256}"));
    }
    output.data(table.text())
}

fn remove(store: &KernelStore, args: &KernelRmArgs, output: Output) -> Result<(), Stop> {
    let entries = store.entries().map_err(|error| cannot_list(&error))?;
    let named = if args.all {
        entries.into_iter().map(|it| it.name).collect()
    } else {
        // All names are looked at before anything is removed.
        let names = args.versions.iter().map(|it| only(store, &entries, it));
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        names.dedup();
        names
    };
    let failures = named.iter().filter_map(|name| match store.remove(name) {
        Ok(()) => {
            output.note(format!("removed {name}"));
            None
        }
        Err(error) => Some(failed(format!("cannot remove the kernel {name}"), &error)),
    });
    output.failures(failures.collect::<Vec<_>>())
}

/// The only entry that `wanted` names.
fn only(store: &KernelStore, entries: &[Entry], wanted: &str) -> Result<String, Diagnostic> {
    let exact = entries.iter().find(|it| it.name == wanted);
    if let Some(entry) = exact {
        return Ok(entry.name.clone());
    }
    let is_named = |entry: &&Entry| entry.kernel.as_ref().is_ok_and(|it| it.is_named(wanted));
    let found: Vec<&str> = entries
        .iter()
        .filter(is_named)
        .map(|it| &*it.name)
        .collect();
    match found[..] {
        [] => Err(unknown(store, wanted)),
        [one] => Ok(one.to_owned()),
        _ => Err(Diagnostic::usage(
            "kernel",
            format!("{} names several kernels", wanted.escape_debug()),
        )
        .cause(found.join(", "))
        .hint("name one of them, or remove `--all`")),
    }
}
