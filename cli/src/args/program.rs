//! The verbs about the program itself: `doctor`, `completions`, `docs`.

use std::path::PathBuf;

use clap::Args;

use super::TEMPLATE;

/// Check whether this machine can run VMs; say what is missing and how to get it.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    after_help = "Exit status: 0 if nothing failed, 1 otherwise. Warnings do not count."
)]
pub(crate) struct DoctorArgs {}

/// Write the completion script of a shell to standard output.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = "\
Example:
  pcp-vmm completions bash > ~/.local/share/bash-completion/completions/pcp-vmm\n"
)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Write the manual pages, the completion scripts and the reference into a folder.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, hide = true)]
pub(crate) struct DocsArgs {
    /// The folder; the project's own is `docs`.
    pub(crate) dir: PathBuf,
}
