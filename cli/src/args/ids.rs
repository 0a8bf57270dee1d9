//! `pcp-vmm ids`.

use clap::{Args, Subcommand};

use super::TEMPLATE;
use crate::ids::ExportFormat;

const LONG: &str = "\
List, reserve, export and free the ports and other identifiers of VMs.

A VM with another name than its bundle's is given ports and console ports of its own when it starts, and what else it needs that \
no two VMs may share. It keeps them from run to run, until they are freed. `docs/identifiers.md` tells which there are, and how to \
change their ranges.";

/// List, reserve, export and free the ports and other identifiers of VMs.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = LONG,
    before_help = "\
Examples:
  pcp-vmm ids ls
  pcp-vmm ids assign web --pool ports --pool uids
  pcp-vmm ids export --format nix > ids.nix
  pcp-vmm ids free web\n"
)]
pub(crate) struct IdsArgs {
    #[command(subcommand)]
    pub(crate) verb: IdsVerb,
}

/// What to do with identifiers.
#[derive(Debug, Subcommand)]
pub(crate) enum IdsVerb {
    /// List who has what: the documented VMs, and those that were given something.
    #[command(help_template = TEMPLATE)]
    Ls,

    /// Give VMs identifiers before they are started; those that they have stay theirs.
    #[command(help_template = TEMPLATE)]
    Assign {
        /// The VMs, by name.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,

        /// From this pool; may be given several times [default: ports and consoles].
        #[arg(long, value_name = "POOL")]
        pool: Vec<String>,
    },

    /// Write all assignments for other programs: `ids.POOL.NAME`, `lastAssignments.POOL`, the pools, and what numbers stand for.
    #[command(help_template = TEMPLATE)]
    Export {
        /// The language.
        #[arg(
            long,
            value_name = "json|nix",
            default_value = "json",
            hide_possible_values = true
        )]
        format: ExportFormat,
    },

    /// Give back what VMs have that do not run.
    #[command(help_template = TEMPLATE)]
    Free {
        /// The VMs, by name.
        #[arg(value_name = "NAME", required_unless_present = "all")]
        names: Vec<String>,

        /// All VMs that do not run.
        #[arg(short, long, conflicts_with = "names")]
        all: bool,
    },
}
