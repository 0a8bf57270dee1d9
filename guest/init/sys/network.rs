//! Network devices and the way out (netdevice(7), rtnetlink's older form in route(7)).

use std::ffi::{c_int, c_short, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use super::{check, open_socket};

/// Linux's requests (include/uapi/linux/sockios.h).
const SIOCADDRT: c_ulong = 0x890b;
const SIOCSIFFLAGS: c_ulong = 0x8914;
const SIOCSIFADDR: c_ulong = 0x8916;
const SIOCSIFNETMASK: c_ulong = 0x891c;
const AF_INET: u16 = 2;
const SOCK_DGRAM: c_int = 2;
/// `IFF_UP` and `IFF_RUNNING`.
const UP_AND_RUNNING: c_short = 0x41;
/// `RTF_UP` and `RTF_GATEWAY`.
const BY_GATEWAY: u16 = 3;

/// `struct sockaddr_in`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Address {
    family: u16,
    port: u16,
    address: [u8; 4],
    zero: [u8; 8],
}

impl Address {
    fn of(address: Ipv4Addr) -> Self {
        Self {
            family: AF_INET,
            address: address.octets(),
            ..Self::default()
        }
    }
}

/// `struct ifreq` with flags.
#[repr(C)]
struct Flags {
    name: [u8; 16],
    flags: c_short,
    rest: [u8; 22],
}

/// `struct ifreq` with an address.
#[repr(C)]
struct Addressed {
    name: [u8; 16],
    address: Address,
    rest: [u8; 8],
}

/// `struct rtentry`.
#[repr(C)]
#[derive(Default)]
struct Route {
    pad: c_ulong,
    target: Address,
    gateway: Address,
    netmask: Address,
    flags: u16,
    rest: [u16; 3],
    more: [c_ulong; 3],
    device: usize,
    window: [c_ulong; 3],
}

unsafe extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
}

/// What requests go by.
fn door() -> io::Result<File> {
    open_socket(c_int::from(AF_INET), SOCK_DGRAM).map(File::from)
}

fn request<T>(door: &File, request: c_ulong, mut argument: T) -> io::Result<()> {
    // SAFETY: each caller hands over the structure that its request is about, which outlives the call.
    check(unsafe { ioctl(door.as_raw_fd(), request, (&raw mut argument).cast()) })
}

fn name_of(device: &str) -> [u8; 16] {
    let mut name = [0; 16];
    // The last byte stays 0.
    for (to, from) in name.iter_mut().take(15).zip(device.bytes()) {
        *to = from;
    }
    name
}

/// Switches a device on.
pub(crate) fn up(device: &str) -> io::Result<()> {
    let flags = Flags {
        name: name_of(device),
        flags: UP_AND_RUNNING,
        rest: [0; 22],
    };
    request(&door()?, SIOCSIFFLAGS, flags)
}

/// Gives a device an address, and everything else a way out by `gateway`.
pub(crate) fn configure(
    device: &str,
    address: Ipv4Addr,
    netmask: Ipv4Addr,
    gateway: Ipv4Addr,
) -> io::Result<()> {
    let door = door()?;
    for (number, value) in [(SIOCSIFADDR, address), (SIOCSIFNETMASK, netmask)] {
        let addressed = Addressed {
            name: name_of(device),
            address: Address::of(value),
            rest: [0; 8],
        };
        request(&door, number, addressed)?;
    }
    up(device)?;
    let any = Address::of(Ipv4Addr::UNSPECIFIED);
    let route = Route {
        target: any,
        gateway: Address::of(gateway),
        netmask: any,
        flags: BY_GATEWAY,
        ..Route::default()
    };
    request(&door, SIOCADDRT, route)
}

/// Gives the machine a name.
pub(crate) fn set_hostname(name: &[u8]) -> io::Result<()> {
    std::fs::write("/proc/sys/kernel/hostname", name)
}
