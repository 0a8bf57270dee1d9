//! A small device for tests of what lies between a device and its driver.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::lock;
use crate::persist::{Payload, PersistError};
use crate::virtio::device::{
    ActiveIo, ConfigSpace, DeviceError, DeviceInfo, EventLoop, VirtioDevice,
};

/// Answers each request with the bytes it was sent; its configuration can be changed.
#[derive(Debug, Default, Clone)]
pub struct Echo {
    /// Its configuration, which the driver can write.
    pub config: Arc<Mutex<Vec<u8>>>,
    /// Whether it was reset.
    pub reset: Arc<AtomicBool>,
    /// Requests answered since then.
    pub count: u32,
}

impl ConfigSpace for Mutex<Vec<u8>> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let bytes = lock(self);
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = bytes.get(offset as usize + i).copied().unwrap_or(0);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut bytes = lock(self);
        for (i, &byte) in data.iter().enumerate() {
            if let Some(to) = bytes.get_mut(offset as usize + i) {
                *to = byte;
            }
        }
    }
}

impl VirtioDevice for Echo {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: 3,
            features: 1 << 2,
            queue_sizes: vec![16, 8],
            runs_on: EventLoop::Shared,
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        self.config.clone()
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        let queue = &mut io.queues[usize::from(index)];
        let mut any = false;
        while let Some(mut chain) = queue.pop(io.mem)? {
            let mut bytes = vec![0; chain.reader.available().min(1 << 16)];
            chain.reader.read(&mut bytes);
            chain.writer.write(&bytes);
            queue.add_used(io.mem, chain.head, chain.writer.written())?;
            self.count += 1;
            any = true;
        }
        if any { io.notify_used(index) } else { Ok(()) }
    }

    fn reset(&mut self) {
        self.count = 0;
        self.reset.store(true, Ordering::SeqCst);
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        Payload::pack("echo", 1, &self.count).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        self.count = state.unpack("echo", 1)?;
        Ok(())
    }
}
