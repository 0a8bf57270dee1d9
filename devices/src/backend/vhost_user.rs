//! A process that works on a device's queues by itself: a vhost-user back end (QEMU's
//! docs/interop/vhost-user.rst), reached by a Unix socket.

#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use vhost::VhostBackend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};

use self::wire::Wire;
use crate::virtio::core::{F_VERSION_1, TRANSPORT_FEATURES};
use crate::virtio::device::{ActiveIo, Interest, Token};
use crate::virtio::vhost::{Addresses, Lent, error, regions};

/// The token of the connection; the rings' calls have those that follow.
const CONNECTION: Token = Token(0);

/// Why a vhost-user back end cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VhostUserError {
    /// Nobody is at the socket.
    #[error("cannot connect to `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Who is there does not speak as they should.
    #[error("`{}` does not answer as a vhost-user back end", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Who is there lacks what every device needs.
    #[error("the back end at `{}` lacks {what}", path.display())]
    Lacks {
        /// The socket.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
}

impl VhostUserError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect { .. } => {
                "start it first, as `passt --vhost-user -s SOCKET` or `virtiofsd --socket-path SOCKET \
                 --shared-dir DIR`; it serves one VM"
            }
            Self::Protocol { .. } => {
                "start a back end for this kind of device; passt needs `--vhost-user`"
            }
            Self::Lacks { .. } => "use a newer version of it",
        }
    }
}

/// A connected back end.
pub struct VhostUser {
    frontend: Wire,
    /// The connection once more, to hear of its end.
    connection: OwnedFd,
    features: u64,
    /// The rings that it has room for.
    rings: u16,
    lent: Vec<Lent>,
    gone: bool,
}

impl fmt::Debug for VhostUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VhostUser")
            .field("features", &self.features)
            .field("lent", &self.lent)
            .finish_non_exhaustive()
    }
}

impl VhostUser {
    /// Connects to the back end at `path`, for a device with `rings` queues.
    ///
    /// # Errors
    /// See [`VhostUserError`].
    pub fn connect(path: &Path, rings: u16) -> Result<Self, VhostUserError> {
        let stream = UnixStream::connect(path).and_then(|stream| {
            let again = OwnedFd::from(stream.try_clone()?);
            Ok((Wire::new(stream)?, again))
        });
        let (mut frontend, connection) = stream.map_err(|source| VhostUserError::Connect {
            path: path.to_owned(),
            source,
        })?;
        let features = negotiate(&mut frontend).map_err(|source| VhostUserError::Protocol {
            path: path.to_owned(),
            source,
        })?;
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        for (bit, what) in [(F_VERSION_1, "VIRTIO 1"), (protocol, "protocol features")] {
            if features & bit == 0 {
                let path = path.to_owned();
                return Err(VhostUserError::Lacks { path, what });
            }
        }
        Ok(Self {
            frontend,
            connection,
            features,
            rings,
            lent: Vec::new(),
            gone: false,
        })
    }

    /// The device's features that it honours.
    #[must_use]
    pub fn features(&self) -> u64 {
        self.features
    }

    /// The framework's features that it does not honour.
    #[must_use]
    pub fn withheld(&self) -> u64 {
        TRANSPORT_FEATURES & !self.features
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.gone
    }

    /// Hands over the queues that the driver enabled; `number` makes the loop's tokens of ours.
    ///
    /// # Errors
    /// The back end is gone, or refuses.
    pub(crate) fn start(
        &mut self,
        io: &mut ActiveIo<'_>,
        number: &dyn Fn(Token) -> Token,
    ) -> io::Result<()> {
        if self.gone {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let started = self.hand_over(io, number);
        // Nothing that it says from now on can be told from an answer that comes late.
        self.gone |= started.is_err();
        started
    }

    fn hand_over(
        &mut self,
        io: &mut ActiveIo<'_>,
        number: &dyn Fn(Token) -> Token,
    ) -> io::Result<()> {
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        let features = io.features & self.features | protocol;
        let frontend = &self.frontend;
        frontend.set_features(features).map_err(error)?;
        frontend.set_mem_table(&regions(io.mem)).map_err(error)?;
        let token = number(CONNECTION);
        io.events
            .add(self.connection.as_raw_fd(), token, Interest::Read)?;
        for queue in 0..self.rings {
            let ready = io.queues.get(usize::from(queue)).is_some_and(|q| q.ready());
            if !ready {
                continue;
            }
            let token = number(Token(u32::from(queue) + 1));
            let ring = usize::from(queue);
            let lent = Lent::give(frontend, Addresses::Process, io, (queue, ring), token)?;
            self.lent.push(lent);
            frontend.set_vring_enable(ring, true).map_err(error)?;
        }
        for lent in &self.lent {
            lent.kick(io);
        }
        Ok(())
    }

    /// Takes the queues back.
    pub(crate) fn stop(&mut self, io: &mut ActiveIo<'_>) {
        let _ = io.events.remove(self.connection.as_raw_fd());
        for lent in std::mem::take(&mut self.lent) {
            let base = self.stop_ring(lent.ring());
            lent.take_back(base, io);
        }
    }

    /// Where the back end stopped at `ring`. One that does not answer is not asked again: the guest waits.
    fn stop_ring(&mut self, ring: usize) -> Option<u32> {
        if self.gone {
            return None;
        }
        let stopped = self.frontend.set_vring_enable(ring, false);
        match stopped.and_then(|()| self.frontend.get_vring_base(ring)) {
            Ok(base) => Some(base),
            Err(source) => {
                self.gone = true;
                log::warn!("a vhost-user back end does not give ring {ring} back: {source}");
                None
            }
        }
    }

    /// Something became ready: a ring's call, or the connection, whose end it then is.
    pub(crate) fn event(&mut self, token: Token, io: &mut ActiveIo<'_>) {
        if token != CONNECTION {
            let called = |lent: &&Lent| u32::from(lent.queue()) + 1 == token.0;
            if let Some(lent) = self.lent.iter().find(called) {
                lent.called(io);
            }
            return;
        }
        let Some(how) = broken(&self.connection) else {
            return;
        };
        let _ = io.events.remove(self.connection.as_raw_fd());
        if !std::mem::replace(&mut self.gone, true) {
            log::warn!("a vhost-user back end {how}");
        }
    }
}

/// What is wrong with a connection that has something to read. Back ends say nothing unasked, and answers are read
/// where they are waited for.
fn broken(connection: &OwnedFd) -> Option<&'static str> {
    use rustix::io::Errno;
    use rustix::net::{RecvFlags, recv};
    let mut byte = [0_u8];
    match recv(connection, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => Some("went away"),
        Ok(_) => Some("speaks unasked"),
        Err(Errno::AGAIN | Errno::INTR) => None,
        Err(_) => Some("was lost"),
    }
}

/// Finds out what the back end can do, and agrees on the protocol.
fn negotiate(frontend: &mut Wire) -> io::Result<u64> {
    frontend.set_owner().map_err(error)?;
    let features = frontend.get_features().map_err(error)?;
    if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() != 0 {
        frontend.agree(VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK)?;
    }
    Ok(features)
}
