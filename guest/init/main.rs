//! The first process of a guest: mounts the root file system that the kernel command line names, and
//! hands over to the guest's own init.
//!
//! It runs as PID 1 from the initrd, which holds nothing else but kernel modules and their list. Where a single command is
//! to run (`pcp-vmm exec`), it stays, and is the command's parent. In other guests a copy of it becomes a service that runs
//! commands (`pcp-vmm exec --in`). It uses the standard library alone, because the guest crate's build script compiles it
//! with a bare `rustc` for the static target. Settings: see `docs/init.md`.

mod address;
mod agent;
mod cmdline;
mod report;
mod root;
mod sys;
#[path = "../src/wire.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the program has it as a library, and each side uses its half"
)]
mod wire;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use cmdline::{Changes, Settings};

/// The modules to load, one file name a line, in this order.
const MODULE_LIST: &str = "/modules/list";

/// What stopped the start, told on the console.
type Failure = String;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        return later();
    }
    let Err(failure) = start();
    report::failure(&failure);
    // PID 1 must not return: the kernel panics then, which the VMM tells from an orderly end.
    ExitCode::FAILURE
}

/// What it does once the guest has another first process.
fn later() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some(agent::LISTEN) => agent::listen().map(|never| match never {}),
        Some(agent::SESSION) => agent::session(),
        _ => Err("this program is the init of a guest's initrd; it does nothing here".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::console(&failure);
            ExitCode::from(2)
        }
    }
}

fn start() -> Result<std::convert::Infallible, Failure> {
    let begin = Instant::now();
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        sys::mount(kind, target, kind, sys::Flags::NOSUID, "")
            .map_err(|error| format!("cannot mount {kind} on {target}: {error}"))?;
    }
    let text = fs::read_to_string("/proc/cmdline")
        .map_err(|error| format!("cannot read the kernel command line: {error}"))?;
    let settings = Settings::parse(&text)?;
    load_modules()?;
    root::mount(&settings)?;
    if let Some(address) = &settings.address {
        address.write(&settings.changes)?;
    }
    let elapsed = begin.elapsed().as_millis();
    report::note(&format!(
        "root {} is mounted after {elapsed} ms",
        settings.root
    ));
    enter_root()?;
    if let Some(port) = settings.agent {
        return agent::run(port, settings.changes == Changes::Keep);
    }
    agent::install();
    // What the kernel handed to this program is meant for the init that follows.
    let error = Command::new(&settings.init)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(format!("cannot start init `{}`: {error}", settings.init))
}

/// Loads the modules of the list; one that is there already or has no device is no failure.
fn load_modules() -> Result<(), Failure> {
    let list = match fs::read_to_string(MODULE_LIST) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {MODULE_LIST}: {error}")),
    };
    for name in list.lines().filter(|line| !line.is_empty()) {
        let path = Path::new("/modules").join(name);
        match sys::load_module(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Whether the module was needed shows when the root is mounted.
            Err(error) => report::note(&format!("cannot load module {name}: {error}")),
        }
    }
    Ok(())
}

/// Makes the mounted root the root of everything, and frees what the initrd occupied.
fn enter_root() -> Result<(), Failure> {
    let failed = |what: &str, error: io::Error| format!("cannot {what} the root: {error}");
    for name in ["dev", "proc", "sys"] {
        let target = format!("{}/{name}", root::MOUNT_POINT);
        // A disk may have nothing yet; where it cannot be made, the move tells.
        let _ = fs::create_dir(&target);
        sys::move_mount(&format!("/{name}"), &target)
            .map_err(|error| format!("cannot move /{name} to {target}: {error}"))?;
    }
    // The initrd's files live in RAM; nothing needs them from here on.
    let _ = fs::remove_dir_all("/modules");
    let _ = fs::remove_file("/init");
    std::env::set_current_dir(root::MOUNT_POINT).map_err(|error| failed("enter", error))?;
    sys::move_mount(".", "/").map_err(|error| failed("move to", error))?;
    std::os::unix::fs::chroot(".").map_err(|error| failed("change to", error))?;
    std::env::set_current_dir("/").map_err(|error| failed("enter", error))
}
