//! A process that works on a device's queues by itself: a vhost-user back end (QEMU's
//! docs/interop/vhost-user.rst), reached by a Unix socket.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vhost::VhostBackend;
use vhost::vhost_user::message::{
    VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};

use crate::virtio::core::{F_VERSION_1, TRANSPORT_FEATURES};
use crate::virtio::device::{ActiveIo, Interest, Token};
use crate::virtio::vhost::{Addresses, Lent, error, regions};

/// How long an answer may take: the device's loop waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

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
    frontend: Frontend,
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
            stream.set_read_timeout(Some(PATIENCE))?;
            let again = OwnedFd::from(stream.try_clone()?);
            Ok((stream, again))
        });
        let (stream, connection) = stream.map_err(|source| VhostUserError::Connect {
            path: path.to_owned(),
            source,
        })?;
        let mut frontend = Frontend::from_stream(stream, rings.into());
        let features = negotiate(&mut frontend).map_err(|source| VhostUserError::Protocol {
            path: path.to_owned(),
            source: error(source),
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
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        let features = io.features & self.features | protocol;
        let frontend = &mut self.frontend;
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
        for lent in self.lent.drain(..) {
            let stopped = self.frontend.set_vring_enable(lent.ring(), false);
            if let Err(source) = stopped {
                log::debug!("vhost-user ring {} does not stop: {source}", lent.ring());
            }
            lent.take_back(&self.frontend, io);
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
        // Back ends say nothing unasked, and answers are read where they are waited for.
        if has_ended(&self.connection) && !std::mem::replace(&mut self.gone, true) {
            let _ = io.events.remove(self.connection.as_raw_fd());
            log::warn!("a vhost-user back end went away");
        }
    }
}

/// Whether nothing more will come from a connection, without taking anything from it.
fn has_ended(connection: &OwnedFd) -> bool {
    use rustix::net::{RecvFlags, recv};
    let mut byte = [0_u8];
    match recv(connection, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((length, _)) => length == 0,
        Err(error) => !matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR),
    }
}

/// Finds out what the back end can do, and agrees on the protocol.
fn negotiate(frontend: &mut Frontend) -> vhost::Result<u64> {
    frontend.set_owner()?;
    let features = frontend.get_features()?;
    if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
        return Ok(features);
    }
    let wanted = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
    let agreed = frontend.get_protocol_features()? & wanted;
    frontend.set_protocol_features(agreed)?;
    if agreed.contains(VhostUserProtocolFeatures::REPLY_ACK) {
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    }
    Ok(features)
}
