//! `pcp-vmm sandbox`: a derivation's builder in a VM, by the protocol of nixpkgs' vmTools.

mod derivation;
mod environment;
mod exchange;

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches};
use rustix::process::{getegid, geteuid};

use self::derivation::{Derivation, Words};
use self::environment::{Environment, JSON, SHELL};
use self::exchange::{Exchange, IN_GUEST};
use super::exec;
use super::exec::places::{Places, Root, Shared, plain};
use crate::args::{CommonArgs, ExecArgs, SandboxArgs};
use crate::diagnostic::Diagnostic;
use crate::doctor;
use crate::env;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};

/// The guest's folder for temporary files, in which the build is.
const SCRATCH: &str = "/tmp";
/// The variables that name it; what of the host's folders they say holds for the host alone.
const NAMES_OF_SCRATCH: [&str; 6] = ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"];
/// The folder for the VM's files in that of the build.
const RUNTIME: &str = ".pcp-vmm";
/// The longest path of such a folder: a socket's path in it has at most 107 bytes (unix(7)).
const RUNTIME_MAX: usize = 60;

/// Runs the builder. What goes wrong with the VM has a status that a builder hardly has.
pub(crate) fn build(
    args: &SandboxArgs,
    runtime: RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Exit, Stop> {
    run(args, runtime, common, output).map_err(exec::as_the_vms)
}

fn run(
    args: &SandboxArgs,
    runtime: RuntimeDir,
    common: &CommonArgs,
    output: Output,
) -> Result<Exit, Stop> {
    let environment = match &args.environment {
        Some(path) => Environment::read(path)?,
        None => Environment::own(),
    };
    let derivation = Derivation::of(args, &Words::read(&environment)?)?;
    open_kvm()?;
    let exchange = Exchange::prepare(&args.xchg, &environment)?;
    let runtime = runtime_dir(runtime, common, &environment);
    let words = words(args, &derivation, &environment)?;
    let command = ExecArgs::augment_args(Command::new("exec")).no_binary_name(true);
    let parsed = command.try_get_matches_from(words);
    let parsed = parsed.and_then(|matches| ExecArgs::from_arg_matches(&matches));
    let exec_args = parsed.map_err(|error| Diagnostic::from_clap(&error))?;
    let guest = exec::Guest {
        places: places(args, &derivation, &exchange),
        environment: environment.all(),
    };
    let outcome = exec::in_vm(&exec_args, &guest, &runtime, common, output);
    if runtime.path().ends_with(RUNTIME) {
        // Unless it is empty, others build here.
        let _ = fs::remove_dir(runtime.path());
    }
    let outcome = outcome?;
    if let Some(status) = outcome.of_command() {
        exchange.note(status)?;
    }
    outcome.result(&exec_args, output)
}

/// Sees that there is KVM, for want of which a build cannot be.
fn open_kvm() -> Result<(), Diagnostic> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    opened.map(drop).map_err(|error| {
        let diagnostic = Diagnostic::failure("kvm", "cannot open `/dev/kvm`").because(&error);
        let hints = doctor::kvm_device_hint().into_iter();
        hints.fold(diagnostic, Diagnostic::hint).hint(
            "Nix gives a build /dev/kvm if its `requiredSystemFeatures` has `kvm`, and nix.conf's `system-features` too",
        )
    })
}

/// The folder for the VM's files: the build's own goes with the build, however that ends.
fn runtime_dir(usual: RuntimeDir, common: &CommonArgs, environment: &Environment) -> RuntimeDir {
    if common.runtime_dir.is_some() || env::is_set(env::RUNTIME_DIR) {
        return usual;
    }
    let top = environment.get("NIX_BUILD_TOP").map(PathBuf::from);
    let own = top.filter(|top| top.is_dir()).map(|top| top.join(RUNTIME));
    match own.filter(|own| own.as_os_str().len() <= RUNTIME_MAX) {
        Some(own) => RuntimeDir::at(own),
        None => usual,
    }
}

/// The words of `exec` that run the builder.
fn words(
    args: &SandboxArgs,
    derivation: &Derivation,
    environment: &Environment,
) -> Result<Vec<OsString>, Diagnostic> {
    let mut words: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: &OsStr| words.extend([name.into(), value.to_owned()]);
    flag("--kernel", args.kernel.as_os_str());
    for (name, value) in [("--modules", &args.modules), ("--console", &args.console)] {
        if let Some(value) = value {
            flag(name, value.as_os_str());
        }
    }
    for name in &args.module {
        flag("--module", name.as_ref());
    }
    for text in &args.kernel_arg {
        flag("--kernel-arg", text.as_ref());
    }
    flag("--memory", format!("{}B", derivation.memory.0).as_ref());
    flag("--cpus", derivation.cpus.to_string().as_ref());
    flag("--net", "none".as_ref());
    flag("--user", "0".as_ref());
    flag("--cwd", SCRATCH.as_ref());
    if let Some(seconds) = args.timeout {
        flag("--timeout", seconds.to_string().as_ref());
    }
    if let Some(image) = &derivation.disk {
        flag("--disk", disk(image)?.as_ref());
    }
    for disk in &args.disk {
        flag("--disk", disk.as_ref());
    }
    let mut variable = |name: &str, value: &OsStr| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value);
        flag("--env", &setting);
    };
    for name in NAMES_OF_SCRATCH {
        variable(name, SCRATCH.as_ref());
    }
    variable("NIX_STORE", derivation.store.as_os_str());
    for file in [JSON, SHELL] {
        if environment.attributes(&file).is_some() {
            variable(
                file.variable,
                Path::new(IN_GUEST).join(file.name).as_os_str(),
            );
        }
    }
    words.push("--".into());
    words.extend(derivation.builder.iter().cloned());
    Ok(words)
}

/// The value of `--disk` for the first disk: as vmTools have it, its format is what it looks like, and what is written need
/// not outlive a crash of the host.
fn disk(image: &Path) -> Result<String, Diagnostic> {
    let format = exec::image::format_of(image)?;
    Ok(format!("{},format={format},cache=unsafe", plain(image)))
}

/// The folders that the guest has.
fn places(args: &SandboxArgs, derivation: &Derivation, exchange: &Exchange) -> Places {
    let user = geteuid();
    // The builder is the guest's superuser; what it makes is this user's.
    let owner = (!user.is_root()).then(|| (user.as_raw(), getegid().as_raw()));
    let shared = |tag: &str, host: &Path, guest: &Path| Shared {
        tag: tag.to_owned(),
        host: host.to_owned(),
        guest: guest.to_owned(),
        read_only: false,
        owner,
    };
    let shell = args
        .shell
        .iter()
        .map(|shell| ("/bin/sh".into(), shell.clone()));
    Places {
        layer: None,
        root: match derivation.root {
            Some(_) => Root::Disk,
            None => Root::Ram,
        },
        scratch: vec![SCRATCH.into()],
        shared: vec![
            shared("store", &derivation.store, &derivation.store),
            shared("xchg", &exchange.folder, Path::new(IN_GUEST)),
        ],
        links: shell.collect(),
    }
}
