//! System calls on network interfaces and TAPs that no safe crate offers (Linux
//! Documentation/networking/tuntap.rst).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use vhost::vhost_kern::vhost_binding::{
    VHOST_NET_SET_BACKEND, VHOST_VSOCK_SET_GUEST_CID, VHOST_VSOCK_SET_RUNNING, vhost_vring_file,
};
use vmm_sys_util::ioctl::ioctl_with_ref;

use super::check;

/// The name of a network interface: 1 to 15 bytes without a space, a slash or a colon.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceName([u8; libc::IFNAMSIZ]);

impl InterfaceName {
    /// The name, if the kernel would take it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        let fits = !text.is_empty() && text.len() < name.len() && text != "." && text != "..";
        let valid = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%');
        if !fits || !text.bytes().all(valid) {
            return None;
        }
        name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(name))
    }
}

impl std::fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.split(|&b| b == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl std::fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InterfaceName({self})")
    }
}

/// `struct ifreq` (Linux uapi/linux/if.h).
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    data: [u8; 24],
}

const _: () = assert!(size_of::<IfReq>() == size_of::<libc::ifreq>());

impl IfReq {
    fn new(name: InterfaceName) -> Self {
        Self {
            name: name.0,
            data: [0; 24],
        }
    }

    fn with_int(mut self, value: i32) -> Self {
        let [a, b, c, d] = value.to_ne_bytes();
        let [to_a, to_b, to_c, to_d, ..] = &mut self.data;
        (*to_a, *to_b, *to_c, *to_d) = (a, b, c, d);
        self
    }

    fn int(&self) -> i32 {
        let [a, b, c, d, ..] = self.data;
        i32::from_ne_bytes([a, b, c, d])
    }

    /// The flags, which are a short.
    fn flags(&self) -> i32 {
        self.int() & 0xffff
    }

    fn call(&mut self, fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<()> {
        // SAFETY: every request used here reads and writes one `ifreq`, which this is.
        let done = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(self)) };
        check(done as isize).map(|_| ())
    }
}

/// A request whose argument is an integer by value.
fn by_value(fd: BorrowedFd<'_>, request: libc::Ioctl, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the requests used here take the value as it is; no memory is involved.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request, value) };
    check(done as isize).map(|_| ())
}

/// A request that reads or writes one integer.
fn by_int(fd: BorrowedFd<'_>, request: libc::Ioctl, value: &mut libc::c_int) -> io::Result<()> {
    // SAFETY: the requests used here read or write one `int`, which this is.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(value)) };
    check(done as isize).map(|_| ())
}

/// Attaches a descriptor of `/dev/net/tun` to a TAP, which is made if there is none (`TUNSETIFF`).
///
/// # Errors
/// What the system call says.
pub fn attach_tap(fd: BorrowedFd<'_>, name: InterfaceName, flags: i32) -> io::Result<()> {
    let mut request = IfReq::new(name).with_int(flags);
    request.call(fd, libc::TUNSETIFF)
}

/// The interface that a descriptor is attached to, and its flags (`TUNGETIFF`).
///
/// # Errors
/// What the system call says: the descriptor is no TAP.
pub fn tap_interface(fd: BorrowedFd<'_>) -> io::Result<(InterfaceName, i32)> {
    let mut request = IfReq::new(InterfaceName([0; libc::IFNAMSIZ]));
    request.call(fd, libc::TUNGETIFF)?;
    Ok((InterfaceName(request.name), request.flags()))
}

/// Sets the flags of a queue that is attached already, as those of a macvtap (`TUNSETIFF`).
///
/// # Errors
/// What the system call says.
pub fn set_tap_flags(fd: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    let mut request = IfReq::new(InterfaceName([0; libc::IFNAMSIZ])).with_int(flags);
    request.call(fd, libc::TUNSETIFF)
}

/// Sets the length of the header before each frame (`TUNSETVNETHDRSZ`).
///
/// # Errors
/// What the system call says.
pub fn set_tap_header_len(fd: BorrowedFd<'_>, len: i32) -> io::Result<()> {
    let mut len = len;
    by_int(fd, libc::TUNSETVNETHDRSZ, &mut len)
}

/// Sets what may come out of a TAP unfinished (`TUNSETOFFLOAD`, `TUN_F_*`).
///
/// # Errors
/// What the system call says.
pub fn set_tap_offload(fd: BorrowedFd<'_>, offload: u32) -> io::Result<()> {
    by_value(fd, libc::TUNSETOFFLOAD, offload.into())
}

/// Lets a queue of a TAP take part, or not (`TUNSETQUEUE`).
///
/// # Errors
/// What the system call says.
pub fn set_tap_queue(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let flags = if on {
        libc::IFF_ATTACH_QUEUE
    } else {
        libc::IFF_DETACH_QUEUE
    };
    let mut request = IfReq::new(InterfaceName([0; libc::IFNAMSIZ])).with_int(flags);
    request.call(fd, libc::TUNSETQUEUE)
}

/// The number of an interface; an error of `ENODEV` says that there is none (`SIOCGIFINDEX`).
///
/// # Errors
/// What the system call says.
pub fn interface_index(socket: BorrowedFd<'_>, name: InterfaceName) -> io::Result<i32> {
    let mut request = IfReq::new(name);
    request.call(socket, libc::SIOCGIFINDEX as libc::Ioctl)?;
    Ok(request.int())
}

/// The largest packet of an interface (`SIOCGIFMTU`).
///
/// # Errors
/// What the system call says.
pub fn interface_mtu(socket: BorrowedFd<'_>, name: InterfaceName) -> io::Result<i32> {
    let mut request = IfReq::new(name);
    request.call(socket, libc::SIOCGIFMTU as libc::Ioctl)?;
    Ok(request.int())
}

/// Sets the largest packet of an interface (`SIOCSIFMTU`).
///
/// # Errors
/// What the system call says.
pub fn set_interface_mtu(socket: BorrowedFd<'_>, name: InterfaceName, mtu: u16) -> io::Result<()> {
    let mut request = IfReq::new(name).with_int(mtu.into());
    request.call(socket, libc::SIOCSIFMTU as libc::Ioctl)
}

/// Whether an interface is up (`SIOCGIFFLAGS`).
///
/// # Errors
/// What the system call says.
pub fn interface_is_up(socket: BorrowedFd<'_>, name: InterfaceName) -> io::Result<bool> {
    let mut request = IfReq::new(name);
    request.call(socket, libc::SIOCGIFFLAGS as libc::Ioctl)?;
    Ok(request.flags() & libc::IFF_UP != 0)
}

/// Brings an interface up (`SIOCSIFFLAGS`).
///
/// # Errors
/// What the system call says.
pub fn set_interface_up(socket: BorrowedFd<'_>, name: InterfaceName) -> io::Result<()> {
    let mut request = IfReq::new(name);
    request.call(socket, libc::SIOCGIFFLAGS as libc::Ioctl)?;
    let flags = request.flags() | libc::IFF_UP;
    let mut request = IfReq::new(name).with_int(flags);
    request.call(socket, libc::SIOCSIFFLAGS as libc::Ioctl)
}

/// Adds the interface of number `index` to a bridge (`SIOCBRADDIF`, Linux uapi/linux/sockios.h).
///
/// # Errors
/// What the system call says.
pub fn add_to_bridge(socket: BorrowedFd<'_>, bridge: InterfaceName, index: i32) -> io::Result<()> {
    const SIOCBRADDIF: libc::Ioctl = 0x89a2;
    let mut request = IfReq::new(bridge).with_int(index);
    request.call(socket, SIOCBRADDIF)
}

/// A descriptor of our own for one that this process inherited.
///
/// # Errors
/// There is no such descriptor, or no room for another.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes any number and involves no memory.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    check(copy as isize)?;
    // SAFETY: the call has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Plugs ring `ring` of a vhost-net into a TAP, or out (`VHOST_NET_SET_BACKEND`, Linux
/// uapi/linux/vhost.h).
///
/// # Errors
/// What the system call says.
pub fn set_vhost_backend(
    vhost: BorrowedFd<'_>,
    ring: u32,
    tap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let file = vhost_vring_file {
        index: ring,
        fd: tap.map_or(-1, |tap| tap.as_raw_fd()),
    };
    // SAFETY: the request reads one `vhost_vring_file`, which this is.
    let done = unsafe { ioctl_with_ref(&vhost, VHOST_NET_SET_BACKEND(), &file) };
    check(done as isize).map(|_| ())
}

/// Gives the guest of a vhost-vsock its context identifier (`VHOST_VSOCK_SET_GUEST_CID`, Linux
/// uapi/linux/vhost.h).
///
/// # Errors
/// What the system call says: another guest has it.
pub fn set_vsock_cid(vhost: BorrowedFd<'_>, cid: u64) -> io::Result<()> {
    // SAFETY: the request reads one `u64`, which this is.
    let done = unsafe { ioctl_with_ref(&vhost, VHOST_VSOCK_SET_GUEST_CID(), &cid) };
    check(done as isize).map(|_| ())
}

/// Lets a vhost-vsock work on its rings, or not (`VHOST_VSOCK_SET_RUNNING`, Linux uapi/linux/vhost.h).
///
/// # Errors
/// What the system call says.
pub fn set_vsock_running(vhost: BorrowedFd<'_>, runs: bool) -> io::Result<()> {
    let runs = libc::c_int::from(runs);
    // SAFETY: the request reads one `int`, which this is.
    let done = unsafe { ioctl_with_ref(&vhost, VHOST_VSOCK_SET_RUNNING(), &runs) };
    check(done as isize).map(|_| ())
}
