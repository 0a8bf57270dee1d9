//! `pcp-vmm matrix`.

use std::path::PathBuf;

use clap::Args;
use vmm::config::value::MemorySize;

use super::TEMPLATE;

const EXAMPLES: &str = "\
Examples:
  pcp-vmm matrix tests.toml
  pcp-vmm matrix tests.toml --cpus 4 --memory 8G --results out
  pcp-vmm matrix tests.toml --list

  command = \"make test\"              # tests.toml; docs/matrix.md has all of it
  kernels = [\"6.1\", \"6.12\", \"host\"]
  [parameters]
  MODE = [\"fast\", \"safe\"]
";

/// Run a command over kernels, roots, machines and parameters, each in a VM of its own.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = EXAMPLES,
    after_help = "Exit status: 0 if every cell passed, 1 if not, 2 if the file is wrong, 128+N if signal N ended it."
)]
pub(crate) struct MatrixArgs {
    /// The file that says what to run.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The folder for logs, results.json and junit.xml; made if it is missing.
    #[arg(long, value_name = "DIR", default_value = "matrix-results")]
    pub(crate) results: PathBuf,

    /// The memory that guests may have together [default: the file's, else three quarters of what is free].
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) memory: Option<MemorySize>,

    /// The vCPUs that guests may have together [default: the file's, else this machine's processors].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) cpus: Option<u32>,

    /// List the cells, and run none.
    #[arg(long)]
    pub(crate) list: bool,
}
