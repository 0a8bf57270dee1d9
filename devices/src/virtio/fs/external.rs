//! The file system device (VIRTIO 1.3 §5.11) with its requests in the hands of another process, such
//! as virtiofsd, by vhost-user.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::TAG_MAX;
use crate::backend::vhost_user::{VhostUser, VhostUserError};
use crate::virtio::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Token, VirtioDevice,
};

/// File system device (VIRTIO 1.3 §5.11.1).
const DEVICE_ID: u32 = 26;
/// One queue for urgent requests, one for the others (VIRTIO 1.3 §5.11.2).
const QUEUES: u16 = 2;
/// What virtiofsd has room for.
const QUEUE_SIZE: u16 = 1024;

/// A share that another process serves.
#[derive(Debug)]
pub struct ExternalFs {
    peer: VhostUser,
    config: Arc<ConstConfig>,
}

impl ExternalFs {
    /// Connects to the server at `socket`; the guest mounts the share as `tag`.
    ///
    /// # Errors
    /// See [`VhostUserError`].
    pub fn connect(tag: &str, socket: &Path) -> Result<Self, VhostUserError> {
        // struct virtio_fs_config (VIRTIO 1.3 §5.11.4): tag, num_request_queues.
        let mut config = tag.as_bytes().to_vec();
        config.resize(TAG_MAX, 0);
        config.extend(u32::from(QUEUES - 1).to_le_bytes());
        Ok(Self {
            peer: VhostUser::connect(socket, QUEUES)?,
            config: Arc::new(ConstConfig(config)),
        })
    }
}

fn failed(context: &str, source: io::Error) -> DeviceError {
    DeviceError::Backend {
        context: context.to_owned(),
        source,
    }
}

impl VirtioDevice for ExternalFs {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: 0,
            queue_sizes: vec![QUEUE_SIZE; QUEUES.into()],
            // Who serves may be slow to answer when the device starts or stops.
            runs_on: EventLoop::Own("peer"),
        }
    }

    fn withheld(&self) -> u64 {
        self.peer.withheld()
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        self.config.clone()
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let started = self.peer.start(io, &|token| token);
        started.map_err(|source| failed("hand the queues to the share's server", source))
    }

    fn process_queue(&mut self, _: &mut ActiveIo<'_>, _: u16) -> Result<(), DeviceError> {
        Ok(())
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        self.peer.event(token, io);
        if self.peer.is_connected() {
            return Ok(());
        }
        // Requests would wait for ever.
        Err(failed(
            "reach the share's server",
            io::ErrorKind::ConnectionReset.into(),
        ))
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        self.peer.stop(io);
    }
}
