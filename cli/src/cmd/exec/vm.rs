//! The VM: a `pcp-vmm run` of its own, in its own sandbox.

use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use guest::wire::PORT;
use serde_json::Value;
use vmm::instance::{self, Entry};

use super::kernel::Kernel;
use super::outcome::{Ending, Told};
use super::places::{Places, Root, plain};
use crate::args::{CommonArgs, ExecArgs, ExecNet};
use crate::cmd::stop::{FORCE, end};
use crate::diagnostic::Diagnostic;
use crate::folders;
use crate::instances::RuntimeDir;
use crate::output::Output;
use crate::vm_process::{VmProcess, why_ended};

/// The tag of the root.
const ROOT: &str = "root";
/// The tag of the folder that keeps changes to it.
const LAYER: &str = "layer";
/// The guest's vsock address; the first that may be one.
const CID: u32 = 3;
/// The time between two looks for a VM that starts.
const LOOK: Duration = Duration::from_millis(1);
/// How long it may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A VM that runs a command.
#[derive(Debug)]
pub(super) struct Vm {
    process: Option<VmProcess>,
    entry: Entry,
}

impl Vm {
    /// Starts the VM.
    pub(super) fn start(
        args: &ExecArgs,
        kernel: &Kernel,
        places: &Places,
        runtime: &RuntimeDir,
        common: &CommonArgs,
    ) -> Result<Self, Diagnostic> {
        let name = format!("exec-{}", process::id());
        runtime.for_a_start()?;
        let failed = |why: String| {
            Diagnostic::new(crate::exit::Exit::Internal, "vm", "cannot start the VM")
                .cause(why)
                .hint("`pcp-vmm doctor` checks this machine")
        };
        let words = words(args, kernel, places, runtime, common, &name);
        let mut process = VmProcess::apart(&words).map_err(failed)?;
        let begin = Instant::now();
        loop {
            let found = instance::find(runtime.path(), &name);
            let found = found.map_err(|error| failed(error.to_string()))?;
            if let Some(entry) = found.filter(|entry| entry.record.is_some()) {
                return Ok(Self {
                    process: Some(process),
                    entry,
                });
            }
            if let Ok(Some(_)) = process.child.try_wait() {
                let (_, said) = process.finish();
                return Err(failed(why_ended(&said)));
            }
            if begin.elapsed() > PATIENCE {
                let _ = process.child.kill();
                let _ = process.finish();
                return Err(failed("it did not come up in time".to_owned()));
            }
            thread::sleep(LOOK);
        }
    }

    /// The socket that the guest's agent reaches.
    pub(super) fn socket(&self) -> PathBuf {
        self.entry.folder.join(instance::AGENT)
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_none_or(|it| !matches!(it.child.try_wait(), Ok(None)))
    }

    /// Sees it to its end, and tells what it said.
    pub(super) fn end(mut self, ending: &Ending, output: Output) -> Told {
        let Some(process) = self.process.take() else {
            return Told::default();
        };
        if !matches!(ending, Ending::VmEnded) {
            // One that has just ended by itself is no failure.
            if let Err(diagnostic) = end(&self.entry, &FORCE, output) {
                log::debug!("{}", diagnostic.message);
            }
        }
        let (out, err) = process.finish();
        let report: Value = serde_json::from_str(&out).unwrap_or_default();
        let text = |key: &str| report.get(key).and_then(Value::as_str).map(str::to_owned);
        Told {
            reason: text("reason"),
            console: text("console_tail").unwrap_or_default(),
            failure: (!err.trim().is_empty()).then(|| why_ended(&err)),
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// The command line of `run`.
fn words(
    args: &ExecArgs,
    kernel: &Kernel,
    places: &Places,
    runtime: &RuntimeDir,
    common: &CommonArgs,
    name: &str,
) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    // The last word of a kernel that ends is a reset, which ends the VM.
    let root = match &places.root {
        Root::Folder(_) => format!("virtiofs:{ROOT}"),
        Root::Image(image) => image.root(),
        Root::Disk => "disk:/dev/vda:auto pcpvmm.changes=keep".to_owned(),
        Root::Ram => "ram".to_owned(),
    };
    let mut cmdline = format!(
        "console=ttyS0 quiet panic=-1 reboot=t pcpvmm.root={root} pcpvmm.agent=vsock:{PORT}"
    );
    if places.layer.is_some() {
        cmdline.push_str(&format!(" pcpvmm.changes=virtiofs:{LAYER}"));
    }
    for more in &args.kernel_arg {
        cmdline.push(' ');
        cmdline.push_str(more);
    }
    let console = match &args.console {
        Some(file) => format!("serial=file={}", text(file)),
        None => "serial=none".to_owned(),
    };
    let mut words = vec!["run", "--json", "--rng=true"];
    if common.verbose > 1 {
        words.push("-v");
    }
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.push(format!("--end-with-parent={}", process::id()));
    let socket = runtime.path().join(name).join(instance::VSOCK);
    for (flag, value) in [
        ("--name", name.to_owned()),
        ("--runtime-dir", text(runtime.path())),
        ("--kernel", text(&kernel.path)),
        ("--initrd", text(&kernel.initrd())),
        ("--cmdline", cmdline),
        ("--memory", format!("{}K", args.memory.0 >> 10)),
        ("--cpus", args.cpus.to_string()),
        ("--vsock", format!("cid={CID},socket={}", text(&socket))),
        ("--console", console),
    ] {
        words.extend([flag.to_owned(), value]);
    }
    words.extend(folders::flags(common));
    let net = match args.net {
        ExecNet::User => "user",
        ExecNet::None => "none",
    };
    words.extend(["--net".to_owned(), net.to_owned()]);
    if let Root::Folder(root) = &places.root {
        let share = format!("{ROOT}={},ro,cache=always", plain(root));
        words.extend(["--share".to_owned(), share]);
    }
    if let Some(layer) = &places.layer {
        words.extend(["--share".to_owned(), format!("{LAYER}={}", plain(layer))]);
    }
    for shared in &places.shared {
        words.extend(["--share".to_owned(), shared.flag()]);
    }
    // The root comes last: it is found by its serial number, and others by their place.
    let root = match &places.root {
        Root::Image(image) => Some(image.disk()),
        _ => None,
    };
    for disk in args.disk.iter().cloned().chain(root) {
        words.extend(["--disk".to_owned(), disk]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_socket_is_where_the_device_looks_for_its_port() {
        assert_eq!(instance::AGENT, format!("{}_{PORT}", instance::VSOCK));
    }
}
