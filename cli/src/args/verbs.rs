//! The verbs: one line for each.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::*;

/// A verb: its name, what it does, and the definition of its arguments.
type Definition = (&'static str, &'static str, fn(Command) -> Command);

/// A verb that the help does not show.
const HIDDEN: &str = "docs";

/// Defines the verbs, in the order of the help.
macro_rules! verbs {
    ($($name:literal => $verb:ident($args:ty): $about:literal;)+) => {
        /// What to do. The arguments of a verb are defined when it is used: to define them all takes as
        /// long as to start a VM.
        #[derive(Debug)]
        pub(crate) enum Verb {
            $(#[doc = concat!("`pcp-vmm ", $name, "`.")] $verb($args),)+
        }

        pub(super) const VERBS: &[Definition] = &[$(($name, $about, <$args>::augment_args),)+];

        impl FromArgMatches for Verb {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                match matches.subcommand() {
                    $(Some(($name, verb)) => <$args>::from_arg_matches(verb).map(Self::$verb),)+
                    _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

verbs! {
    "run" => Run(Box<RunArgs>): "Start a VM and stay with it until it ends";
    "exec" => Exec(Box<ExecArgs>): "Run a command in a VM of its own, and end as it ends";
    "sandbox" => Sandbox(Box<SandboxArgs>): "Run a derivation's builder in a VM";
    "qemu-compat" => QemuCompat(QemuCompatArgs): "Run a VM from QEMU's command line";
    "ls" => Ls(LsArgs): "List the VMs that run";
    "status" => Status(StatusArgs): "Tell how VMs are";
    "inspect" => Inspect(InspectArgs): "Show what a VM was started with";
    "wait" => Wait(WaitArgs): "Wait until VMs are as wanted";
    "console" => Console(ConsoleArgs): "Use a console of a VM on this terminal";
    "logs" => Logs(LogsArgs): "Show what a VM's console has printed";
    "ssh" => Ssh(SshArgs): "Log in to a VM's guest, or run a command there";
    "ssh-config" => SshConfig(SshConfigArgs): "Let ssh, scp, rsync and editors reach guests by their VM's name";
    "inventory" => Inventory(InventoryArgs): "List the VMs that run as an inventory for Ansible";
    "events" => Events(EventsArgs): "Tell what happened to VMs: phases of the boot, changes, their end";
    "pause" => Pause(PauseArgs): "Stop the vCPUs of VMs where they are";
    "resume" => Resume(ResumeArgs): "Let paused VMs go on";
    "forward" => Forward(ForwardArgs): "Add, remove and list the host ports that lead into a VM";
    "balloon" => Balloon(BalloonArgs): "Show the size of a VM's balloon, or ask its guest for another one";
    "link" => Link(LinkArgs): "Show whether a VM's network cards have a link, or take it down and up";
    "stop" => Stop(StopArgs): "Ask VMs to shut down, and end those that do not";
    "kill" => Kill(KillArgs): "End VMs at once, without asking their guests";
    "destroy" => Destroy(DestroyArgs): "End VMs and remove what is kept of them";
    "lifecycle" => Lifecycle(LifecycleArgs): "Test guests from their build to their end, phase by phase";
    "test" => Test(DeepArgs): "Test guests in depth";
    "network" => Network(NetworkArgs): "Set up PCP's TAP network on this host, and take it away again";
    "service" => Service(ServiceArgs): "Define VMs as services of this machine's service manager";
    "deploy" => Deploy(DeployArgs): "Bring a declared set of VMs to the wanted state";
    "ids" => Ids(IdsArgs): "List, reserve, export and free the ports and other identifiers of VMs";
    "image" => Image(ImageArgs): "Build, list and remove guest images";
    "kernel" => Kernel(KernelArgs): "Fetch, list, check and remove Debian's kernels";
    "agent" => Agent(AgentArgs): "Put the agent that `exec --in` calls into a guest's root file system";
    "matrix" => Matrix(MatrixArgs): "Run a command over kernels, roots, machines and parameters, each in a VM of its own";
    "vmtest" => Vmtest(VmtestArgs): "Run the targets of a vmtest.toml, each in a VM of its own";
    "doctor" => Doctor(DoctorArgs): "Check whether this machine can run VMs; say what is missing and how to get it";
    "completions" => Completions(CompletionsArgs): "Write the completion script of a shell to standard output";
    "docs" => Docs(DocsArgs): "Write the manual pages, the completion scripts and the reference into a folder";
}

impl Subcommand for Verb {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(VERBS.iter().map(|(name, about, define)| {
            Command::new(*name)
                .about(*about)
                .hide(*name == HIDDEN)
                .defer(*define)
        }))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        VERBS.iter().any(|(verb, ..)| *verb == name)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_verbs_short_description_is_that_of_its_arguments() {
        for (name, about, define) in VERBS {
            let defined = define(Command::new(*name));
            assert_eq!(
                defined.get_about().map(ToString::to_string).as_deref(),
                Some(*about)
            );
        }
    }
}
