//! `pcp-vmm kill`: ends VMs without asking their guests.

use std::time::Duration;

use super::stop::{Step, end_all};
use crate::args::KillArgs;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};

/// How long the VMM may take to clear up after itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long the kernel may take to end it.
const LIMIT: Duration = Duration::from_secs(10);

/// Ends VMs.
pub(crate) fn kill(args: &KillArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let entries = runtime.select(&args.target)?;
    end_all(
        &entries,
        &[(Step::Quit, GRACE), (Step::Kill, LIMIT)],
        output,
    )
}
