//! `pcp-vmm status`: how VMs are, in detail.

use std::fmt::Write;

use crate::args::StatusArgs;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::vm_status::{VmStatus, duration_words, size_words};

/// Tells how VMs are.
pub(crate) fn tell(args: &StatusArgs, runtime: &RuntimeDir, output: Output) -> Result<Exit, Stop> {
    let entries = runtime.select(&args.target)?;
    let all = VmStatus::of_all(&entries);
    if output.is_json() {
        output.json(&all)?;
    } else if all.is_empty() {
        output.note("no VM runs");
    } else {
        let texts: Vec<String> = all.iter().map(text).collect();
        output.data(texts.join("\n"))?;
    }
    Ok(Exit::Success)
}

fn text(vm: &VmStatus) -> String {
    let mut text = vm.name.clone();
    // Writing to a string cannot fail.
    if let Some(variant) = &vm.variant {
        let _ = write!(text, " ({variant})");
    }
    if let Some(pid) = vm.pid {
        let _ = write!(text, ", process {pid}");
    }
    text.push('\n');
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "  {label:<10} {value}");
    };
    line("state", vm.state.clone());
    for passed in &vm.phases {
        let seconds = passed.after_ms as f64 / 1000.0;
        let word = passed.phase.word();
        line("phase", format!("{word} after {seconds:.1} s"));
    }
    if let Some(uptime) = vm.uptime_ms {
        line("uptime", duration_words(uptime));
    }
    if let (Some(vcpus), Some(percent)) = (vm.vcpus, vm.cpu_percent) {
        let many = if vcpus == 1 { "vCPU" } else { "vCPUs" };
        let what = format!("{vcpus} {many}, {percent:.0} % of one processor since the start");
        line("processor", what);
    }
    if let (Some(used), Some(all)) = (vm.resident_bytes, vm.memory_bytes) {
        let (used, all) = (size_words(used), size_words(all));
        line("memory", format!("{used} in use, {all} for the guest"));
    }
    if let Some(balloon) = &vm.balloon {
        let (actual, target) = (size_words(balloon.actual), size_words(balloon.target));
        line("balloon", format!("{actual} given, {target} wanted"));
    }
    for console in &vm.consoles {
        let (device, place) = (&console.device, &console.place);
        line("console", format!("{device} at {place}"));
    }
    for forward in &vm.forwards {
        line("forward", forward.clone());
    }
    line("folder", vm.folder.display().to_string());
    text
}
