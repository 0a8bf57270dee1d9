//! The agent of a guest with an init of its own: put where systemd finds it, it listens for the host's calls, and each gets a
//! process.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Host, Role, serve};
use crate::sys::vsock::{HOST, Listener};
use crate::wire::{Call, PORT, VERSION};
use crate::{Failure, report, sys};

/// The words that have this program be the listener, and the process of a session.
pub(crate) const LISTEN: &str = "agent";
pub(crate) const SESSION: &str = "agent-session";

/// Linux's numbers (signal(7)).
const SIGHUP: u8 = 1;
const SIGKILL: u8 = 9;
/// How long a command may take to end once it is told that its caller is gone.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Where virtio devices are, and the number of one for sockets (VIRTIO 1.3 section 5).
const DEVICES: &str = "/sys/bus/virtio/devices";
const SOCKET_DEVICE: &str = "0x0013";
/// Where the program and its unit go: what is there for this start alone (file-hierarchy(7)).
const RUN: &str = "/run";
const FOLDER: &str = "/run/pcp-vmm";
const PROGRAM: &str = "/run/pcp-vmm/agent";
const UNITS: &str = "/run/systemd/system";
const UNIT: &str = "pcp-vmm-agent.service";
/// There from early on, so that a guest whose start hangs can be looked into.
const WANTS: &str = "/run/systemd/system/sysinit.target.wants";
const TEXT: &str = include_str!("agent.service");

/// Has the guest's systemd start the agent, if the host has a way to call it.
pub(crate) fn install() {
    if has_device()
        && let Err(error) = place()
    {
        report::note(&format!("no agent for `pcp-vmm exec --in`: {error}"));
    }
}

fn has_device() -> bool {
    let devices = fs::read_dir(DEVICES).into_iter().flatten().flatten();
    devices
        .map(|device| fs::read_to_string(device.path().join("device")).unwrap_or_default())
        .any(|number| number.trim_end() == SOCKET_DEVICE)
}

fn place() -> io::Result<()> {
    if !is_mount_point(Path::new(RUN)) {
        // As systemd mounts it, which leaves one that is there as it is.
        let options = "mode=0755,size=20%,nr_inodes=800k";
        sys::mount("tmpfs", RUN, "tmpfs", sys::Flags::NOSUID_NODEV, options)?;
    }
    fs::create_dir_all(FOLDER)?;
    fs::create_dir_all(WANTS)?;
    fs::copy("/proc/self/exe", PROGRAM)?;
    fs::set_permissions(PROGRAM, fs::Permissions::from_mode(0o755))?;
    fs::write(
        Path::new(UNITS).join(UNIT),
        TEXT.replace("@PROGRAM@", PROGRAM),
    )?;
    symlink(Path::new(UNITS).join(UNIT), Path::new(WANTS).join(UNIT))
}

fn is_mount_point(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == folder.to_str())
}

/// Takes the host's calls, and has a process serve each; returns only what stops it.
pub(crate) fn listen() -> Result<Infallible, Failure> {
    let listener =
        Listener::at(PORT).map_err(|error| format!("cannot listen for the host: {error}"))?;
    loop {
        let (caller, cid) = listener
            .accept()
            .map_err(|error| format!("cannot take a call: {error}"))?;
        // Nobody in the guest becomes its superuser by this way.
        if cid != HOST {
            continue;
        }
        let mut session = Command::new("/proc/self/exe");
        session.arg(SESSION).stdin(Stdio::from(caller));
        match session.spawn() {
            Ok(mut session) => {
                thread::spawn(move || session.wait());
            }
            Err(error) => report::console(&format!("cannot start a session: {error}")),
        }
    }
}

/// Serves the call on standard input.
pub(crate) fn session() -> Result<(), Failure> {
    let mut caller = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(|error| format!("no caller: {error}"))?;
    let failed = |error: io::Error| format!("cannot understand the caller: {error}");
    let call = Call::read(&mut caller).map_err(failed)?;
    caller.write_all(&[VERSION]).map_err(failed)?;
    let Some(Call { port, token }) = call else {
        return Err("the caller is of another version".to_owned());
    };
    let role = Role {
        last_act: || (),
        gone: hang_up,
    };
    serve(Host { port, token }, role).map(|_| ())
}

/// Ends a command whose caller is gone, as the loss of its terminal would.
fn hang_up(command: u32) {
    sys::signal_group(command, SIGHUP);
    thread::sleep(LAST_WORDS);
    sys::signal_group(command, SIGKILL);
    // What is left of this process has nobody to speak to.
    sys::signal(std::process::id(), SIGKILL);
}
