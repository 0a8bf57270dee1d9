//! What a machine that was killed left outside of its folder: sockets where the user wanted them, and its PID file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use devices::backend::unix_socket::remove_abandoned;

use super::Record;
use crate::config::{ConsoleSpec, DeviceSpec, VmSpec};

/// Removes what is left of the machine whose record is at `path`, which has ended. What somebody uses stays.
pub(super) fn remove(path: &Path) {
    // Nothing is removed on the word of another user.
    let own = |path: &Path| Some(fs::symlink_metadata(path).ok()?.uid());
    if own(path).is_none_or(|owner| owner != rustix::process::geteuid().as_raw()) {
        return;
    }
    let Some(record) = path.parent().and_then(|folder| Record::read(folder).ok()) else {
        return;
    };
    let at = |path: &Path| match &record.directory {
        Some(directory) => directory.join(path),
        None => path.to_owned(),
    };
    // That of another version of the program may be another one.
    let spec = serde_json::from_value::<VmSpec>(record.spec.clone()).ok();
    for socket in spec.iter().flat_map(sockets) {
        remove_abandoned(&at(&socket));
    }
    remove_abandoned(&record.control);
    if let Some(file) = spec.and_then(|spec| spec.pid_file) {
        let file = at(&file);
        let named = fs::read_to_string(&file).ok();
        if named.is_some_and(|text| text.trim() == record.pid.to_string()) {
            let _ = fs::remove_file(file);
        }
    }
}

/// The sockets that a machine like `spec` makes.
fn sockets(spec: &VmSpec) -> Vec<PathBuf> {
    let console = |console: &ConsoleSpec| match console {
        ConsoleSpec::Unix(path) => Some(path.clone()),
        _ => None,
    };
    let of_device = |device: &DeviceSpec| match device {
        DeviceSpec::Console(spec) => console(spec),
        DeviceSpec::Vsock(vsock) => vsock.socket.clone(),
        _ => None,
    };
    let devices = spec.devices.iter().filter_map(of_device);
    devices.chain(console(&spec.serial)).collect()
}
