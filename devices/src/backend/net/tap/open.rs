//! Opening a TAP: one that exists, one that is made and goes with us, or one that was inherited.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use super::link::question_socket;
use super::{MTU_MIN, TapError, TapSource, TapSpec};
use crate::backend::net::{
    F_CSUM, F_CTRL_GUEST_OFFLOADS, F_GUEST_CSUM, F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6,
    F_GUEST_USO4, F_GUEST_USO6, F_HOST_ECN, F_HOST_TSO4, F_HOST_TSO6, F_HOST_USO, F_MTU,
    HEADER_LEN,
};
use crate::sys::net::{self as sys, InterfaceName};

/// Where TAPs come from.
const DEVICE: &str = "/dev/net/tun";
/// Every TAP of ours: Ethernet frames, a virtio header before each and nothing else.
const FLAGS: i32 = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
/// The MTU of an interface that does not tell.
const MTU_ETHERNET: u16 = 1500;

/// An open TAP.
#[derive(Debug)]
pub(super) struct Opened {
    /// A descriptor for each queue.
    pub(super) queues: Vec<OwnedFd>,
    pub(super) name: InterfaceName,
    pub(super) mtu: u16,
    /// What it can do.
    pub(super) features: u64,
}

/// Opens what `spec` names; `mtu` is what the user wants.
pub(super) fn open(spec: &TapSpec, mtu: Option<u16>) -> Result<Opened, TapError> {
    let socket = question_socket().map_err(TapError::Socket)?;
    let (queues, name, made) = match &spec.source {
        TapSource::Name(name) => by_name(spec, name, socket.as_fd())?,
        TapSource::Fds(fds) => {
            let (queues, name) = inherited(fds)?;
            (queues, name, false)
        }
    };
    let setting = |what| {
        move |source| TapError::Setting {
            name: name.to_string(),
            what,
            source,
        }
    };
    for queue in &queues {
        sys::set_tap_header_len(queue.as_fd(), HEADER_LEN as i32).map_err(setting("header"))?;
        let flags = rustix::fs::fcntl_getfl(queue).map_err(io::Error::from);
        flags
            .and_then(|flags| {
                let flags = flags | rustix::fs::OFlags::NONBLOCK;
                rustix::fs::fcntl_setfl(queue, flags).map_err(io::Error::from)
            })
            .map_err(setting("mode"))?;
    }
    // Only the first queue is used until the driver asks for more.
    for queue in queues.iter().skip(1) {
        match sys::set_tap_queue(queue.as_fd(), false) {
            // An inherited one may be off already.
            Err(source) if !is_invalid(&source) => return Err(setting("queues")(source)),
            _ => {}
        }
    }
    if made {
        if let Some(mtu) = mtu {
            sys::set_interface_mtu(socket.as_fd(), name, mtu).map_err(setting("MTU"))?;
        }
        join(spec, socket.as_fd(), name)?;
        sys::set_interface_up(socket.as_fd(), name).map_err(setting("state"))?;
    }
    let own = sys::interface_mtu(socket.as_fd(), name).ok();
    let own = own.and_then(|mtu| u16::try_from(mtu).ok());
    let first = queues.first().map(AsFd::as_fd);
    Ok(Opened {
        features: first.map_or(0, features),
        mtu: mtu.or(own).unwrap_or(MTU_ETHERNET).max(MTU_MIN),
        queues,
        name,
    })
}

type Queues = Vec<OwnedFd>;

/// The queues of the TAP called `name`, and whether we made it.
fn by_name(
    spec: &TapSpec,
    name: &str,
    socket: BorrowedFd<'_>,
) -> Result<(Queues, InterfaceName, bool), TapError> {
    let name = InterfaceName::new(name).ok_or_else(|| TapError::Name(name.to_owned()))?;
    let exists = sys::interface_index(socket, name).is_ok();
    let many = libc::IFF_MULTI_QUEUE;
    let wanted = spec.queues.unwrap_or(spec.most_queues).max(1);
    if !exists {
        // With one queue asked for, others may still make more of it their own.
        let flags = if wanted > 1 { many } else { 0 };
        let make = |source| TapError::Make {
            name: name.to_string(),
            source,
        };
        let queues = attach(name, flags, wanted, &make)?;
        return Ok((queues, name, true));
    }
    let used = |source| TapError::Attach {
        name: name.to_string(),
        source,
    };
    // The kernel wants the flag as the TAP was made; what fits is found by trying.
    match attach(name, many, wanted, &used) {
        Err(TapError::Attach { source, .. }) if is_invalid(&source) => {}
        done => return done.map(|queues| (queues, name, false)),
    }
    match attach(name, 0, 1, &used) {
        Ok(queues) if spec.queues.is_none_or(|queues| queues <= 1) => Ok((queues, name, false)),
        Ok(_) => Err(TapError::SingleQueue {
            name: name.to_string(),
            queues: wanted,
        }),
        Err(TapError::Attach { source, .. }) if is_invalid(&source) => {
            Err(TapError::NotTap(name.to_string()))
        }
        Err(error) => Err(error),
    }
}

fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

fn attach(
    name: InterfaceName,
    flags: i32,
    count: u16,
    error: &dyn Fn(io::Error) -> TapError,
) -> Result<Queues, TapError> {
    let mut queues = Vec::with_capacity(count.into());
    for _ in 0..count {
        let file = File::options().read(true).write(true).open(DEVICE);
        let file = file.map_err(TapError::Device)?;
        sys::attach_tap(file.as_fd(), name, FLAGS | flags).map_err(error)?;
        queues.push(file.into());
    }
    Ok(queues)
}

/// Queues that whoever started us opened.
fn inherited(fds: &[RawFd]) -> Result<(Queues, InterfaceName), TapError> {
    let mut queues = Vec::with_capacity(fds.len());
    let mut found = None;
    for &fd in fds {
        let error = |source| TapError::Descriptor { fd, source };
        let queue = sys::inherited(fd).map_err(error)?;
        let (name, flags) = sys::tap_interface(queue.as_fd()).map_err(error)?;
        if flags & libc::IFF_TAP == 0 || flags & libc::IFF_NO_PI == 0 {
            return Err(TapError::NotTap(name.to_string()));
        }
        if flags & libc::IFF_VNET_HDR == 0 {
            // A macvtap lets itself be told now; a TAP had to be opened so.
            let set = sys::set_tap_flags(queue.as_fd(), FLAGS);
            set.map_err(|source| TapError::Setting {
                name: name.to_string(),
                what: "packet header",
                source,
            })?;
        }
        if *found.get_or_insert(name) != name {
            return Err(error(io::ErrorKind::InvalidInput.into()));
        }
        queues.push(queue);
    }
    let name = found.ok_or_else(|| TapError::Name(String::new()))?;
    Ok((queues, name))
}

/// Puts a TAP of ours into the bridge that the user named.
fn join(spec: &TapSpec, socket: BorrowedFd<'_>, name: InterfaceName) -> Result<(), TapError> {
    let Some(bridge) = &spec.bridge else {
        return Ok(());
    };
    let to = InterfaceName::new(bridge).ok_or_else(|| TapError::Name(bridge.clone()))?;
    let index = sys::interface_index(socket, name);
    let joined = index.and_then(|index| sys::add_to_bridge(socket, to, index));
    joined.map_err(|source| TapError::Bridge {
        name: name.to_string(),
        bridge: bridge.clone(),
        source,
    })
}

/// The features that the TAP can honour, found by trying.
fn features(queue: BorrowedFd<'_>) -> u64 {
    let always = F_MTU | F_CSUM | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN;
    let tcp = F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN;
    let udp = F_GUEST_USO4 | F_GUEST_USO6;
    let can = |features| sys::set_tap_offload(queue, offload(features)).is_ok();
    let features = if can(tcp | udp) {
        always | tcp | udp | F_HOST_USO | F_CTRL_GUEST_OFFLOADS
    } else if can(tcp) {
        always | tcp | F_CTRL_GUEST_OFFLOADS
    } else {
        always
    };
    // Until a driver says what it takes.
    let _ = sys::set_tap_offload(queue, 0);
    features
}

/// What the kernel is told when the driver takes `features` (Linux uapi/linux/if_tun.h).
pub(super) fn offload(features: u64) -> u32 {
    let udp = F_GUEST_USO4 | F_GUEST_USO6;
    [
        (F_GUEST_CSUM, libc::TUN_F_CSUM),
        (F_GUEST_TSO4, libc::TUN_F_TSO4),
        (F_GUEST_TSO6, libc::TUN_F_TSO6),
        (F_GUEST_ECN, libc::TUN_F_TSO_ECN),
        // The kernel takes both or none.
        (udp, libc::TUN_F_USO4 | libc::TUN_F_USO6),
    ]
    .into_iter()
    .filter(|(feature, _)| features & feature == *feature)
    .fold(0, |all, (_, offload)| all | offload)
}
