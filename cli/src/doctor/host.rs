//! The host beside KVM: network devices, limits, memory, and the tools that build images.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use guest::image::{RootForm, Tool, missing_tools};
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::env;

/// Open files that a VM with several shares and many connections may need.
const OPEN_FILES: u64 = 4096;
/// What a guest of the default size needs beside the host's own needs.
const MEMORY: u64 = 1280 << 20;
/// What a build of the largest guest image takes on the disk.
const IMAGE_SPACE: u64 = 4 << 30;

/// What needs none of the network's devices.
const USER_NET: &str = "`--net user`";

/// All checks of the host.
pub(crate) fn checks() -> Vec<Check> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let transparent =
        fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let [tun, vhost] = network_devices();
    vec![
        tun,
        vhost,
        device(
            "vhost-vsock",
            "/dev/vhost-vsock",
            ("`--vsock cid=N,vhost`", "`--vsock cid=N,socket=PATH`"),
            "sudo modprobe vhost_vsock && sudo setfacl -m u:$USER:rw /dev/vhost-vsock",
        ),
        open_files(getrlimit(Resource::Nofile).maximum),
        locked_memory(getrlimit(Resource::Memlock).current),
        memory(&meminfo),
        huge_pages(&meminfo, &transparent),
        image_tools(&missing_tools(RootForm::for_this_user())),
        cache_space(),
    ]
}

/// The devices that a TAP network uses.
pub(super) fn network_devices() -> [Check; 2] {
    let tun = device(
        "tun",
        "/dev/net/tun",
        ("a TAP network", USER_NET),
        "sudo modprobe tun",
    );
    let vhost = device(
        "vhost-net",
        "/dev/vhost-net",
        ("a fast TAP network", USER_NET),
        "sudo modprobe vhost_net && sudo setfacl -m u:$USER:rw /dev/vhost-net",
    );
    [tun, vhost]
}

/// A device that `purpose` needs and `other` does not, so that its lack is no failure.
fn device(name: &'static str, path: &str, (purpose, other): (&str, &str), remedy: &str) -> Check {
    let kind = fs::metadata(path).map(|meta| meta.file_type());
    let open = OpenOptions::new().read(true).write(true).open(path);
    match (kind, open) {
        (Ok(kind), _) if !kind.is_char_device() => Check::warn(
            name,
            format!("`{path}` is no device"),
            format!("`{remedy}`"),
        ),
        (_, Ok(_)) => Check::ok(name, format!("`{path}` can be opened")),
        (_, Err(error)) if error.kind() == ErrorKind::PermissionDenied => Check::warn(
            name,
            format!("you may not open `{path}`, which {purpose} needs; {other} does not"),
            format!("`sudo setfacl -m u:$USER:rw {path}`"),
        ),
        (_, Err(_)) => Check::warn(
            name,
            format!("there is no `{path}`, which {purpose} needs; {other} does not"),
            format!("`{remedy}`; in a container, pass the device"),
        ),
    }
}

fn open_files(limit: Option<u64>) -> Check {
    const NAME: &str = "open-files";
    match limit {
        Some(limit) if limit < OPEN_FILES => Check::warn(
            NAME,
            format!("a process may open {limit} files at most"),
            format!("`ulimit -Hn {OPEN_FILES}` as root, or `LimitNOFILE={OPEN_FILES}` in the unit"),
        ),
        Some(limit) => Check::ok(NAME, format!("a process may open {limit} files")),
        None => Check::ok(NAME, "a process may open any number of files"),
    }
}

fn locked_memory(limit: Option<u64>) -> Check {
    let message = match limit {
        Some(limit) => format!("{} KiB may be locked; nothing needs it", limit >> 10),
        None => "any amount of memory may be locked".to_owned(),
    };
    Check::ok("locked-memory", message)
}

fn memory(meminfo: &str) -> Check {
    const NAME: &str = "memory";
    let Some(available) = meminfo_bytes(meminfo, "MemAvailable") else {
        return Check::warn(NAME, "cannot read `/proc/meminfo`", "mount `/proc`");
    };
    let mebibytes = available >> 20;
    if available < MEMORY {
        Check::warn(
            NAME,
            format!("{mebibytes} MiB of memory are available, less than the default guest needs"),
            "end something, or give the guest less: `pcp-vmm run --memory 512M`",
        )
    } else {
        Check::ok(NAME, format!("{mebibytes} MiB of memory are available"))
    }
}

fn huge_pages(meminfo: &str, transparent: &str) -> Check {
    let reserved = meminfo_value(meminfo, "HugePages_Free").unwrap_or(0);
    let chosen = transparent
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let message = match chosen {
        Some((mode, _)) => format!("transparent huge pages: {mode}; reserved and free: {reserved}"),
        None => format!("no transparent huge pages; reserved and free: {reserved}"),
    };
    Check::ok("huge-pages", message)
}

fn image_tools(missing: &[Tool]) -> Check {
    const NAME: &str = "image-tools";
    if missing.is_empty() {
        return Check::ok(NAME, "the tools that build guest images are there");
    }
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    Check::warn(
        NAME,
        format!(
            "guest images cannot be built here without {}",
            programs.join(", ")
        ),
        format!("`sudo apt-get install {}`", packages.join(" ")),
    )
}

fn cache_space() -> Check {
    const NAME: &str = "cache";
    let Some(cache) = env::cache_dir() else {
        return Check::warn(
            NAME,
            "there is no folder for built images",
            "set `HOME`, or `PCP_VMM_CACHE` to a folder",
        );
    };
    let existing = cache
        .ancestors()
        .find(|dir| dir.exists())
        .unwrap_or(Path::new("/"));
    let shown = cache.display();
    if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err() {
        return Check::warn(
            NAME,
            format!("you may not write to `{shown}`"),
            "set `PCP_VMM_CACHE` to a folder of yours",
        );
    }
    let free =
        rustix::fs::statvfs(existing).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    match free {
        Ok(free) if free < IMAGE_SPACE => Check::warn(
            NAME,
            format!(
                "{} MiB are free in `{shown}`, less than an image may need",
                free >> 20
            ),
            "make room, or set `PCP_VMM_CACHE` to a folder on a larger disk",
        ),
        Ok(free) => Check::ok(NAME, format!("{} MiB are free in `{shown}`", free >> 20)),
        Err(error) => Check::warn(
            NAME,
            format!("cannot tell how much is free in `{shown}`: {error}"),
            "set `PCP_VMM_CACHE` to another folder",
        ),
    }
}

fn meminfo_value(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    meminfo_value(meminfo, name)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    const MEMINFO: &str = "MemTotal: 8000000 kB\nMemAvailable:  4194304 kB\nHugePages_Free:  3\n";

    #[test]
    fn memory_is_compared_with_the_default_guest() {
        assert_eq!(memory(MEMINFO).state, State::Ok);
        assert!(memory(MEMINFO).message.starts_with("4096 MiB"));
        assert_eq!(memory("MemAvailable: 1000 kB").state, State::Warn);
        assert_eq!(memory("").state, State::Warn);
    }

    #[test]
    fn the_chosen_huge_page_mode_is_told() {
        let check = huge_pages(MEMINFO, "always [madvise] never\n");
        assert_eq!(
            check.message,
            "transparent huge pages: madvise; reserved and free: 3"
        );
    }

    #[test]
    fn a_low_limit_of_open_files_is_warned_of() {
        assert_eq!(open_files(Some(1024)).state, State::Warn);
        assert_eq!(open_files(Some(4096)).state, State::Ok);
        assert_eq!(open_files(None).state, State::Ok);
    }

    #[test]
    fn missing_tools_are_named_with_their_packages() {
        assert_eq!(image_tools(&[]).state, State::Ok);
        let tool = |program| Tool {
            program,
            package: "erofs-utils",
        };
        let check = image_tools(&[tool("mkfs.erofs"), tool("dump.erofs")]);
        assert_eq!(check.state, State::Warn);
        assert!(
            check.message.ends_with("mkfs.erofs, dump.erofs"),
            "{}",
            check.message
        );
        assert_eq!(
            check.hint.as_deref(),
            Some("`sudo apt-get install erofs-utils`")
        );
    }

    #[test]
    fn a_missing_device_is_no_failure() {
        let check = device(
            "tun",
            "/nonexistent",
            ("a TAP network", USER_NET),
            "sudo modprobe tun",
        );
        assert_eq!(check.state, State::Warn);
        assert!(check.hint.unwrap_or_default().contains("modprobe tun"));
    }
}
