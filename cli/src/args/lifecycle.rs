//! `pcp-vmm lifecycle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::TEMPLATE;
use crate::lifecycle::Phase;
use crate::lifecycle::limits::{PhaseLimit, scale};

/// Test guests from their build to their end, phase by phase.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct LifecycleArgs {
    #[command(subcommand)]
    pub(crate) verb: LifecycleVerb,
}

/// What to do with guests' lives.
#[derive(Debug, Subcommand)]
pub(crate) enum LifecycleVerb {
    Test(TestArgs),
    Phase(PhaseArgs),
    Status(LifecycleStatusArgs),
    ForceKill(VariantArgs),
}

const TEST: &str = "\
Test guests from their build to their end.

Each test has eight phases: 0 the image is there, 1 the VM starts under its name, 2 the guest answers on \
its serial console, 2b on its virtio console, 3 its services are active, 4 its metrics have values and its \
HTTP endpoints answer, 5 it is asked to power off, 6 the VM ends by itself and leaves nothing. What is \
checked is what the guest's bundle promises. Phases 2 to 4 go on at the same time; each has its time from \
the end of those before it. A VM of the same name that runs already is ended first.

Tests whose name ends with -tap need PCP's TAP network and are skipped where it is not set up.";

const TEST_EXAMPLES: &str = "\
Examples:
  pcp-vmm lifecycle test --variant base
  pcp-vmm lifecycle test --all --skip grafana --junit results.xml
  pcp-vmm lifecycle test --variant bpf --timeout services=120 -- --cpus 2
  pcp-vmm lifecycle test --variant base --runner ./result/bin/microvm-run
";

/// Test guests from their build to their end.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = TEST, before_help = TEST_EXAMPLES)]
pub(crate) struct TestArgs {
    /// The test: base, eval, grafana or bpf, or one of them but bpf with -tap.
    #[arg(long, value_name = "NAME", value_delimiter = ',', required_unless_present_any = ["all", "bundle"], help_heading = "Tests")]
    pub(crate) variant: Vec<String>,

    /// All tests.
    #[arg(
        short,
        long,
        conflicts_with_all = ["variant", "bundle"],
        help_heading = "Tests"
    )]
    pub(crate) all: bool,

    /// Of all tests, only these.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "all",
        help_heading = "Tests"
    )]
    pub(crate) only: Vec<String>,

    /// Of all tests, not these.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "all",
        help_heading = "Tests"
    )]
    pub(crate) skip: Vec<String>,

    /// Test the guest of this bundle.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "variant",
        help_heading = "Tests"
    )]
    pub(crate) bundle: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) common: TestSettings,

    /// Start the VM with this program in place of `pcp-vmm run`, as with PCP's own runner on QEMU: it gets no arguments,
    /// has the ports that the bundle promises, stays in the foreground, and ends with its VM and on SIGTERM.
    #[arg(
        long,
        value_name = "PROGRAM",
        conflicts_with_all = ["run", "all"],
        help_heading = "Tests"
    )]
    pub(crate) runner: Option<PathBuf>,

    /// Write the results as JUnit XML too.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

/// What tests and phases have in common.
#[derive(Debug, Clone, Args)]
pub(crate) struct TestSettings {
    /// Give a phase so long instead of its documented time; may be given several times.
    #[arg(long, value_name = "PHASE=SECONDS", help_heading = "Time")]
    pub(crate) timeout: Vec<PhaseLimit>,

    /// Give every phase so many times its documented time, as on a slow machine.
    #[arg(long, value_name = "N", default_value = "1", value_parser = scale, help_heading = "Time")]
    pub(crate) timeout_scale: f64,

    /// More flags for `pcp-vmm run`, which starts the VM.
    #[arg(last = true, value_name = "RUN FLAG")]
    pub(crate) run: Vec<String>,
}

const PHASE: &str = "\
Do or check one phase alone: `build` makes the image, `start` starts the VM and leaves it running, `serial`, \
`virtio`, `services` and `metrics` check a VM that runs, `shutdown` asks its guest to power off, and `exit` \
waits for its end.";

/// Do or check one phase alone.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = PHASE,
    before_help = "\
Examples:
  pcp-vmm lifecycle phase start --variant base
  pcp-vmm lifecycle phase services --variant base --timeout services=300\n"
)]
pub(crate) struct PhaseArgs {
    /// The phase.
    pub(crate) phase: Phase,

    /// The guest: base, eval, grafana or bpf, or one of them but bpf with -tap.
    #[arg(long, value_name = "NAME", required_unless_present = "bundle")]
    pub(crate) variant: Option<String>,

    /// The guest of this bundle.
    #[arg(long, value_name = "DIR", conflicts_with = "variant")]
    pub(crate) bundle: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) common: TestSettings,
}

/// Tell of each variant whether its VM runs, and whether its consoles and SSH answer.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct LifecycleStatusArgs {
    /// Only these.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) variant: Vec<String>,
}

const DEEP: &str = "\
Test guests in depth: that they start and offer what their bundles promise, that there are at least 1000 \
metrics, that pmcd and pmproxy listen and have no errors in their journals, that `pcp dstat` works, that PCP \
and node_exporter tell the same load within a tenth, that pmie raises alerts (these two where the guest has \
them), and that they power off.

The results of each test are in a folder VARIANT-user or VARIANT-tap: what was printed, the same as JSON and \
as JUnit XML, and the consoles' output.";

/// Test guests in depth.
#[derive(Debug, Args)]
#[command(
    help_template = TEMPLATE,
    long_about = DEEP,
    before_help = "\
Examples:
  pcp-vmm test --variant base
  pcp-vmm test --all --results results --timeout-scale 2\n"
)]
pub(crate) struct DeepArgs {
    /// The test: base, eval, grafana or bpf, or one of them but bpf with -tap.
    #[arg(long, value_name = "NAME", value_delimiter = ',', required_unless_present_any = ["all", "bundle"])]
    pub(crate) variant: Vec<String>,

    /// All tests.
    #[arg(short, long, conflicts_with_all = ["variant", "bundle"])]
    pub(crate) all: bool,

    /// Test the guest of this bundle.
    #[arg(long, value_name = "DIR", conflicts_with = "variant")]
    pub(crate) bundle: Option<PathBuf>,

    /// The folder for the results.
    #[arg(long, value_name = "DIR", default_value = "test-results")]
    pub(crate) results: PathBuf,

    #[command(flatten)]
    pub(crate) common: TestSettings,
}

const FORCE_KILL: &str = "\
End the VMs of variants at once, without asking their guests: SIGTERM, then SIGKILL after a second. That \
none runs is no fault.";

/// End the VMs of variants at once, without asking their guests.
#[derive(Debug, Args)]
#[command(help_template = TEMPLATE, long_about = FORCE_KILL)]
pub(crate) struct VariantArgs {
    /// The variant.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        required_unless_present = "all"
    )]
    pub(crate) variant: Vec<String>,

    /// All variants.
    #[arg(short, long, conflicts_with = "variant")]
    pub(crate) all: bool,
}
