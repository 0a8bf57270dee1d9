//! The device: its queue and its place in the machine.

use std::sync::Arc;

use super::P9Error;
use super::server::Server;
use super::state::P9StateV1;
use crate::backend::fs::{FsSpec, Share};
use crate::persist::{Payload, PersistError};
use crate::virtio::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Token, VirtioDevice,
};
use crate::virtio::fs::TAG_MAX;
use crate::virtio::fs::requests::Requests;

/// 9P transport device (Linux `VIRTIO_ID_9P`).
const DEVICE_ID: u32 = 9;
/// `VIRTIO_9P_MOUNT_TAG`: the configuration space names the tag.
const F_MOUNT_TAG: u64 = 1 << 0;
/// Linux sends messages of up to 128 buffers.
const QUEUE_SIZE: u16 = 256;

/// The threads of the machine's first devices, by name.
const THREADS: [&str; 8] = ["9p0", "9p1", "9p2", "9p3", "9p4", "9p5", "9p6", "9p7"];

const KIND: &str = "virtio-9p";

/// A virtio-9p device.
#[derive(Debug)]
pub struct P9 {
    server: Server,
    config: Arc<ConstConfig>,
    requests: Requests,
    thread: &'static str,
}

impl P9 {
    /// A device that shares `spec.path`, the machine's share number `number`, which names its
    /// thread.
    ///
    /// # Errors
    /// See [`P9Error`].
    pub fn new(number: usize, spec: &FsSpec) -> Result<Self, P9Error> {
        let tag = spec.tag.as_bytes();
        if tag.is_empty() || tag.len() > TAG_MAX || tag.contains(&0) {
            return Err(P9Error::Tag {
                tag: spec.tag.clone(),
            });
        }
        let share = Share::open(spec).map_err(|source| P9Error::Share {
            tag: spec.tag.clone(),
            source,
        })?;
        let requests = Requests::new().map_err(|source| P9Error::Timer {
            tag: spec.tag.clone(),
            source,
        })?;
        // `tag_len` and `tag` (Linux `struct virtio_9p_config`).
        let mut config = (tag.len() as u16).to_le_bytes().to_vec();
        config.extend(tag);
        Ok(Self {
            server: Server::new(share),
            config: Arc::new(ConstConfig(config)),
            requests,
            thread: THREADS.get(number).copied().unwrap_or("9p"),
        })
    }
}

impl VirtioDevice for P9 {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: F_MOUNT_TAG,
            queue_sizes: vec![QUEUE_SIZE],
            runs_on: EventLoop::Own(self.thread),
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        self.config.clone()
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.requests.activate(&mut self.server, io, 1)
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        self.requests.process(&mut self.server, io, index)
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        self.requests.process_event(&mut self.server, io, token)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        if let Err(error) = self.requests.quiesce(io) {
            log::warn!("virtio-9p: cannot stop watching the timer: {error}");
        }
    }

    fn reset(&mut self) {
        self.requests.clear();
        self.server.clear();
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        let state = self.server.save(self.requests.save());
        Payload::pack(KIND, 1, &state).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: P9StateV1 = state.unpack(KIND, 1)?;
        let lost = self.server.restore(&state);
        let lost = lost.map_err(|error| PersistError::Invalid(error.to_string()))?;
        if lost > 0 {
            log::warn!("virtio-9p: {lost} open files or locks of the guest are gone");
        }
        self.requests.restore(&state.waiting);
        Ok(())
    }
}

#[cfg(test)]
impl P9 {
    /// Closes every cached descriptor, as use of many others would.
    pub(super) fn forget_descriptors(&mut self) {
        self.server.share.forget_descriptors();
    }
}
