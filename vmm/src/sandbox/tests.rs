//! A thread turned hostile: this test program runs itself once more for each act, enters the
//! sandbox there and commits the act on a device's thread.
#![allow(unsafe_code, reason = "a hostile thread makes raw system calls")]

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;
use crate::config::DeviceSpec;
use crate::config::{BlkSpec, ConsoleSpec, FsSpec, NetBackendSpec, NetSpec, UserSpec, VmSpec};

/// The act, and the thread that commits it.
const ACT: &str = "PCP_VMM_TEST_ACT";
const FOLDER: &str = "PCP_VMM_TEST_FOLDER";
const STATUS: u8 = 77;

pub(super) fn spec(folder: &Path, mode: SandboxMode) -> VmSpec {
    let share = |tag: &str, read_only| {
        DeviceSpec::Fs(FsSpec {
            read_only,
            ..FsSpec::new(tag, folder.join(tag))
        })
    };
    VmSpec {
        name: "vm".into(),
        process_name: "vm".into(),
        memory: 128 << 20,
        cpus: 1,
        kernel: PathBuf::new(),
        initrd: None,
        cmdline: String::new(),
        serial: ConsoleSpec::None,
        devices: vec![
            DeviceSpec::Net(NetSpec {
                mac: [2, 0, 0, 0, 0, 1],
                mtu: None,
                backend: NetBackendSpec::User(UserSpec::default()),
            }),
            share("rw", false),
            share("ro", true),
            DeviceSpec::Blk(BlkSpec::new(folder.join("disk"))),
        ],
        kernel_cache: None,
        sandbox: mode,
        uuid: None,
        credentials: Vec::new(),
        control: None,
        monitors: Vec::new(),
        pid_file: None,
        guest_address: None,
        instance: None,
        console_logs: Some(folder.join("logs")),
        transport: Default::default(),
    }
}

fn raw(number: libc::c_long, a: u64, b: u64, c: u64) -> io::Result<()> {
    // SAFETY: the acts pass numbers and null pointers alone.
    match unsafe { libc::syscall(number, a, b, c, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// As a share does it.
fn rename(folder: &Path, from: &str, to: &str) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let flags = RenameFlags::empty();
    Ok(renameat_with(
        CWD,
        folder.join(from),
        CWD,
        folder.join(to),
        flags,
    )?)
}

fn commit(act: &str, folder: &Path, parent: u64) -> io::Result<()> {
    match act {
        "read in the share" => File::open(folder.join("ro/file")).map(drop),
        "write in the share" => fs::write(folder.join("rw/new"), "new"),
        "move in the share" => rename(folder, "rw/file", "rw/dir/file"),
        "write in the read-only share" => {
            let mut options = OpenOptions::new();
            options.write(true).open(folder.join("ro/file")).map(drop)
        }
        "create in the read-only share" => File::create(folder.join("ro/new")).map(drop),
        "read a secret" => File::open(folder.join("secret")).map(drop),
        "read by way of the share" => File::open(folder.join("rw/../secret")).map(drop),
        "read the link in the share" => File::open(folder.join("rw/link")).map(drop),
        "turn a log" => {
            use rustix::fs::{CWD, Mode, OFlags, openat, renameat};
            let log = folder.join("logs/a.log");
            renameat(CWD, &log, CWD, log.with_extension("log.1"))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            openat(CWD, &log, flags, Mode::RUSR)?;
            Ok(())
        }
        "move out of the logs" => {
            use rustix::fs::{CWD, renameat};
            Ok(renameat(
                CWD,
                folder.join("logs/a.log"),
                CWD,
                folder.join("a"),
            )?)
        }
        "move out of the share" => rename(folder, "rw/file", "file"),
        "connect inside" => TcpStream::connect(env::var("PCP_VMM_TEST_TCP").unwrap()).map(drop),
        "send a datagram" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "connect to a socket" => UnixStream::connect(folder.join("socket")).map(drop),
        "bind a socket" => UnixDatagram::bind(folder.join("rw/socket")).map(drop),
        "open a netlink socket" => raw(libc::SYS_socket, libc::AF_NETLINK as u64, 3, 0),
        "open a packet socket" => raw(libc::SYS_socket, libc::AF_PACKET as u64, 3, 0),
        "open a vsock socket" => raw(libc::SYS_socket, libc::AF_VSOCK as u64, 1, 0),
        "open a raw socket" => raw(libc::SYS_socket, libc::AF_INET as u64, 3, 1),
        "exec" => raw(libc::SYS_execve, 0, 0, 0),
        "execveat" => raw(libc::SYS_execveat, 0, 0, 0),
        "fork" => raw(libc::SYS_fork, 0, 0, 0),
        "clone a process" => raw(libc::SYS_clone, libc::SIGCHLD as u64, 0, 0),
        "ptrace" => raw(libc::SYS_ptrace, libc::PTRACE_ATTACH as u64, parent, 0),
        "write to a process" => raw(libc::SYS_process_vm_writev, parent, 0, 0),
        "signal a process" => raw(libc::SYS_kill, parent, 0, 0),
        "signal a thread" => raw(libc::SYS_tkill, parent, libc::SIGTERM as u64, 0),
        "signal another's thread" => raw(libc::SYS_tgkill, parent, parent, 0),
        "signal all threads" => raw(libc::SYS_tgkill, u64::MAX, parent, 0),
        "signal an own thread" => {
            let id = rustix::thread::gettid().as_raw_nonzero().get() as u64;
            raw(libc::SYS_tgkill, std::process::id().into(), id, 0)
        }
        "open a process" => raw(libc::SYS_pidfd_open, parent, 0, 0),
        "make code" => raw(libc::SYS_mmap, 0, 4096, libc::PROT_EXEC as u64),
        "become root" => raw(libc::SYS_setresuid, 0, 0, 0),
        "mount" => raw(libc::SYS_mount, 0, 0, 0),
        "open by handle" => raw(libc::SYS_open_by_handle_at, 0, 0, 0),
        "load a program" => raw(libc::SYS_bpf, 0, 0, 0),
        "set up io_uring" => raw(libc::SYS_io_uring_setup, 0, 0, 0),
        "make a machine" => raw(libc::SYS_ioctl, 0, 0xae01, 0),
        other => panic!("unknown act {other}"),
    }
}

/// The other side of [`act`]: does nothing in an ordinary run.
#[test]
fn a_hostile_thread_commits_its_act() {
    let (Ok(act), Ok(folder)) = (env::var(ACT), env::var(FOLDER)) else {
        return;
    };
    let (mode, rest) = act.split_once(' ').unwrap();
    let (thread, act) = rest.split_once(' ').unwrap();
    let mode = mode.parse().unwrap();
    let (thread, act) = (thread.to_owned(), act.to_owned());
    let folder = PathBuf::from(folder);
    let sandbox = Arc::new(Sandbox::new(&spec(&folder, mode)));
    let notice = Notice {
        head: "<head>".into(),
        tail: "<tail>".into(),
        status: STATUS,
    };
    sandbox.enter(notice).unwrap();
    sandbox.launch().unwrap();
    let parent = u64::from(std::os::unix::process::parent_id());
    let name = thread.clone();
    let body = move || {
        let result = commit(&act, &folder, parent);
        let errno = result
            .err()
            .map_or(0, |error| error.raw_os_error().unwrap_or(-1));
        let mut line = [0; 16];
        let mut rest = line.as_mut_slice();
        let _ = writeln!(rest, "errno {errno};");
        // Standard output belongs to the test harness of this thread's parent.
        // SAFETY: the array is live.
        unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    };
    let started = if name == Role::Main.name() {
        // The supervisor is there before there is a thread that starts others.
        let closed = move || {
            sandbox.close().unwrap();
            body();
        };
        thread::Builder::new().name(name).spawn(closed)
    } else {
        Confined(Arc::clone(&sandbox)).start(&name, Box::new(body))
    };
    let _ = started.unwrap().join();
    panic!("the thread ended without a word");
}

/// Commits `act` on the thread called `thread` of a new process.
fn act(mode: &str, thread: &str, act: &str) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["rw", "ro", "rw/dir", "logs"] {
        fs::create_dir(path(name)).unwrap();
    }
    for name in ["rw/file", "ro/file", "secret", "disk", "logs/a.log"] {
        fs::write(path(name), "x").unwrap();
    }
    std::os::unix::fs::symlink(path("secret"), path("rw/link")).unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "sandbox::tests::a_hostile_thread_commits_its_act",
        ])
        .args(["--nocapture", "--test-threads", "1"])
        .env(ACT, format!("{mode} {thread} {act}"))
        .env(FOLDER, folder.path())
        .env("PCP_VMM_TEST_TCP", server.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    (output, folder)
}

/// What the act came to: an error number (0: it was done), or the name of the forbidden call.
fn comes_to(mode: &str, thread: &str, what: &str) -> Result<i32, String> {
    let (output, _folder) = act(mode, thread, what);
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(i32::from(STATUS)) {
        let (_, said) = said.split_once("<head>").expect("the head");
        let (clause, _) = said.split_once("<tail>").expect("the tail");
        assert!(
            clause.starts_with(&format!("thread `{thread}` made")),
            "{clause}"
        );
        return Err(clause.split('`').nth(3).unwrap().to_owned());
    }
    let number = said
        .split("errno ")
        .nth(1)
        .and_then(|rest| rest.split(';').next());
    Ok(number
        .unwrap_or_else(|| panic!("{thread} {what}: {output:?}"))
        .parse()
        .unwrap())
}

/// Whether this kernel restricts files too.
fn has_landlock() -> bool {
    sys::landlock_version().is_ok_and(|version| version >= 2)
}

#[test]
fn a_share_reaches_its_files_and_no_others() {
    for allowed in [
        "read in the share",
        "write in the share",
        "move in the share",
    ] {
        assert_eq!(comes_to("on", "fs0", allowed), Ok(0), "{allowed}");
    }
    assert!(has_landlock(), "this test needs a kernel with Landlock");
    for refused in [
        "write in the read-only share",
        "create in the read-only share",
        "read a secret",
        "read by way of the share",
        "read the link in the share",
    ] {
        assert_eq!(
            comes_to("on", "fs0", refused),
            Ok(libc::EACCES),
            "{refused}"
        );
    }
    let moved = comes_to("on", "fs0", "move out of the share");
    assert!(
        [Ok(libc::EACCES), Ok(libc::EXDEV)].contains(&moved),
        "{moved:?}"
    );
}

#[test]
fn other_devices_open_nothing() {
    for thread in ["vcpu0", "blk0"] {
        let opened = comes_to("on", thread, "read in the share");
        assert!(
            matches!(
                opened.as_ref().map_err(String::as_str),
                Err("openat" | "open")
            ),
            "{opened:?}"
        );
    }
    assert_eq!(comes_to("on", "io", "read a secret"), Ok(libc::EACCES));
    let created = comes_to("on", "io", "write in the share");
    assert!(
        matches!(
            created.as_ref().map_err(String::as_str),
            Err("openat" | "open")
        ),
        "{created:?}"
    );
}

#[test]
fn a_log_begins_its_next_file_and_reaches_no_others() {
    assert_eq!(comes_to("on", "log0", "turn a log"), Ok(0));
    assert!(has_landlock(), "this test needs a kernel with Landlock");
    let moved = comes_to("on", "log0", "move out of the logs");
    assert!(
        [Ok(libc::EACCES), Ok(libc::EXDEV)].contains(&moved),
        "{moved:?}"
    );
    assert_eq!(comes_to("on", "log0", "read a secret"), Ok(libc::EACCES));
    assert_eq!(
        comes_to("on", "log0", "connect inside"),
        Err("socket".into())
    );
    assert_eq!(
        comes_to("on", "io", "turn a log"),
        Err("renameat".into()),
        "logs are their threads' alone"
    );
}

#[test]
fn the_network_alone_connects_and_only_to_the_internet() {
    for allowed in ["connect inside", "send a datagram"] {
        assert_eq!(comes_to("on", "io", allowed), Ok(0), "{allowed}");
        for thread in ["fs0", "blk0", "vcpu0"] {
            assert_eq!(
                comes_to("on", thread, allowed),
                Err("socket".into()),
                "{thread}"
            );
        }
    }
    for refused in ["connect to a socket", "bind a socket"] {
        assert_eq!(
            comes_to("on", "io", refused),
            Err("socket".into()),
            "{refused}"
        );
    }
}

/// What touches programs and other processes, and the call that is refused.
const PROCESSES: [(&str, &str); 8] = [
    ("exec", "execve"),
    ("execveat", "execveat"),
    ("fork", "fork"),
    ("clone a process", "clone"),
    ("ptrace", "ptrace"),
    ("write to a process", "process_vm_writev"),
    ("signal a process", "kill"),
    ("mount", "mount"),
];

#[test]
fn no_device_runs_a_program_or_touches_another_process() {
    let more = [
        ("open a process", "pidfd_open"),
        ("make code", "mmap"),
        ("become root", "setresuid"),
        ("open by handle", "open_by_handle_at"),
        ("load a program", "bpf"),
        ("set up io_uring", "io_uring_setup"),
        ("make a machine", "ioctl"),
    ];
    for (what, call) in PROCESSES.into_iter().chain(more) {
        for thread in ["fs0", "io"] {
            let refused = comes_to("on", thread, what);
            assert_eq!(refused, Err(call.into()), "{thread} {what}");
        }
    }
}

#[test]
fn no_role_at_all_runs_a_program_or_touches_another_process() {
    for thread in [
        "vcpu0", "9p0", "blk0", "net0", "peer0", "vsock", "balloon0", "control", "launch",
    ] {
        for (what, call) in PROCESSES {
            let refused = comes_to("on", thread, what);
            assert_eq!(refused, Err(call.into()), "{thread} {what}");
        }
        let signal = comes_to("on", thread, "signal a thread");
        assert_eq!(signal, Ok(libc::EPERM), "{thread}");
    }
}

#[test]
fn the_supervisor_signals_threads_of_its_own_process_alone() {
    assert_eq!(comes_to("on", "main", "signal an own thread"), Ok(0));
    for what in [
        "signal another's thread",
        "signal all threads",
        "signal a thread",
    ] {
        assert_eq!(comes_to("on", "main", what), Ok(libc::EPERM), "{what}");
    }
    assert_eq!(comes_to("off", "main", "signal another's thread"), Ok(0));
    assert_eq!(
        comes_to("on", "main", "signal a process"),
        Err("kill".into())
    );
    for thread in ["vcpu0", "io", "fs0", "control"] {
        let own = comes_to("on", thread, "signal an own thread");
        assert_eq!(own, Ok(libc::EPERM), "{thread}");
    }
}

#[test]
fn sockets_of_other_families_are_for_nobody() {
    for what in [
        "open a netlink socket",
        "open a packet socket",
        "open a vsock socket",
    ] {
        for thread in ["io", "net0", "peer0", "vcpu0", "control"] {
            let opened = comes_to("on", thread, what);
            assert_eq!(opened, Err("socket".into()), "{thread} {what}");
        }
    }
    // The family is the network's own; the privilege is gone.
    let raw = comes_to("on", "io", "open a raw socket");
    assert_eq!(raw, Ok(libc::EPERM));
}

#[test]
fn audit_and_off_let_everything_through() {
    for mode in ["audit", "off"] {
        for what in ["read a secret", "connect to a socket", "signal a process"] {
            assert_eq!(comes_to(mode, "blk0", what), Ok(0), "{mode} {what}");
        }
    }
}

#[test]
fn every_thread_of_a_machine_has_a_role_with_a_filter_that_the_kernel_takes() {
    let spec = spec(Path::new("/nonexistent"), SandboxMode::On);
    for role in Role::ALL {
        assert_eq!(Role::of(&format!("{}7", role.name())), Some(role));
        let program = bpf::compile(&role.calls(&spec), Otherwise::Trap);
        // BPF_MAXINSNS (Linux `include/uapi/linux/bpf_common.h`).
        assert!(program.len() <= 4096, "{role:?}: {}", program.len());
    }
    assert_eq!(Role::of("worker"), None);
}

#[test]
fn a_machine_without_a_network_has_no_sockets() {
    let mut spec = spec(Path::new("/nonexistent"), SandboxMode::On);
    let has_sockets = |spec: &VmSpec| {
        let calls = Role::Io.calls(spec);
        calls
            .iter()
            .any(|call| call.number == libc::SYS_socket as u32)
    };
    assert!(has_sockets(&spec));
    for device in &mut spec.devices {
        if let DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(user),
            ..
        }) = device
        {
            user.restrict = true;
        }
    }
    assert!(!has_sockets(&spec));
    spec.devices
        .retain(|device| !matches!(device, DeviceSpec::Net(_)));
    assert!(!has_sockets(&spec));
}

#[test]
fn only_shares_keep_capabilities() {
    let mut spec = spec(Path::new("/nonexistent"), SandboxMode::On);
    let kept = capabilities::needed(&spec);
    assert!(kept.contains(CapabilitySet::CHOWN | CapabilitySet::MKNOD));
    assert!(!kept.intersects(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN));
    spec.devices
        .retain(|device| !matches!(device, DeviceSpec::Fs(_)));
    assert!(capabilities::needed(&spec).is_empty());
}
