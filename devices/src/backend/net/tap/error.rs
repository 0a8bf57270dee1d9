//! Why a TAP cannot be used, and what helps.

use std::io;

/// Why a TAP cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// No interface can have this name.
    #[error("`{0}` is no name of a network interface")]
    Name(String),
    /// The device from which TAPs come cannot be opened.
    #[error("cannot open /dev/net/tun")]
    Device(#[source] io::Error),
    /// A descriptor for questions about interfaces cannot be made.
    #[error("cannot open a socket for network interfaces")]
    Socket(#[source] io::Error),
    /// The kernel does not let us use the TAP.
    #[error("cannot use TAP `{name}`")]
    Attach {
        /// The interface.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such interface and it cannot be made.
    #[error("cannot make TAP `{name}`")]
    Make {
        /// The interface.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The interface is something else.
    #[error("network interface `{0}` is no TAP")]
    NotTap(String),
    /// The TAP has one queue, and several were asked for.
    #[error("TAP `{name}` has one queue and not {queues}")]
    SingleQueue {
        /// The interface.
        name: String,
        /// What was asked for.
        queues: u16,
    },
    /// The descriptor is not a TAP's.
    #[error("descriptor {fd} is no TAP")]
    Descriptor {
        /// Its number.
        fd: i32,
        /// What the system said.
        source: io::Error,
    },
    /// The TAP cannot do what is needed.
    #[error("cannot set the {what} of TAP `{name}`")]
    Setting {
        /// The interface.
        name: String,
        /// What was to be set.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel's vhost-net cannot be used.
    #[error("cannot use /dev/vhost-net")]
    Vhost(#[source] io::Error),
    /// The TAP cannot be put into the bridge.
    #[error("cannot put TAP `{name}` into bridge `{bridge}`")]
    Bridge {
        /// The interface.
        name: String,
        /// The bridge.
        bridge: String,
        /// What the system said.
        source: io::Error,
    },
}

impl TapError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Name(_) => "use 1 to 15 bytes without spaces, `/`, `:` and `%`".to_owned(),
            Self::Device(source) => match source.kind() {
                io::ErrorKind::NotFound => "load the kernel's TAPs: `sudo modprobe tun`".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "let this user open it: `sudo chmod 666 /dev/net/tun`".to_owned()
                }
                _ => "`pcp-vmm doctor` checks this machine".to_owned(),
            },
            Self::Socket(_) => "`pcp-vmm doctor` checks this machine's limits".to_owned(),
            Self::Attach { name, source } => match source.raw_os_error() {
                Some(libc::EBUSY) => format!(
                    "another program uses it; a TAP for several is made with `sudo ip tuntap add {name} \
                     mode tap multi_queue`"
                ),
                Some(libc::E2BIG) => "give fewer queues (`queues=N`)".to_owned(),
                _ => format!(
                    "it belongs to another user; make it for this one: `sudo ip tuntap del {name} mode \
                     tap multi_queue; sudo ip tuntap add {name} mode tap multi_queue user $USER`"
                ),
            },
            Self::Make { name, .. } => format!(
                "only root makes one on the fly; beforehand: `sudo ip tuntap add {name} mode tap \
                 multi_queue user $USER && sudo ip link set {name} up`"
            ),
            Self::NotTap(_) => {
                "`ip -d tuntap` lists the TAPs; name one, or a name that is free".to_owned()
            }
            Self::SingleQueue { name, .. } => format!(
                "leave `queues=` out, or make it again: `sudo ip tuntap add {name} mode tap multi_queue`"
            ),
            Self::Descriptor { fd, .. } => format!(
                "let the caller open a TAP as descriptor {fd}, as in `{fd}<>/dev/tap5` for a macvtap"
            ),
            Self::Setting { .. } => {
                "give descriptors that are opened for this, or use the TAP by its name".to_owned()
            }
            Self::Vhost(source) => match source.kind() {
                io::ErrorKind::NotFound => {
                    "load it with `sudo modprobe vhost_net`, or use `vhost=auto`"
                }
                io::ErrorKind::PermissionDenied => {
                    "let this user open it: `sudo setfacl -m u:$USER:rw /dev/vhost-net`"
                }
                _ => "use `vhost=off`",
            }
            .to_owned(),
            Self::Bridge { bridge, .. } => format!(
                "`ip link show type bridge` lists the bridges; make it with `sudo ip link add {bridge} \
                 type bridge`"
            ),
        }
    }
}
