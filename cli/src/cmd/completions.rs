//! `pcp-vmm completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::output::{Output, Stop};

/// Prints the completion script of `shell`.
pub(crate) fn print(shell: Shell, output: Output) -> Result<Exit, Stop> {
    output.data(script(shell))?;
    Ok(Exit::Success)
}

/// The completion script of `shell`.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pcp-vmm", &mut script);
    script
}
