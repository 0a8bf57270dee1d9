//! How a VM that runs is: what its process tells over the control socket, and what the system
//! knows of that process. `docs/control.md` has the fields of the JSON.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use vmm::Landmark;
use vmm::config::value::MemorySize;
use vmm::control::protocol::{BalloonSize, ConsoleInfo, Info, LinkState, Passed};
use vmm::control::{ControlClient, ControlError};
use vmm::instance::Entry;

use crate::at_once::at_once;
use crate::process::Usage;

/// How long a VM may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How a VM is.
#[derive(Debug, Serialize)]
pub(crate) struct VmStatus {
    pub(crate) name: String,
    pub(crate) variant: Option<String>,
    pub(crate) pid: Option<u32>,
    /// `running`, `paused`, `stopping`, `starting`, or `unresponsive`.
    pub(crate) state: String,
    pub(crate) phase: Option<Landmark>,
    pub(crate) phases: Vec<Passed>,
    pub(crate) started: Option<u64>,
    pub(crate) uptime_ms: Option<u64>,
    pub(crate) vcpus: Option<u8>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) cpu_percent: Option<f64>,
    /// The guest's address.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) forwards: Vec<String>,
    pub(crate) consoles: Vec<ConsoleInfo>,
    pub(crate) balloon: Option<BalloonSize>,
    pub(crate) link: Option<LinkState>,
    pub(crate) control: PathBuf,
    pub(crate) folder: PathBuf,
}

impl VmStatus {
    /// How the VM of `entry` is; `None` if it has ended meanwhile.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        let asked = ControlClient::connect(&entry.control(), PATIENCE).and_then(|mut it| it.info());
        let record = entry.record.as_ref();
        let usage = record.and_then(|record| Usage::of(record.pid));
        let (info, state) = match asked {
            Ok(info) => {
                let state = info.state.to_string();
                (Some(info), state)
            }
            // The lock is older than the socket; without its process it has ended.
            Err(error) if error.is_end() => match (record, usage) {
                (Some(_), None) => return None,
                _ => (None, "starting".to_owned()),
            },
            Err(ControlError::Refused { .. } | ControlError::Garbled { .. })
            | Err(ControlError::Silent { .. }) => (None, "unresponsive".to_owned()),
        };
        Some(Self::new(entry, info, usage, state))
    }

    fn new(entry: &Entry, info: Option<Info>, usage: Option<Usage>, state: String) -> Self {
        let record = entry.record.as_ref();
        let uptime_ms = info.as_ref().map(|info| info.uptime_ms);
        let cpu = usage.map(|usage| usage.cpu.as_secs_f64());
        let share =
            |seconds: f64| Some(seconds * 100_000.0 / uptime_ms.filter(|&ms| ms > 0)? as f64);
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let told = info.as_ref();
        Self {
            name: entry.name(),
            variant: record.and_then(|record| record.variant.clone()),
            pid: record.map(|record| record.pid),
            state,
            phase: told.and_then(|info| info.phase),
            phases: told.map(|info| info.phases.clone()).unwrap_or_default(),
            started: record.map(|record| record.started),
            uptime_ms,
            vcpus: told.map(|info| info.cpus),
            memory_bytes: told.map(|info| info.memory),
            resident_bytes: usage.map(|usage| usage.resident),
            cpu_seconds: cpu.map(rounded),
            cpu_percent: cpu.and_then(share).map(rounded),
            balloon: told.and_then(|info| info.balloon),
            link: told.and_then(|info| info.link),
            address: record.and_then(|record| record.address),
            control: entry.control(),
            folder: entry.folder.clone(),
            forwards: told.map(|info| info.forwards.clone()).unwrap_or_default(),
            consoles: info.map(|info| info.consoles).unwrap_or_default(),
        }
    }

    /// How the VMs of `entries` are, all asked at once.
    pub(crate) fn of_all(entries: &[Entry]) -> Vec<Self> {
        let answers = at_once(entries, Self::of);
        answers.into_iter().flatten().collect()
    }

    /// The host's side of each forward, with the guest's port, as in `22022:22`.
    pub(crate) fn ports(&self) -> String {
        let short = |forward: &String| {
            let mut parts = forward.rsplitn(3, ':');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(guest), Some(host), Some(rest)) => {
                    let protocol = if rest.starts_with("udp") { "udp:" } else { "" };
                    format!("{protocol}{host}:{guest}")
                }
                _ => forward.clone(),
            }
        };
        let ports: Vec<String> = self.forwards.iter().map(short).collect();
        ports.join(",")
    }
}

/// A time in words, such as `3 h 5 min`.
pub(crate) fn duration_words(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A size in words, in whole mebibytes where it is not a whole larger unit.
pub(crate) fn size_words(bytes: u64) -> String {
    MemorySize(bytes >> 20 << 20).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_told_in_fitting_units() {
        assert_eq!(duration_words(1234), "1.2 s");
        assert_eq!(duration_words(59_900), "59 s");
        assert_eq!(duration_words(61_000), "1 min 1 s");
        assert_eq!(duration_words(7_500_000), "2 h 5 min");
        assert_eq!(duration_words(90_000_000), "1 d 1 h");
        assert_eq!(size_words((100 << 20) + 4096), "100 MiB");
        assert_eq!(size_words(1 << 30), "1 GiB");
    }
}
