//! `pcp-vmm wait`: until VMs are as wanted.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use vmm::instance::Entry;

use crate::args::WaitArgs;
use crate::at_once::{at_once, parted};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::process::Process;
use crate::wanted::Wanted;

mod checks;

/// How long a VM that is being started may take to appear.
const APPEARANCE: Duration = Duration::from_secs(5);
/// The time between two looks for it.
const LOOK: Duration = Duration::from_millis(20);

/// A VM that is as wanted, in JSON.
#[derive(Debug, Serialize)]
pub(in crate::cmd) struct Reached {
    name: String,
    wanted: Vec<String>,
    seconds: f64,
}

/// Waits until VMs are as wanted.
pub(crate) fn wait(args: &WaitArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let begin = Instant::now();
    let deadline = args.timeout.map(|limit| begin + limit);
    let wanted = match args.wanted.as_slice() {
        [] => vec![Wanted::Ready],
        wanted => wanted.to_vec(),
    };
    let entries = appeared(args, runtime, &wanted, deadline)?;
    let outcomes = at_once(&entries, |entry| one(entry, &wanted, begin, deadline));
    let (reached, failed) = parted(outcomes);
    if output.is_json() {
        output.json(&reached)?;
    } else {
        for Reached { name, seconds, .. } in &reached {
            output.note(format!("{name}: as wanted after {seconds:.1} s"));
        }
    }
    output.failures(failed)?;
    Ok(Exit::Success)
}

/// The VMs that are meant, once they are all there.
fn appeared(
    args: &WaitArgs,
    runtime: &RuntimeDir,
    wanted: &[Wanted],
    deadline: Option<Instant>,
) -> Result<Vec<Entry>, Diagnostic> {
    // Who waits for an end means one that runs.
    let patience = if wanted.iter().all(|it| matches!(it, Wanted::Exit)) {
        Duration::ZERO
    } else {
        APPEARANCE
    };
    let end = Instant::now() + patience;
    let end = deadline.map_or(end, |deadline| deadline.min(end));
    loop {
        match runtime.select(&args.target) {
            Err(error) if error.code == "unknown-vm" && Instant::now() < end => {
                thread::sleep(LOOK);
            }
            Ok(entries) if entries.iter().any(|it| it.record.is_none()) && Instant::now() < end => {
                thread::sleep(LOOK);
            }
            other => return other,
        }
    }
}

/// A VM that is waited for.
#[derive(Debug)]
struct Waiting<'a> {
    entry: &'a Entry,
    process: Process,
    deadline: Option<Instant>,
}

/// Why waiting is over without what was wanted.
#[derive(Debug)]
enum InVain {
    /// Time has passed; what was seen last, if there is something to say of it.
    Late(Option<String>),
    /// The VM has ended.
    Ended,
    /// It cannot be found out.
    Blind(Diagnostic),
}

impl From<Diagnostic> for InVain {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Blind(diagnostic)
    }
}

/// Waits until one VM is in all that is wanted.
pub(in crate::cmd) fn one(
    entry: &Entry,
    wanted: &[Wanted],
    begin: Instant,
    deadline: Option<Instant>,
) -> Result<Reached, Diagnostic> {
    let name = entry.name();
    let pid = entry.record.as_ref().map_or(0, |record| record.pid);
    let process = Process::open(pid).ok().flatten();
    let reached = || Reached {
        name: name.clone(),
        wanted: wanted.iter().map(ToString::to_string).collect(),
        seconds: (begin.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    };
    let Some(process) = process else {
        if wanted.iter().all(|it| matches!(it, Wanted::Exit)) {
            return Ok(reached());
        }
        return Err(failed(&name, wanted.first(), InVain::Ended));
    };
    let waiting = Waiting {
        entry,
        process,
        deadline,
    };
    for it in wanted {
        let done = checks::until(&waiting, it);
        done.map_err(|why| failed(&name, Some(it), why))?;
    }
    Ok(reached())
}

fn failed(name: &str, wanted: Option<&Wanted>, why: InVain) -> Diagnostic {
    let what = wanted.map_or_else(String::new, |wanted| format!(" ({wanted})"));
    match why {
        InVain::Late(seen) => {
            let message = format!("`{name}` is not as wanted in time{what}");
            let diagnostic = Diagnostic::failure("timeout", message);
            let diagnostic = seen.into_iter().fold(diagnostic, Diagnostic::cause);
            diagnostic.hint(format!("`pcp-vmm logs {name}` shows what its guest says"))
        }
        InVain::Ended => {
            let message = format!("`{name}` ended before it was as wanted{what}");
            Diagnostic::failure("ended", message)
                .hint("what `pcp-vmm run` printed at its end tells why")
        }
        InVain::Blind(diagnostic) => diagnostic,
    }
}
