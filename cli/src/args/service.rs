//! `pcp-vmm service` and `pcp-vmm deploy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use vmm::config::value::ConsoleValue;

use super::TEMPLATE;
use crate::service::{InitSystem, socket};

/// Define VMs as services of this machine's service manager.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    before_help = "\
Examples:
  pcp-vmm service generate --manager systemd --name db -- --variant base
  pcp-vmm service generate --manager s6-rc --name web --after db --output /etc/s6-rc/source -- --variant eval\n"
)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    pub(crate) verb: ServiceVerb,
}

/// What to do with services.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Write the definition of a VM as a service; on standard output, or into a folder.
    #[command(help_template = TEMPLATE)]
    Generate(GenerateArgs),
}

/// `service generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The service manager.
    #[arg(long, value_name = "MANAGER")]
    pub(crate) manager: InitSystem,

    /// The VM's name; the service is called pcp-vmm-NAME.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,

    /// Start it after the service of this VM; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) after: Vec<String>,

    /// Who runs it [default: the manager's].
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// A setting of the manager's in place of the usual one, or beside it; an empty value takes one away. For systemd, SECTION.KEY;
    /// for scripts, a variable of the environment.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,

    /// A console that systemd listens for in the VM's place, by tcp=[ADDR:]PORT or unix=PATH: who connects first starts the VM,
    /// and is served. May be given once for each console.
    #[arg(long, value_name = "[serial=|virtio=]PLACE", value_parser = socket)]
    pub(crate) socket: Vec<ConsoleValue>,

    /// The program [default: this one].
    #[arg(long, value_name = "PATH")]
    pub(crate) program: Option<PathBuf>,

    /// The image of the container (docker-compose), whose entry point is the program.
    #[arg(long, value_name = "IMAGE", default_value = "pcp-vmm")]
    pub(crate) image: String,

    /// Write the files into this folder.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// The flags of `pcp-vmm run`.
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| "not KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

const DEPLOY: &str = "\
Bring a declared set of VMs to the wanted state.

The file says which VMs there are to be, each with the flags of its `pcp-vmm run` and the VMs that are started before it:

  [vm.db]
  run = [\"--variant\", \"base\"]

  [vm.web]
  run = [\"--variant\", \"eval\"]
  after = [\"db\"]

VMs that are in the file and do not run are started, and their guests waited for. VMs that an earlier deployment of the file \
started, and that are not in it any more, are stopped; those whose flags have changed are stopped and started anew. All others \
are left alone.";

/// Bring a declared set of VMs to the wanted state.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = DEPLOY)]
pub(crate) struct DeployArgs {
    /// The file.
    pub(crate) file: PathBuf,

    /// Stop all VMs that were started for the file.
    #[arg(long)]
    pub(crate) undeploy: bool,

    /// Tell what would be started and stopped; do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}
