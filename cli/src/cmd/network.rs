//! `pcp-vmm network`: PCP's TAP network on this host.

use std::path::Path;

use serde::Serialize;

use crate::args::{CheckArgs, CommonArgs, NetworkVerb, SetupArgs, TeardownArgs};
use crate::diagnostic::Diagnostic;
use crate::doctor::{self, Check};
use crate::exit::Exit;
use crate::folders;
use crate::network::{
    BRIDGE, Change, Found, GATEWAY, GUEST, Ledger, Obstacle, Part, PartState, TAP, TOOLS, User,
    is_there, plan, run, shown,
};
use crate::output::{Output, Stop};
use crate::table::Table;

/// What failed, for `error:`.
const SETUP: &str = "cannot set up the network";
const TEARDOWN: &str = "cannot take the network away";

/// What `setup` and `teardown` print with `--json`.
#[derive(Serialize)]
struct Done<'a> {
    dry_run: bool,
    user: Option<u32>,
    commands: &'a [Vec<String>],
}

/// What `status` prints with `--json`.
#[derive(Serialize)]
struct Status<'a> {
    /// Whether a guest can use it.
    usable: bool,
    /// Whether a setup was interrupted.
    interrupted: bool,
    bridge: &'static str,
    tap: &'static str,
    gateway: String,
    guest: String,
    parts: &'a [Part],
}

/// Does what `verb` says.
pub(crate) fn dispatch(
    verb: &NetworkVerb,
    common: &CommonArgs,
    output: Output,
) -> Result<Exit, Stop> {
    let folder = folders::state_dir(common)?;
    match verb {
        NetworkVerb::Check(args) => check(args, output),
        NetworkVerb::Setup(args) => set_up(args, &folder, output),
        NetworkVerb::Teardown(args) => tear_down(args, &folder, output),
        NetworkVerb::Status => status(&folder, output),
    }
}

fn user(name: Option<&String>) -> Result<User, Diagnostic> {
    let Some(name) = name else {
        return Ok(User::caller());
    };
    User::called(name).map_err(|why| {
        Diagnostic::usage("user", why).hint("`--user` takes a name or a number of this host")
    })
}

/// The tools that are not installed.
fn missing_tools() -> Vec<(&'static str, &'static str)> {
    let missing = TOOLS.into_iter().filter(|(program, _)| !is_there(program));
    missing.collect()
}

fn found(what: &str) -> Result<Found, Diagnostic> {
    let missing = missing_tools();
    if missing.is_empty() {
        return Found::look().map_err(|why| {
            Diagnostic::failure("network", what)
                .cause(why)
                .hint("`pcp-vmm network check` tells what is missing")
        });
    }
    let failure = Diagnostic::failure("tools", what);
    let failure = missing.iter().fold(failure, |it, (program, _)| {
        it.cause(format!("`{program}` is not installed"))
    });
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    Err(failure.hint(format!("`sudo apt-get install {}`", packages.join(" "))))
}

fn needs_root(what: &str, verb: &str) -> Result<(), Diagnostic> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Diagnostic::failure("root", what)
        .cause("only root changes a host's network")
        .hint(format!("`sudo pcp-vmm network {verb}`"))
        .hint(format!(
            "`pcp-vmm network {verb} --dry-run` shows what it does"
        )))
}

fn check(args: &CheckArgs, output: Output) -> Result<Exit, Stop> {
    let user = user(args.user.as_ref())?;
    let mut checks = Vec::new();
    for (program, package) in TOOLS {
        checks.push(if is_there(program) {
            Check::ok(program, format!("`{program}` is installed"))
        } else {
            let hint = format!("`sudo apt-get install {package}`");
            Check::fail(program, format!("`{program}` is not installed"), hint)
        });
    }
    checks.extend(doctor::network_devices());
    checks.push(root());
    if missing_tools().is_empty() {
        let found = found("cannot look at the network")?;
        match plan(&found, &user) {
            Ok(changes) if changes.iter().all(Change::is_optional) => {
                checks.push(Check::ok("network", "the network is set up"));
            }
            Ok(_) => checks.push(Check::ok(
                "network",
                format!("nothing is in the way of the network of {user}"),
            )),
            Err(obstacles) => checks.extend(
                obstacles
                    .into_iter()
                    .map(|it| Check::fail("network", it.message, it.hint)),
            ),
        }
    }
    super::doctor::report(&checks, output)
}

/// Whether the network can be changed from here.
fn root() -> Check {
    const NAME: &str = "root";
    if rustix::process::geteuid().is_root() {
        return Check::ok(NAME, "you are root");
    }
    let words = ["sudo", "-n", "true"].map(str::to_owned);
    match run(&words) {
        Ok(_) => Check::ok(NAME, "`sudo` makes you root without a question"),
        Err(why) => Check::warn(
            NAME,
            format!("`setup` needs root, which `sudo` does not give by itself: {why}"),
            "`sudo pcp-vmm network setup` asks for a password",
        ),
    }
}

fn obstructed(obstacles: Vec<Obstacle>) -> Diagnostic {
    let first = Diagnostic::failure("network", SETUP);
    let with = |it: Diagnostic, obstacle: Obstacle| it.cause(obstacle.message).hint(obstacle.hint);
    obstacles.into_iter().fold(first, with)
}

fn set_up(args: &SetupArgs, folder: &Path, output: Output) -> Result<Exit, Stop> {
    let user = user(args.user.as_ref())?;
    if !args.dry_run {
        needs_root(SETUP, "setup")?;
    }
    let mut ledger = match args.dry_run {
        true => None,
        false => Some(Ledger::hold(folder).map_err(|error| unwritten(SETUP, &error))?),
    };
    let found = found(SETUP)?;
    let changes = plan(&found, &user).map_err(obstructed)?;
    let mut done = Vec::new();
    let mut does_without = false;
    for change in &changes {
        if change.is_optional() && does_without {
            continue;
        }
        let words = change.command();
        let Some(ledger) = &mut ledger else {
            done.push(words);
            continue;
        };
        let was_there = ledger.changes().contains(change);
        ledger
            .begin(change)
            .map_err(|error| unwritten(SETUP, &error))?;
        output.note(shown(&words));
        match run(&words) {
            Ok(_) => done.push(words),
            Err(why) => {
                if !was_there {
                    ledger
                        .strike(change)
                        .map_err(|error| unwritten(SETUP, &error))?;
                }
                if change.is_optional() {
                    does_without = true;
                    output.warn(format!(
                        "`{}`: {why}; the network works without",
                        shown(&words)
                    ));
                    continue;
                }
                let made = changes.iter().take_while(|&other| other != change);
                return Err(given_up(&words, &why, made.collect(), ledger).into());
            }
        }
    }
    if let Some(ledger) = &mut ledger {
        ledger.finish().map_err(|error| unwritten(SETUP, &error))?;
    }
    told(&done, args.dry_run, Some(user.uid), output)?;
    if !args.dry_run {
        let (gateway, prefix) = GATEWAY;
        let already = if done.is_empty() { " already" } else { "" };
        output.note(format!(
            "the network is set up{already}: {BRIDGE} with {gateway}/{prefix}, {TAP} for {user}; its guest is {GUEST}"
        ));
    }
    Ok(Exit::Success)
}

/// Takes back what a setup made that cannot go on.
fn given_up(words: &[String], why: &str, made: Vec<&Change>, ledger: &mut Ledger) -> Diagnostic {
    let mut failure =
        Diagnostic::failure("network", SETUP).cause(format!("`{}`: {why}", shown(words)));
    let mut left = Vec::new();
    for change in made.into_iter().rev() {
        match run(&change.undo()) {
            Ok(_) => {}
            Err(_) if change.may_stay() => {}
            Err(_) => {
                left.push(shown(&change.undo()));
                continue;
            }
        }
        if let Err(error) = ledger.strike(change) {
            failure = failure.because(&error);
        }
    }
    match left.as_slice() {
        [] => failure.hint("nothing of it is left; `pcp-vmm network check` looks for reasons"),
        left => failure
            .cause("what was made before could not all be taken back")
            .hint(format!("still to be done: {}", left.join("; ")))
            .hint("`pcp-vmm network teardown` tries it again"),
    }
}

fn tear_down(args: &TeardownArgs, folder: &Path, output: Output) -> Result<Exit, Stop> {
    if !args.dry_run {
        needs_root(TEARDOWN, "teardown")?;
    }
    let ledger = match args.dry_run {
        true => Ledger::read(folder),
        false => Ledger::hold(folder),
    };
    let mut ledger = ledger.map_err(|error| unwritten(TEARDOWN, &error))?;
    let found = found(TEARDOWN)?;
    let changes: Vec<Change> = ledger.changes().iter().rev().cloned().collect();
    let takes_tap = changes.iter().any(|it| matches!(it, Change::Tap { .. }));
    let used = found.tap.as_ref().is_some_and(|tap| tap.carrier);
    if takes_tap && used && !args.force {
        return Err(Diagnostic::failure("in-use", TEARDOWN)
            .cause(format!("a VM uses `{TAP}`"))
            .hint("`pcp-vmm stop --all` ends the VMs of yours; `--force` takes the TAP away from them")
            .into());
    }
    let mut done = Vec::new();
    let mut failure: Option<Diagnostic> = None;
    for change in &changes {
        let words = change.undo();
        // One that is not there any more was taken back by another.
        let stands = change.stands(&found);
        if args.dry_run {
            done.extend(stands.then_some(words));
            continue;
        }
        if stands {
            output.note(shown(&words));
            match run(&words) {
                Ok(_) => done.push(words),
                Err(why) if change.may_stay() => output.note(format!("it stays: {why}")),
                Err(why) => {
                    let so_far = failure
                        .take()
                        .unwrap_or_else(|| Diagnostic::failure("network", TEARDOWN));
                    failure = Some(so_far.cause(format!("`{}`: {why}", shown(&words))));
                    continue;
                }
            }
        }
        ledger
            .strike(change)
            .map_err(|error| unwritten(TEARDOWN, &error))?;
    }
    told(&done, args.dry_run, None, output)?;
    if let Some(failure) = failure {
        return Err(failure
            .hint("what could not be taken back is still written down: `pcp-vmm network teardown` tries it again")
            .into());
    }
    if changes.is_empty() {
        output.note("nothing of the network was set up by `pcp-vmm network setup`");
    }
    Ok(Exit::Success)
}

/// The commands: as data where nothing is done, or with `--json`.
fn told(
    commands: &[Vec<String>],
    dry_run: bool,
    user: Option<u32>,
    output: Output,
) -> Result<(), Stop> {
    if output.is_json() {
        return output.json(&Done {
            dry_run,
            user,
            commands,
        });
    }
    if dry_run {
        let lines: Vec<String> = commands.iter().map(|it| shown(it) + "\n").collect();
        output.data(lines.concat())?;
    }
    Ok(())
}

fn unwritten(what: &str, error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic::failure("state-dir", what)
        .because(error)
        .hint("`--state-dir DIR` names another folder for what is written down")
}

fn status(folder: &Path, output: Output) -> Result<Exit, Stop> {
    const WHAT: &str = "cannot look at the network";
    let found = found(WHAT)?;
    let ledger = Ledger::read(folder).map_err(|error| unwritten(WHAT, &error))?;
    let mut parts = found.parts();
    for part in &mut parts {
        part.ours =
            ledger.has(|change| change.part() == part.name) && part.state != PartState::Missing;
    }
    let good = |part: &Part| {
        part.optional || matches!(part.state, PartState::InPlace | PartState::Unknown)
    };
    let usable = parts.iter().all(good);
    let (gateway, prefix) = GATEWAY;
    if output.is_json() {
        output.json(&Status {
            usable,
            interrupted: ledger.is_half_done(),
            bridge: BRIDGE,
            tap: TAP,
            gateway: format!("{gateway}/{prefix}"),
            guest: GUEST.to_string(),
            parts: &parts,
        })?;
    } else {
        let mut table = Table::new(&["PART", "STATE", "MADE BY SETUP", "DETAIL"]);
        for part in &parts {
            table.row([
                part.name.to_owned(),
                part.state.words().to_owned(),
                if part.ours { "yes" } else { "no" }.to_owned(),
                part.detail.clone(),
            ]);
        }
        output.data(table.text())?;
        if ledger.is_half_done() {
            output.warn("a setup was interrupted: `setup` finishes it, `teardown` takes it back");
        }
    }
    Ok(if usable { Exit::Success } else { Exit::Failure })
}
