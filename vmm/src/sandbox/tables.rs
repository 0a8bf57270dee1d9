//! The system calls of each kind of work. A device that needs one more gets its line here, in the list of its back
//! end; `run --sandbox audit` shows what is missing.
//!
//! The lists hold what the static binary was seen to call (`strace -f` under the end-to-end tests)
//! and what its code can call on paths that no test takes.

use libc::{
    AF_INET, AF_INET6, AF_UNIX, CLONE_THREAD, CLONE_VM, F_DUPFD_CLOEXEC, F_GETFL, F_OFD_GETLK,
    F_OFD_SETLK, F_SETFL, O_ACCMODE, O_CREAT, O_TRUNC, PROT_EXEC,
};

use super::call::{Call, Test, any, ioctl, refuse, when};
use super::request;

const NOT_EXECUTABLE: &[Test] = &[Test::Bits(2, PROT_EXEC as u32, 0)];
const READ_ONLY: u32 = (O_ACCMODE | O_CREAT | O_TRUNC) as u32;
const WAIT_AND_WAKE: Call = any(libc::SYS_futex);

/// Memory, waiting, the C library's housekeeping, and output to what is open.
pub(super) const EVERY_THREAD: &[Call] = &[
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
pub(super) const SUPERVISOR: &[Call] = &[
    any(libc::SYS_ppoll),
    any(libc::SYS_poll),
    // The vCPUs are kicked out of the guest by a signal.
    when(libc::SYS_tgkill, &[Test::OwnProcess(0)]),
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
    any(libc::SYS_rmdir),
    any(libc::SYS_getpid),
    when(libc::SYS_fcntl, &[Test::Is(1, F_GETFL as u32)]),
];

/// Starts threads, which inherit the filter.
pub(super) const START_THREADS: &[Call] = &[
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
pub(super) const LAUNCH: &[Call] = &[
    when(
        libc::SYS_seccomp,
        &[Test::Is(0, libc::SECCOMP_SET_MODE_FILTER)],
    ),
    any(libc::SYS_capget),
    any(libc::SYS_capset),
];

/// Runs the guest, makes loops for devices that start, and takes them apart again.
pub(super) const VCPU: &[Call] = &[
    ioctl!(request::KVM_RUN),
    ioctl!(request::KVM_GET_REGS),
    ioctl!(request::KVM_IOEVENTFD),
    ioctl!(request::KVM_IRQFD),
    ioctl!(request::KVM_KVMCLOCK_CTRL),
    ioctl!(request::KVM_SET_GSI_ROUTING),
    ioctl!(request::KVM_REGISTER_COALESCED_MMIO),
    any(libc::SYS_epoll_create1),
    any(libc::SYS_epoll_ctl),
    any(libc::SYS_eventfd2),
    any(libc::SYS_timerfd_settime),
];

pub(super) const INTERRUPTS: &[Call] = &[ioctl!(request::KVM_SIGNAL_MSI)];

pub(super) const EVENT_LOOP: &[Call] = &[
    any(libc::SYS_epoll_wait),
    any(libc::SYS_epoll_pwait),
    any(libc::SYS_epoll_ctl),
];

/// Clients of consoles; at the end the socket's name goes.
pub(super) const CONSOLE: &[Call] = &[
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

/// The next file of a console's log, in the place of the one before.
pub(super) const LOG: &[Call] = &[any(libc::SYS_openat), any(libc::SYS_renameat)];

/// Frames to and from guest memory, connections that exist, and the list of name servers.
pub(super) const USER_NETWORK: &[Call] = &[
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
pub(super) const OUTSIDE: &[Call] = &[
    when(libc::SYS_socket, &[Test::Is(0, AF_INET as u32)]),
    when(libc::SYS_socket, &[Test::Is(0, AF_INET6 as u32)]),
    any(libc::SYS_connect),
    any(libc::SYS_bind),
    any(libc::SYS_listen),
];

/// Clients of the guest's ports, and services of the host that the guest connects to.
pub(super) const VSOCK: &[Call] = &[
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
pub(super) const CONNECTIONS_END: &[Call] = &[
    any(libc::SYS_setsockopt),
    any(libc::SYS_shutdown),
    when(libc::SYS_sendto, &[Test::Null(4)]),
];

/// Frames, offloads, and changes of the link.
pub(super) const TAP: &[Call] = &[
    any(libc::SYS_readv),
    any(libc::SYS_writev),
    any(libc::SYS_recvfrom),
    any(libc::SYS_ppoll),
    any(libc::SYS_poll),
    ioctl!(request::TUNSETOFFLOAD),
    ioctl!(request::TUNSETQUEUE),
    ioctl!(libc::SIOCGIFFLAGS),
];

/// Hands queues to the kernel, and takes them back.
pub(super) const VHOST: &[Call] = &[
    any(libc::SYS_eventfd2),
    ioctl!(request::KVM_IRQFD),
    ioctl!(request::KVM_SET_GSI_ROUTING),
    ioctl!(request::VHOST_SET_FEATURES),
    ioctl!(request::VHOST_SET_MEM_TABLE),
    ioctl!(request::VHOST_SET_VRING_NUM),
    ioctl!(request::VHOST_SET_VRING_ADDR),
    ioctl!(request::VHOST_SET_VRING_BASE),
    ioctl!(request::VHOST_GET_VRING_BASE),
    ioctl!(request::VHOST_SET_VRING_KICK),
    ioctl!(request::VHOST_SET_VRING_CALL),
];

/// Lets vhost-net begin and end.
pub(super) const VHOST_NET: &[Call] = &[ioctl!(request::VHOST_NET_SET_BACKEND)];

/// Lets vhost-vsock begin and end.
pub(super) const VHOST_VSOCK: &[Call] = &[ioctl!(request::VHOST_VSOCK_SET_RUNNING)];

/// Hands queues to another process over the connection to it, and takes them back.
pub(super) const PEER: &[Call] = &[
    any(libc::SYS_eventfd2),
    ioctl!(request::KVM_IRQFD),
    ioctl!(request::KVM_SET_GSI_ROUTING),
    any(libc::SYS_sendmsg),
    any(libc::SYS_recvmsg),
    any(libc::SYS_recvfrom),
];

/// Clients of the control socket, whom events wake it for.
pub(super) const CONTROL: &[Call] = &[
    any(libc::SYS_eventfd2),
    any(libc::SYS_accept4),
    any(libc::SYS_ppoll),
    any(libc::SYS_poll),
    any(libc::SYS_recvfrom),
    when(libc::SYS_sendto, &[Test::Null(4)]),
];

/// Opens host ports, and looks for who has one already, as far as Landlock lets it.
pub(super) const FORWARDS: &[Call] = &[
    when(libc::SYS_socket, &[Test::Is(0, AF_INET as u32)]),
    when(libc::SYS_socket, &[Test::Is(0, AF_INET6 as u32)]),
    any(libc::SYS_bind),
    any(libc::SYS_listen),
    any(libc::SYS_setsockopt),
    any(libc::SYS_getsockname),
    when(libc::SYS_open, &[Test::Bits(1, READ_ONLY, 0)]),
    when(libc::SYS_openat, &[Test::Bits(2, READ_ONLY, 0)]),
    any(libc::SYS_fstat),
    any(libc::SYS_statx),
    any(libc::SYS_newfstatat),
    any(libc::SYS_lseek),
    any(libc::SYS_getdents64),
    any(libc::SYS_readlink),
    any(libc::SYS_readlinkat),
];

/// Looks up and reads files in the share.
pub(super) const SHARE: &[Call] = &[
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
pub(super) const WRITABLE_SHARE: &[Call] = &[
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
pub(super) const DISK: &[Call] = &[
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
