//! Mounts the guest's root file system on [`MOUNT_POINT`].

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::cmdline::{ANY_FORMAT, Changes, Disk, Root, Settings};
use crate::{Failure, sys};

/// Where the root is put together.
pub(crate) const MOUNT_POINT: &str = "/root";
const LOWER: &str = "/lower";
const LAYER: &str = "/layer";

/// How long a root device may take to appear. Devices on PCI are there before PID 1 starts.
const PATIENCE: Duration = Duration::from_secs(10);

/// Linux errno numbers (include/uapi/asm-generic/errno-base.h) of a device that is not there (yet);
/// virtio-fs says EINVAL for a tag that no device has.
const ENOENT: i32 = 2;
const ENXIO: i32 = 6;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;

/// Mounts the root that `settings` describe, with a layer in RAM over it if changes go there.
pub(crate) fn mount(settings: &Settings) -> Result<(), Failure> {
    if settings.root == Root::Ram {
        return found();
    }
    match &settings.changes {
        Changes::Keep => attach(&settings.root, MOUNT_POINT, sys::Flags::empty()),
        Changes::Refuse => attach(&settings.root, MOUNT_POINT, sys::Flags::RDONLY),
        Changes::Ram => {
            attach(&settings.root, LOWER, sys::Flags::RDONLY)?;
            sys::mount("tmpfs", LAYER, "tmpfs", sys::Flags::empty(), "mode=0755")
                .map_err(|error| format!("cannot mount the RAM layer: {error}"))?;
            cover("")
        }
        Changes::Share(tag) => {
            attach(&settings.root, LOWER, sys::Flags::RDONLY)?;
            let share = Root::Share { tag: tag.clone() };
            attach(&share, LAYER, sys::Flags::empty())?;
            // The marks of a layer that the host keeps are of the kind that needs no privilege there.
            cover(",userxattr")
        }
    }
}

/// Mounts the root itself, waiting for its device.
fn attach(root: &Root, target: &str, flags: sys::Flags) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        let attempt = match root {
            Root::Share { tag } => sys::mount(tag, target, "virtiofs", flags, ""),
            Root::Disk { disk, format } => {
                device(disk).and_then(|device| mount_disk(&device, target, format, flags))
            }
            Root::Ram => Ok(()),
        };
        let error = match attempt {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let absent = matches!(error.raw_os_error(), Some(ENOENT | ENXIO | ENODEV | EINVAL));
        if !absent || begin.elapsed() > PATIENCE {
            return Err(explain(root, &error));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Mounts the disk `device`, as each file system that the kernel knows where the format is not given.
fn mount_disk(device: &str, target: &str, format: &str, flags: sys::Flags) -> io::Result<()> {
    if format != ANY_FORMAT {
        return sys::mount(device, target, format, flags, "");
    }
    let known = fs::read_to_string("/proc/filesystems")?;
    let mut last = io::Error::from_raw_os_error(ENODEV);
    // proc_filesystems(5): those that need no device say so in the first column.
    for format in known.lines().filter_map(|line| line.strip_prefix('\t')) {
        match sys::mount(device, target, format, flags, "") {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The device file of a disk.
fn device(disk: &Disk) -> io::Result<String> {
    let wanted = match disk {
        Disk::Device(path) => return Ok(path.clone()),
        Disk::Serial(serial) => serial,
    };
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        let serial = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
        if serial.trim_end() == wanted {
            return Ok(format!("/dev/{}", entry.file_name().to_string_lossy()));
        }
    }
    Err(io::Error::from_raw_os_error(ENXIO))
}

fn explain(root: &Root, error: &io::Error) -> Failure {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let format = match root {
        Root::Share { .. } => "virtiofs",
        Root::Disk { format, .. } => format,
        Root::Ram => "tmpfs",
    };
    if format != ANY_FORMAT && !known.split_whitespace().any(|name| name == format) {
        return format!("cannot mount root {root}: the kernel knows no file system `{format}`");
    }
    let disks: Vec<_> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    let disks = if disks.is_empty() {
        "none".to_owned()
    } else {
        disks.join(" ")
    };
    format!("cannot mount root {root}: {error} (disks there: {disks})")
}

/// What an empty root has: folders, and the files that programs take for granted.
const FOLDERS: [&str; 10] = [
    "bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var",
];
const FILES: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
];

/// Makes an empty root in RAM.
fn found() -> Result<(), Failure> {
    sys::mount(
        "tmpfs",
        MOUNT_POINT,
        "tmpfs",
        sys::Flags::empty(),
        "mode=0755",
    )
    .map_err(|error| format!("cannot mount a root in RAM: {error}"))?;
    let at = |name: &str| Path::new(MOUNT_POINT).join(name);
    let made = FOLDERS.iter().try_for_each(|name| fs::create_dir(at(name)));
    made.and_then(|()| fs::set_permissions(at("tmp"), fs::Permissions::from_mode(0o1777)))
        .and_then(|()| {
            FILES
                .iter()
                .try_for_each(|(name, text)| fs::write(at(name), text))
        })
        .map_err(|error| format!("cannot furnish the root in RAM: {error}"))
}

/// Puts the layer over the read-only root.
fn cover(more: &str) -> Result<(), Failure> {
    let [upper, work] = ["upper", "work"].map(|name| Path::new(LAYER).join(name));
    for folder in [&upper, &work] {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("cannot prepare the layer of changes: {error}"));
            }
            _ => {}
        }
    }
    let (upper, work) = (upper.display(), work.display());
    let options = format!("lowerdir={LOWER},upperdir={upper},workdir={work}{more}");
    sys::mount(
        "overlay",
        MOUNT_POINT,
        "overlay",
        sys::Flags::empty(),
        &options,
    )
    .map_err(|error| format!("cannot lay the layer of changes over the root: {error}"))
}
