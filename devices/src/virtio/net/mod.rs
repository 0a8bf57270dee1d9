//! The network device (VIRTIO 1.3 §5.1): one pair of queues between a driver and a back end.
//!
//! Runs on the shared event loop. Packets for the guest are fetched from the back end only when the
//! receive queue has buffers, so that a guest that takes nothing holds its peers back instead of
//! filling memory.

mod rx;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net as uapi;

use self::rx::RxQueue;
use crate::backend::net::user::UserNet;
use crate::backend::net::{
    F_MRG_RXBUF, HEADER_LEN, NetBackend, NetBackendSpec, NetError, NetSpec, PacketHeader,
    consistent,
};
use crate::persist::{Payload, PersistError};
use crate::virtio::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Token, VirtioDevice,
};

/// The queue of packets for the driver (VIRTIO 1.3 §5.1.2).
const RX: u16 = 0;
/// The queue of packets from the driver (VIRTIO 1.3 §5.1.2).
const TX: u16 = 1;

/// A large packet lies in up to 43 receive buffers of the smallest usual size; this many hold two
/// dozen.
const QUEUE_SIZE: u16 = 1024;

/// The device has a MAC address (VIRTIO 1.3 §5.1.3).
const F_MAC: u64 = 1 << uapi::VIRTIO_NET_F_MAC;
/// The configuration space has the link's status (VIRTIO 1.3 §5.1.3).
const F_STATUS: u64 = 1 << uapi::VIRTIO_NET_F_STATUS;

/// Packets taken from the driver before others on the event loop get their turn.
const TX_BURST: usize = 256;

const KIND: &str = "virtio-net";

/// A network device.
#[derive(Debug)]
pub struct Net {
    backend: Box<dyn NetBackend>,
    config: Arc<ConstConfig>,
    rx: RxQueue,
}

impl Net {
    /// Makes the device and its back end.
    ///
    /// # Errors
    /// The back end cannot be made.
    pub fn new(spec: &NetSpec) -> Result<Self, NetError> {
        let backend: Box<dyn NetBackend> = match &spec.backend {
            NetBackendSpec::User(user) => Box::new(UserNet::new(spec.mac, spec.mtu, user)?),
        };
        Ok(Self::with_backend(spec.mac, backend))
    }

    /// Makes the device for a back end.
    #[must_use]
    pub fn with_backend(mac: [u8; 6], backend: Box<dyn NetBackend>) -> Self {
        // struct virtio_net_config (VIRTIO 1.3 §5.1.4): mac, status, max_virtqueue_pairs, mtu.
        let status = u16::try_from(uapi::VIRTIO_NET_S_LINK_UP).unwrap_or(1);
        let mut config = mac.to_vec();
        config.extend(status.to_le_bytes());
        config.extend(1_u16.to_le_bytes());
        config.extend(backend.mtu().to_le_bytes());
        Self {
            backend,
            config: Arc::new(ConstConfig(config)),
            rx: RxQueue::new(QUEUE_SIZE),
        }
    }

    /// Takes packets from the driver.
    fn transmit(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let Some(queue) = io.queues.get_mut(usize::from(TX)) else {
            return Ok(());
        };
        queue.disable_notification(io.mem)?;
        let mut taken = 0;
        let mut more = true;
        while more {
            let Some(mut chain) = queue.pop(io.mem)? else {
                more = queue.enable_notification(io.mem)?;
                continue;
            };
            let mut header = [0; HEADER_LEN];
            if !chain.reader.read_exact(&mut header) {
                return Err(DeviceError::Request("packet without a header"));
            }
            let header = PacketHeader::from_bytes(header).limited_to(io.features);
            self.backend.send(header, &mut chain.reader, io.events);
            queue.add_used(io.mem, chain.head, 0)?;
            taken += 1;
            if taken == TX_BURST {
                break;
            }
        }
        if more {
            io.call_again(TX);
        }
        if taken > 0 {
            self.backend.flush(io.events);
            io.notify_used(TX)?;
        }
        Ok(())
    }
}

impl VirtioDevice for Net {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: VIRTIO_ID_NET,
            features: F_MAC | F_STATUS | F_MRG_RXBUF | self.backend.features(),
            queue_sizes: vec![QUEUE_SIZE; 2],
            runs_on: EventLoop::Shared,
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        self.config.clone()
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let failed = |source| DeviceError::Backend {
            context: "start the network".to_owned(),
            source,
        };
        self.backend
            .start(consistent(io.features), io.events)
            .map_err(failed)?;
        self.rx.merge = io.features & F_MRG_RXBUF != 0;
        Ok(())
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        if index == TX {
            self.transmit(io)?;
        }
        self.rx.fill(self.backend.as_mut(), io)
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        self.backend.event(token, io.events);
        self.rx.fill(self.backend.as_mut(), io)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        self.backend.stop(io.events);
    }

    fn reset(&mut self) {
        self.backend.reset();
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        let state = NetStateV1 {
            config: self.config.0.clone(),
        };
        Payload::pack(KIND, 1, &state).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let state: NetStateV1 = state.unpack(KIND, 1)?;
        if state.config != self.config.0 {
            return Err(PersistError::Invalid(
                "the card's MAC address or MTU is another".to_owned(),
            ));
        }
        self.backend.reset();
        Ok(())
    }
}

/// The saved state: what the driver knows of the card. Flows end: their host sockets are no more.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct NetStateV1 {
    config: Vec<u8>,
}
