//! What each kind of thread may ask of the kernel. A device that needs one more system call gets
//! its line here, in the list of its back end; `run --sandbox audit` shows what is missing.
//!
//! The lists hold what the static binary was seen to call (`strace -f` under the end-to-end tests)
//! and what its code can call on paths that no test takes.

use libc::{
    AF_INET, AF_INET6, AF_UNIX, CLONE_THREAD, CLONE_VM, F_DUPFD_CLOEXEC, F_GETFL, F_OFD_GETLK,
    F_OFD_SETLK, F_SETFL, O_ACCMODE, O_CREAT, O_TRUNC, PROT_EXEC,
};

use super::call::{Call, Test, any, ioctl, refuse, when};
use super::request;
use crate::config::{DeviceSpec, NetBackendSpec, NetSpec, VhostChoice, VmSpec};

/// What a thread is for; its name without the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The supervisor.
    Main,
    /// Starts threads for others.
    Launch,
    /// Runs the guest.
    Vcpu,
    /// Consoles, the user network and devices that never block.
    Io,
    /// A shared folder.
    Share,
    /// A disk.
    Disk,
    /// A network card on a TAP.
    Tap,
    /// A memory balloon.
    Balloon,
    /// A device whose queues another process works on.
    Peer,
}

impl Role {
    /// Every role.
    pub(super) const ALL: [Self; 9] = [
        Self::Main,
        Self::Launch,
        Self::Vcpu,
        Self::Io,
        Self::Share,
        Self::Disk,
        Self::Tap,
        Self::Balloon,
        Self::Peer,
    ];

    /// The name of threads with this role; a number follows where there are several.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Launch => "launch",
            Self::Vcpu => "vcpu",
            Self::Io => "io",
            Self::Share => "fs",
            Self::Disk => "blk",
            Self::Tap => "net",
            Self::Balloon => "balloon",
            Self::Peer => "peer",
        }
    }

    /// The role of the thread called `name`.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "9p" => Some(Self::Share),
            kind => Self::ALL.into_iter().find(|role| role.name() == kind),
        }
    }

    /// Whether its threads keep the capabilities that the process keeps.
    pub(super) fn is_privileged(self) -> bool {
        matches!(self, Self::Main | Self::Launch | Self::Share)
    }

    /// The calls that its threads may make in a machine like `spec`.
    pub(super) fn calls(self, spec: &VmSpec) -> Vec<Call> {
        let mut lists = vec![EVERY_THREAD];
        match self {
            Self::Main => {
                lists.push(SUPERVISOR);
                // It completes the images at the end.
                if spec.devices.iter().any(is_disk) {
                    lists.push(DISK);
                }
            }
            Self::Launch => {
                let all = Self::ALL
                    .into_iter()
                    .filter(|role| !matches!(role, Self::Main | Self::Launch));
                let calls = all.flat_map(|role| role.calls(spec));
                let own = LAUNCH.iter().chain(START_THREADS).copied();
                return calls.chain(own).collect();
            }
            Self::Vcpu => {
                lists.extend([VCPU, INTERRUPTS]);
                lists.extend(spec.devices.iter().flat_map(at_reset));
            }
            Self::Io => {
                lists.extend([EVENT_LOOP, INTERRUPTS, CONSOLE]);
                lists.extend(spec.devices.iter().flat_map(on_shared_loop));
            }
            Self::Share => {
                lists.extend([EVENT_LOOP, INTERRUPTS, SHARE]);
                if spec.devices.iter().any(is_writable_share) {
                    lists.push(WRITABLE_SHARE);
                }
            }
            Self::Disk => lists.extend([EVENT_LOOP, INTERRUPTS, DISK, START_THREADS]),
            Self::Tap => {
                lists.extend([EVENT_LOOP, INTERRUPTS, TAP]);
                if spec.devices.iter().any(may_have_vhost) {
                    lists.push(VHOST);
                }
            }
            Self::Peer => lists.extend([EVENT_LOOP, INTERRUPTS, PEER]),
            Self::Balloon => lists.extend([EVENT_LOOP, INTERRUPTS]),
        }
        lists.concat()
    }
}

/// What a device adds to the calls of the loop that it shares with others.
fn on_shared_loop(device: &DeviceSpec) -> &'static [&'static [Call]] {
    match device {
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(user),
            ..
        }) if user.restrict => &[USER_NETWORK],
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(_),
            ..
        }) => &[USER_NETWORK, OUTSIDE],
        DeviceSpec::Vsock(_) => &[VSOCK],
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. },
            ..
        })
        | DeviceSpec::Console(_)
        | DeviceSpec::Rng
        | DeviceSpec::Balloon(_)
        | DeviceSpec::Fs(_)
        | DeviceSpec::Blk(_) => &[],
    }
}

/// What the vCPU that resets a device has to do for it.
fn at_reset(device: &DeviceSpec) -> &'static [&'static [Call]] {
    match device {
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::User(_),
            ..
        })
        | DeviceSpec::Vsock(_) => &[CONNECTIONS_END],
        DeviceSpec::Net(NetSpec {
            backend: NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. },
            ..
        })
        | DeviceSpec::Console(_)
        | DeviceSpec::Rng
        | DeviceSpec::Balloon(_)
        | DeviceSpec::Fs(_)
        | DeviceSpec::Blk(_) => &[],
    }
}

fn may_have_vhost(device: &DeviceSpec) -> bool {
    matches!(device, DeviceSpec::Net(NetSpec { backend: NetBackendSpec::Tap(tap), .. })
        if tap.vhost != VhostChoice::Off)
}

fn is_disk(device: &DeviceSpec) -> bool {
    matches!(device, DeviceSpec::Blk(_))
}

fn is_writable_share(device: &DeviceSpec) -> bool {
    matches!(device, DeviceSpec::Fs(share) if !share.read_only)
}

const NOT_EXECUTABLE: &[Test] = &[Test::Bits(2, PROT_EXEC as u32, 0)];
const READ_ONLY: u32 = (O_ACCMODE | O_CREAT | O_TRUNC) as u32;
const WAIT_AND_WAKE: Call = any(libc::SYS_futex);

/// Memory, waiting, the C library's housekeeping, and output to what is open.
const EVERY_THREAD: &[Call] = &[
    any(libc::SYS_read),
    any(libc::SYS_write),
    any(libc::SYS_close),
    WAIT_AND_WAKE,
    when(libc::SYS_mmap, NOT_EXECUTABLE),
    when(libc::SYS_mprotect, NOT_EXECUTABLE),
    any(libc::SYS_munmap),
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_brk),
    any(libc::SYS_getrandom),
    any(libc::SYS_clock_gettime),
    any(libc::SYS_clock_nanosleep),
    any(libc::SYS_nanosleep),
    any(libc::SYS_sched_yield),
    any(libc::SYS_gettid),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_sigaltstack),
    any(libc::SYS_restart_syscall),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
    // A panic ends in abort(3), which tries this first; signals are not for devices to send.
    refuse(libc::SYS_tkill, libc::EPERM),
    // A forbidden call is told with the thread's name.
    when(libc::SYS_prctl, &[Test::Is(0, libc::PR_GET_NAME as u32)]),
    // The terminal is given back as it was, whoever ends the process.
    ioctl!(libc::TCSETS),
    ioctl!(libc::TCSETSW),
    ioctl!(request::TCSETS2),
    // Builds for debugging check descriptors before they close them.
    #[cfg(debug_assertions)]
    when(libc::SYS_fcntl, &[Test::Is(1, libc::F_GETFD as u32)]),
    #[cfg(target_env = "gnu")]
    refuse(libc::SYS_tgkill, libc::EPERM),
    #[cfg(target_env = "gnu")]
    any(libc::SYS_getpid),
    #[cfg(target_env = "gnu")]
    any(libc::SYS_rseq),
];

/// Waits for events and signals, stops the vCPUs, tells how the run went, and why it failed
/// (`/proc/cpuinfo`).
const SUPERVISOR: &[Call] = &[
    any(libc::SYS_ppoll),
    any(libc::SYS_poll),
    // The vCPUs are kicked out of the guest by this signal.
    any(libc::SYS_tgkill),
    any(libc::SYS_tkill),
    any(libc::SYS_fstat),
    any(libc::SYS_lseek),
    any(libc::SYS_writev),
    any(libc::SYS_rt_sigaction),
    ioctl!(libc::TIOCGWINSZ),
    ioctl!(libc::TCGETS),
    ioctl!(request::KVM_SIGNAL_MSI),
    when(libc::SYS_open, &[Test::Bits(1, READ_ONLY, 0)]),
    when(libc::SYS_openat, &[Test::Bits(2, READ_ONLY, 0)]),
    any(libc::SYS_stat),
    any(libc::SYS_statx),
    any(libc::SYS_newfstatat),
    // The names of sockets go at the end.
    any(libc::SYS_lstat),
    any(libc::SYS_unlink),
    any(libc::SYS_getpid),
    when(libc::SYS_fcntl, &[Test::Is(1, F_GETFL as u32)]),
];

/// Starts threads, which inherit the filter.
const START_THREADS: &[Call] = &[
    when(
        libc::SYS_clone,
        &[Test::Bits(
            0,
            (CLONE_VM | CLONE_THREAD) as u32,
            (CLONE_VM | CLONE_THREAD) as u32,
        )],
    ),
    // Its flags are out of a filter's reach; C libraries fall back to `clone`.
    refuse(libc::SYS_clone3, libc::ENOSYS),
    when(libc::SYS_prctl, &[Test::Is(0, libc::PR_SET_NAME as u32)]),
    any(libc::SYS_set_robust_list),
    any(libc::SYS_sched_getaffinity),
];

/// Lets threads put themselves under their own filters.
const LAUNCH: &[Call] = &[
    when(
        libc::SYS_seccomp,
        &[Test::Is(0, libc::SECCOMP_SET_MODE_FILTER)],
    ),
    any(libc::SYS_capget),
    any(libc::SYS_capset),
];

/// Runs the guest, makes loops for devices that start, and takes them apart again.
const VCPU: &[Call] = &[
    ioctl!(request::KVM_RUN),
    ioctl!(request::KVM_GET_REGS),
    ioctl!(request::KVM_IOEVENTFD),
    ioctl!(request::KVM_SET_GSI_ROUTING),
    ioctl!(request::KVM_REGISTER_COALESCED_MMIO),
    any(libc::SYS_epoll_create1),
    any(libc::SYS_epoll_ctl),
    any(libc::SYS_eventfd2),
    any(libc::SYS_timerfd_settime),
];

const INTERRUPTS: &[Call] = &[ioctl!(request::KVM_SIGNAL_MSI)];

const EVENT_LOOP: &[Call] = &[
    any(libc::SYS_epoll_wait),
    any(libc::SYS_epoll_pwait),
    any(libc::SYS_epoll_ctl),
];

/// Clients of consoles; at the end the socket's name goes.
const CONSOLE: &[Call] = &[
    any(libc::SYS_accept4),
    any(libc::SYS_ppoll),
    any(libc::SYS_poll),
    any(libc::SYS_recvfrom),
    when(libc::SYS_sendto, &[Test::Null(4)]),
    any(libc::SYS_shutdown),
    any(libc::SYS_timerfd_settime),
    any(libc::SYS_lstat),
    any(libc::SYS_statx),
    any(libc::SYS_newfstatat),
    any(libc::SYS_unlink),
];

/// Frames to and from guest memory, connections that exist, and the list of name servers.
const USER_NETWORK: &[Call] = &[
    any(libc::SYS_readv),
    any(libc::SYS_writev),
    any(libc::SYS_recvfrom),
    any(libc::SYS_recvmsg),
    any(libc::SYS_sendto),
    any(libc::SYS_sendmsg),
    any(libc::SYS_accept4),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_getsockname),
    any(libc::SYS_getpeername),
    any(libc::SYS_timerfd_settime),
    any(libc::SYS_stat),
    any(libc::SYS_fstat),
    any(libc::SYS_statx),
    any(libc::SYS_newfstatat),
    any(libc::SYS_lseek),
    when(libc::SYS_open, &[Test::Bits(1, READ_ONLY, 0)]),
    when(libc::SYS_openat, &[Test::Bits(2, READ_ONLY, 0)]),
];

/// New connections of the guest to addresses outside: Internet sockets alone.
const OUTSIDE: &[Call] = &[
    when(libc::SYS_socket, &[Test::Is(0, AF_INET as u32)]),
    when(libc::SYS_socket, &[Test::Is(0, AF_INET6 as u32)]),
    any(libc::SYS_connect),
    any(libc::SYS_bind),
    any(libc::SYS_listen),
];

/// Clients of the guest's ports, and services of the host that the guest connects to.
const VSOCK: &[Call] = &[
    when(libc::SYS_socket, &[Test::Is(0, AF_UNIX as u32)]),
    any(libc::SYS_connect),
    any(libc::SYS_accept4),
    any(libc::SYS_readv),
    any(libc::SYS_writev),
    any(libc::SYS_recvfrom),
    any(libc::SYS_sendmsg),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockopt),
];

/// Connections of a device that is reset.
const CONNECTIONS_END: &[Call] = &[
    any(libc::SYS_setsockopt),
    any(libc::SYS_shutdown),
    when(libc::SYS_sendto, &[Test::Null(4)]),
];

/// Frames, offloads, and changes of the link.
const TAP: &[Call] = &[
    any(libc::SYS_readv),
    any(libc::SYS_writev),
    any(libc::SYS_recvfrom),
    any(libc::SYS_ppoll),
    any(libc::SYS_poll),
    ioctl!(request::TUNSETOFFLOAD),
    ioctl!(request::TUNSETQUEUE),
    ioctl!(libc::SIOCGIFFLAGS),
];

/// Hands queues to the kernel's vhost-net, and takes them back.
const VHOST: &[Call] = &[
    any(libc::SYS_eventfd2),
    ioctl!(request::VHOST_SET_FEATURES),
    ioctl!(request::VHOST_SET_MEM_TABLE),
    ioctl!(request::VHOST_SET_VRING_NUM),
    ioctl!(request::VHOST_SET_VRING_ADDR),
    ioctl!(request::VHOST_SET_VRING_BASE),
    ioctl!(request::VHOST_GET_VRING_BASE),
    ioctl!(request::VHOST_SET_VRING_KICK),
    ioctl!(request::VHOST_SET_VRING_CALL),
    ioctl!(request::VHOST_NET_SET_BACKEND),
];

/// Hands queues to another process over the connection to it, and takes them back.
const PEER: &[Call] = &[
    any(libc::SYS_eventfd2),
    any(libc::SYS_sendmsg),
    any(libc::SYS_recvmsg),
    any(libc::SYS_recvfrom),
];

/// Looks up and reads files in the share.
const SHARE: &[Call] = &[
    any(libc::SYS_openat),
    any(libc::SYS_openat2),
    any(libc::SYS_newfstatat),
    any(libc::SYS_fstat),
    any(libc::SYS_statx),
    any(libc::SYS_fstatfs),
    any(libc::SYS_statfs),
    any(libc::SYS_readlinkat),
    any(libc::SYS_getdents64),
    any(libc::SYS_lseek),
    any(libc::SYS_faccessat),
    any(libc::SYS_faccessat2),
    any(libc::SYS_getxattr),
    any(libc::SYS_lgetxattr),
    any(libc::SYS_fgetxattr),
    any(libc::SYS_listxattr),
    any(libc::SYS_flistxattr),
    any(libc::SYS_pread64),
    any(libc::SYS_preadv),
    any(libc::SYS_readv),
    any(libc::SYS_geteuid),
    any(libc::SYS_getegid),
    any(libc::SYS_dup),
    any(libc::SYS_flock),
    any(libc::SYS_timerfd_settime),
    when(libc::SYS_fcntl, &[Test::Is(1, F_OFD_SETLK as u32)]),
    when(libc::SYS_fcntl, &[Test::Is(1, F_OFD_GETLK as u32)]),
    when(libc::SYS_fcntl, &[Test::Is(1, F_GETFL as u32)]),
    when(libc::SYS_fcntl, &[Test::Is(1, F_SETFL as u32)]),
    when(libc::SYS_fcntl, &[Test::Is(1, F_DUPFD_CLOEXEC as u32)]),
];

/// Changes files in the share.
const WRITABLE_SHARE: &[Call] = &[
    any(libc::SYS_pwrite64),
    any(libc::SYS_writev),
    any(libc::SYS_pwritev),
    any(libc::SYS_pwritev2),
    any(libc::SYS_copy_file_range),
    any(libc::SYS_fallocate),
    any(libc::SYS_ftruncate),
    any(libc::SYS_truncate),
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_syncfs),
    any(libc::SYS_chmod),
    any(libc::SYS_fchmod),
    any(libc::SYS_fchmodat),
    any(libc::SYS_fchown),
    any(libc::SYS_fchownat),
    any(libc::SYS_utimensat),
    any(libc::SYS_mkdirat),
    any(libc::SYS_mknodat),
    any(libc::SYS_symlinkat),
    any(libc::SYS_linkat),
    any(libc::SYS_unlinkat),
    any(libc::SYS_renameat),
    any(libc::SYS_renameat2),
    any(libc::SYS_setxattr),
    any(libc::SYS_fsetxattr),
    any(libc::SYS_removexattr),
    any(libc::SYS_fremovexattr),
];

/// Reads and writes the image that is open, by a ring that can do nothing else.
const DISK: &[Call] = &[
    any(libc::SYS_io_uring_enter),
    any(libc::SYS_ppoll),
    any(libc::SYS_poll),
    any(libc::SYS_readv),
    any(libc::SYS_writev),
    any(libc::SYS_pwritev2),
    any(libc::SYS_ftruncate),
    any(libc::SYS_preadv),
    any(libc::SYS_pwritev),
    any(libc::SYS_pread64),
    any(libc::SYS_pwrite64),
    any(libc::SYS_fallocate),
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_fstat),
    any(libc::SYS_lseek),
];
