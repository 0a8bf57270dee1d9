//! The device: its queues and its place in the machine.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::requests::Requests;
use super::server::{Server, Session};
use super::{FsError, FsSpec, TAG_MAX};
use crate::backend::fs::{Share, ShareState};
use crate::persist::{Payload, PersistError};
use crate::virtio::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Token, VirtioDevice,
};

/// File system device (VIRTIO 1.3 §5.11.1).
const DEVICE_ID: u32 = 26;
/// Request queues; the device has one thread, so more would be no quicker.
const REQUEST_QUEUES: u32 = 1;
/// Linux sends requests of at most as many pages as a queue has descriptors, less four.
const QUEUE_SIZE: u16 = 1024;

/// The threads of the first shares, by name.
const THREADS: [&str; 8] = ["fs0", "fs1", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7"];

const KIND: &str = "virtio-fs";

/// A virtio-fs device.
#[derive(Debug)]
pub struct Fs {
    server: Server,
    config: Arc<ConstConfig>,
    requests: Requests,
    thread: &'static str,
}

impl Fs {
    /// A device that shares `spec.path`, the machine's share number `number`, which names its
    /// thread.
    ///
    /// # Errors
    /// See [`FsError`].
    pub fn new(number: usize, spec: &FsSpec) -> Result<Self, FsError> {
        let tag = spec.tag.as_bytes();
        if tag.is_empty() || tag.len() > TAG_MAX || tag.contains(&0) {
            return Err(FsError::Tag {
                tag: spec.tag.clone(),
            });
        }
        let share = Share::open(spec).map_err(|source| FsError::Share {
            tag: spec.tag.clone(),
            source,
        })?;
        let requests = Requests::new().map_err(|source| FsError::Timer {
            tag: spec.tag.clone(),
            source,
        })?;
        // `tag` and `num_request_queues` (VIRTIO 1.3 §5.11.4).
        let mut config = tag.to_vec();
        config.resize(TAG_MAX, 0);
        config.extend(REQUEST_QUEUES.to_le_bytes());
        Ok(Self {
            server: Server::new(share, spec.cache),
            config: Arc::new(ConstConfig(config)),
            requests,
            thread: THREADS.get(number).copied().unwrap_or("fs"),
        })
    }
}

impl VirtioDevice for Fs {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: 0,
            // The high priority queue, then the request queues (VIRTIO 1.3 §5.11.2).
            queue_sizes: vec![QUEUE_SIZE; 1 + REQUEST_QUEUES as usize],
            runs_on: EventLoop::Own(self.thread),
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        self.config.clone()
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let queues = 1 + REQUEST_QUEUES as u16;
        self.requests.activate(&mut self.server, io, queues)
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        self.requests.process(&mut self.server, io, index)
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        self.requests.process_event(&mut self.server, io, token)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        if let Err(error) = self.requests.quiesce(io) {
            log::warn!("virtio-fs: cannot stop watching the timer: {error}");
        }
    }

    fn reset(&mut self) {
        self.requests.clear();
        self.server.clear();
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        let state = FsStateV1 {
            session: self.server.session,
            share: self.server.share.save(),
            waiting: self.requests.save(),
        };
        Payload::pack(KIND, 1, &state).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: FsStateV1 = state.unpack(KIND, 1)?;
        let lost = self.server.share.restore(&state.share);
        let lost = lost.map_err(|error| PersistError::Invalid(error.to_string()))?;
        if lost > 0 {
            log::warn!("virtio-fs: {lost} open files or locks of the guest are gone");
        }
        self.server.session = state.session;
        self.requests.restore(&state.waiting);
        Ok(())
    }
}

/// The saved state of the device.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FsStateV1 {
    session: Option<Session>,
    share: ShareState,
    waiting: Vec<(u16, u16, u64)>,
}

#[cfg(test)]
impl Fs {
    /// Closes every cached descriptor, as use of many others would.
    pub(super) fn forget_descriptors(&mut self) {
        self.server.share.forget_descriptors();
    }

    /// Does without `/proc` and `openat2(2)`.
    pub(super) fn do_without(&mut self) {
        self.server.share.do_without();
    }
}
