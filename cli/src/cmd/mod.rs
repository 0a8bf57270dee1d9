//! The verbs, one file each.

mod adjust;
mod agent;
mod completions;
mod console;
mod deploy;
mod destroy;
mod docs;
mod doctor;
mod events;
mod exec;
mod exec_process;
mod forward;
mod ids;
mod image;
mod inspect;
mod interrupt;
mod kernel;
mod kill;
mod lifecycle;
mod logins;
mod logs;
mod ls;
mod matrix;
mod network;
mod pause;
mod qemu_compat;
mod run;
mod sandbox;
mod service;
mod ssh;
mod status;
mod stop;
mod version;
mod vmtest;
mod wait;

use clap::{ArgMatches, CommandFactory};
use vmm::kvm::EarlyKvm;

use crate::args::{Cli, Verb};
use crate::exit::Exit;
use crate::identity::Invocation;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};

/// Does what `cli` says; `kvm` is for the machine, if it says to run one.
pub(crate) fn dispatch(
    cli: Cli,
    matches: &ArgMatches,
    invocation: &Invocation,
    kvm: &EarlyKvm,
    output: Output,
) -> Result<Exit, Stop> {
    if cli.version {
        return version::print(output);
    }
    let runtime = RuntimeDir::of(&cli.common)?;
    match cli.verb {
        Some(Verb::Run(args)) => {
            let matches = matches.subcommand_matches("run").unwrap_or(matches);
            let surroundings = run::Surroundings {
                invocation,
                kvm,
                runtime: &runtime,
                common: &cli.common,
                qemu: false,
            };
            run::run(&args, matches, &surroundings, output)
        }
        Some(Verb::QemuCompat(args)) => {
            let surroundings = run::Surroundings {
                invocation,
                kvm,
                runtime: &runtime,
                common: &cli.common,
                qemu: true,
            };
            qemu_compat::obey(&args, &surroundings, output)
        }
        Some(Verb::Exec(args)) => exec::exec(&args, &runtime, &cli.common, output),
        Some(Verb::Sandbox(args)) => sandbox::build(&args, runtime, &cli.common, output),
        Some(Verb::Ls(args)) => ls::list(&args, &runtime, output),
        Some(Verb::Status(args)) => status::tell(&args, &runtime, output),
        Some(Verb::Inspect(args)) => inspect::inspect(&args, &runtime, output),
        Some(Verb::Wait(args)) => wait::wait(&args, &runtime, output),
        Some(Verb::Console(args)) => console::attach(&args, &runtime, output),
        Some(Verb::Logs(args)) => logs::show(&args, &cli.common, &runtime, output),
        Some(Verb::Ssh(args)) => ssh::log_in(&args, &runtime, output),
        Some(Verb::SshConfig(args)) => logins::ssh_config(&args, &runtime, output),
        Some(Verb::Inventory(args)) => logins::inventory(&args, &runtime, output),
        Some(Verb::Events(args)) => events::tell(&args, &runtime, output),
        Some(Verb::Pause(args)) => pause::pause(&args.target, &runtime, output),
        Some(Verb::Resume(args)) => pause::resume(&args.target, &runtime, output),
        Some(Verb::Forward(args)) => forward::dispatch(&args.verb, &runtime, output),
        Some(Verb::Balloon(args)) => adjust::balloon(&args, &runtime, output),
        Some(Verb::Link(args)) => adjust::link(&args, &runtime, output),
        Some(Verb::Stop(args)) => stop::stop(&args, &runtime, output),
        Some(Verb::Kill(args)) => kill::kill(&args, &runtime, output),
        Some(Verb::Lifecycle(args)) => {
            lifecycle::dispatch(args.verb, &cli.common, &runtime, output)
        }
        Some(Verb::Destroy(args)) => destroy::destroy(&args, &cli.common, &runtime, output),
        Some(Verb::Test(args)) => lifecycle::test_deeply(&args, &cli.common, &runtime, output),
        Some(Verb::Network(args)) => network::dispatch(&args.verb, &cli.common, output),
        Some(Verb::Service(args)) => service::dispatch(args.verb, output),
        Some(Verb::Deploy(args)) => deploy::deploy(&args, &cli.common, &runtime, output),
        Some(Verb::Ids(args)) => ids::dispatch(args.verb, &cli.common, &runtime, output),
        Some(Verb::Image(args)) => image::dispatch(args.verb, &cli.common, output),
        Some(Verb::Kernel(args)) => kernel::dispatch(args.verb, output),
        Some(Verb::Agent(args)) => agent::place(&args, output),
        Some(Verb::Matrix(args)) => matrix::matrix(&args, &cli.common, output),
        Some(Verb::Vmtest(args)) => vmtest::vmtest(&args, &cli.common, output),
        Some(Verb::Doctor(_)) => doctor::doctor(output),
        Some(Verb::Completions(args)) => completions::print(args.shell, output),
        Some(Verb::Docs(args)) => docs::write(&args.dir, output),
        None => {
            output.talk(&output.styled(&Cli::command().render_help()));
            Ok(Exit::Usage)
        }
    }
}
