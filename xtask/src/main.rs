//! `cargo xtask`: the project's development tasks. `cargo xtask help` lists them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool for developers"
)]

mod apt;
mod bench;
mod bzimage;
mod check;
mod command;
mod debs;
mod demo;
mod fuzz;
mod initrd;
mod kernels;
mod lab;
mod nix;
mod passt;
mod place;
mod release;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::Signal;

#[derive(Parser, Debug)]
#[command(name = "cargo xtask", about = "Development tasks of pcp-vmm", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// From a fresh machine to a PCP guest that answers
    Demo(demo::DemoArgs),
    /// Checks format, lints, layering and style
    Check,
    /// Runs all that CI checks
    Test(test::TestArgs),
    /// Measures the program beside QEMU
    Bench(bench::BenchArgs),
    /// Runs the fuzz targets
    Fuzz(fuzz::FuzzArgs),
    /// Runs a command where /dev/kvm can run stock kernels
    Lab(lab::LabArgs),
    /// Fetches the stock kernels that tests boot, and prints their folder
    Kernels,
}

/// Has this program end with the cargo, or the xtask, that started it: cargo that is ended by a signal does not hand it
/// on, and a lab would stay behind.
fn end_with_parent() {
    if std::env::var_os("CARGO").is_some() {
        // Where this is refused, all that is lost is the tidy end.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    }
}

fn main() -> ExitCode {
    end_with_parent();
    let result = match Args::parse().task {
        Task::Demo(args) => demo::main(&args),
        Task::Check => check::main(),
        Task::Test(args) => test::main(&args),
        Task::Bench(args) => bench::main(&args),
        Task::Fuzz(args) => fuzz::main(&args),
        Task::Lab(args) => lab::main(&args),
        Task::Kernels => kernels::main(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        for cause in error.chain().skip(1) {
            eprintln!("caused by: {cause}");
        }
        ExitCode::from(125)
    })
}
