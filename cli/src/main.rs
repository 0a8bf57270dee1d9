//! The command line of pcp-vmm: parses, dispatches, prints.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "doc comments of arguments are the help's text, with its brackets"
)]

mod args;
mod at_once;
mod cmd;
mod deployment;
mod diagnostic;
mod digest;
mod doctor;
mod env;
mod exit;
mod folders;
mod identity;
mod ids;
mod instances;
mod kernel_image;
mod lifecycle;
mod lock;
mod logging;
mod matrix;
mod nearest;
mod network;
#[cfg(test)]
mod nix_constants;
mod notify;
mod output;
mod printable;
mod process;
mod progress;
mod qemu;
mod service;
mod ssh;
mod ssh_config;
mod ssh_key;
mod table;
mod toml_reader;
mod vm_process;
mod vm_status;
mod vmtest;
mod wanted;
mod whole_file;

use std::hint::black_box;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches};
use vmm::kvm::EarlyKvm;

use crate::args::Cli;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::identity::Invocation;
use crate::output::{Output, Stop};

/// musl's allocator costs the parser a system call for every larger vector: a fifth of a
/// millisecond of each start.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Bytes that the parser and the start of a machine need, taken in one piece.
const HEAP: usize = 256 << 10;

fn main() -> ExitCode {
    let invocation = Invocation::current();
    if let Some(password) = env::get(ssh::ANSWER) {
        return answer(&password);
    }
    // A heap that grows while KVM makes a machine waits for that.
    drop(black_box(Vec::<u8>::with_capacity(HEAP)));
    let parse = |command: Command| command.try_get_matches_from(&invocation.args);
    // KVM takes longer than the parser.
    let (kvm, matches) = if invocation.is_about_to_run() {
        EarlyKvm::beside(|| parse(args::command_of_run()))
    } else {
        (EarlyKvm::default(), parse(Cli::command()))
    };
    let parsed = matches.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    match parsed {
        Ok((cli, matches)) => {
            let output = Output::new(&cli.common);
            let done = logging::start(&cli.common)
                .map_err(Stop::from)
                .and_then(|()| cmd::dispatch(cli, &matches, &invocation, &kvm, output));
            end(done, output)
        }
        Err(error) => {
            let json = invocation.args.iter().any(|arg| arg == "--json");
            let output = Output::for_usage_errors(json);
            end(explain(&error, output), output)
        }
    }
    .into()
}

/// Gives the password that `ssh` asks for.
fn answer(password: &std::ffi::OsStr) -> ExitCode {
    let output = Output::for_usage_errors(false);
    let line = [password.as_encoded_bytes(), b"\n"].concat();
    end(output.data(line).map(|()| Exit::Success), output).into()
}

/// The exit status of a command, after its failure has been reported.
fn end(done: Result<Exit, Stop>, output: Output) -> Exit {
    match done {
        Ok(exit) => exit,
        Err(Stop::ReaderGone) => Exit::Success,
        Err(Stop::Failed(diagnostic)) => {
            output.error(&diagnostic);
            diagnostic.exit
        }
    }
}

/// Prints the help that was asked for, or tells what is wrong with the command line.
fn explain(error: &clap::Error, output: Output) -> Result<Exit, Stop> {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            output.data(output.styled(&error.render()))?;
            Ok(Exit::Success)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output.talk(&output.styled(&error.render()));
            Ok(Exit::Usage)
        }
        _ => Err(Diagnostic::from_clap(error).into()),
    }
}
