//! The network device (VIRTIO 1.3 §5.1): pairs of queues between a driver and back ends, and a queue
//! for control.
//!
//! Packets for the guest are fetched from a back end only when the receive queue has buffers, so
//! that a guest that takes nothing holds its peers back instead of filling memory.

mod config;
mod control;
mod filter;
mod link;
mod pair;
mod rx;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net as uapi;

use self::config::NetConfig;
use self::control::{
    Command, F_CTRL_MAC_ADDR, F_CTRL_RX, F_CTRL_RX_EXTRA, F_CTRL_VQ, F_GUEST_ANNOUNCE, F_MQ,
};
use self::filter::Filter;
use self::link::Link;
pub use self::link::LinkHandle;
use self::pair::Pair;
use self::rx::RxQueue;
use self::state::NetStateV1;
use crate::backend::net::tap::Tap;
use crate::backend::net::user::{ForwardControl, UserNet};
use crate::backend::net::vhost_user::NetPeer;
use crate::backend::net::{
    self as backend, F_MRG_RXBUF, GUEST_OFFLOADS, NetBackend, NetBackendSpec, NetError, NetSpec,
};
use crate::persist::{Payload, PersistError};
use crate::virtio::device::{
    ActiveIo, ConfigSpace, DeviceError, DeviceInfo, EventLoop, Token, VirtioDevice,
};

/// A large packet lies in up to 43 receive buffers of the smallest usual size; this many hold two
/// dozen.
const QUEUE_SIZE: u16 = 1024;
/// The driver sends one control request at a time.
const CONTROL_SIZE: u16 = 64;
/// Pairs beyond this are not used.
const PAIRS_MAX: usize = 64;

/// The device has a MAC address (VIRTIO 1.3 §5.1.3).
const F_MAC: u64 = 1 << uapi::VIRTIO_NET_F_MAC;
/// The configuration space has the link's status (VIRTIO 1.3 §5.1.3).
const F_STATUS: u64 = 1 << uapi::VIRTIO_NET_F_STATUS;

const KIND: &str = "virtio-net";

/// A network device.
#[derive(Debug)]
pub struct Net {
    pairs: Vec<Pair>,
    config: Arc<NetConfig>,
    /// The card's own address, which it has again after a reset.
    mac: [u8; 6],
    runs_on: EventLoop,
    /// What was negotiated, without what lacks its condition.
    features: u64,
    /// The pairs that the driver uses.
    used: u16,
    filter: Filter,
    /// The offloads that the driver chose since, if it did.
    offloads: Option<u64>,
    forwards: Option<ForwardControl>,
    link: Arc<Link>,
    /// What the back end last said of its link.
    carrier: bool,
}

impl Net {
    /// Makes the device and its back end.
    ///
    /// # Errors
    /// The back end cannot be made.
    pub fn new(spec: &NetSpec) -> Result<Self, NetError> {
        Ok(match &spec.backend {
            NetBackendSpec::User(user) => {
                let backend = UserNet::new(spec.mac, spec.mtu, user)?;
                let forwards = Some(backend.control());
                Self {
                    forwards,
                    ..Self::with_backend(spec.mac, Box::new(backend))
                }
            }
            NetBackendSpec::Tap(tap) => {
                let queues = Tap::open(tap, spec.mtu)?;
                let boxed = |tap| Box::new(tap) as Box<dyn NetBackend>;
                let backends = queues.into_iter().map(boxed).collect();
                Self::with_backends(spec.mac, backends, EventLoop::Own("net0"))
            }
            NetBackendSpec::VhostUser { socket } => {
                let backend = Box::new(NetPeer::connect(socket, spec.mtu)?);
                Self::with_backends(spec.mac, vec![backend], EventLoop::Own("peer"))
            }
        })
    }

    /// Makes the device for a back end.
    #[must_use]
    pub fn with_backend(mac: [u8; 6], backend: Box<dyn NetBackend>) -> Self {
        Self::with_backends(mac, vec![backend], EventLoop::Shared)
    }

    /// Makes the device with a pair of queues for each of `backends`, all of them the same link.
    #[must_use]
    pub fn with_backends(
        mac: [u8; 6],
        mut backends: Vec<Box<dyn NetBackend>>,
        runs_on: EventLoop,
    ) -> Self {
        backends.truncate(PAIRS_MAX);
        let mtu = backends.first().map_or(0, |backend| backend.mtu());
        let pairs: Vec<_> = (0..)
            .zip(backends)
            .map(|(number, backend)| Pair::new(number, backend, RxQueue::new(QUEUE_SIZE)))
            .collect();
        let count = u16::try_from(pairs.len()).unwrap_or(u16::MAX);
        let config = Arc::new(NetConfig::new(mac, count, mtu));
        Self {
            pairs,
            link: Arc::new(Link::new(Arc::clone(&config))),
            carrier: true,
            config,
            mac,
            runs_on,
            features: 0,
            used: 1,
            filter: Filter::default(),
            offloads: None,
            forwards: None,
        }
    }

    /// The way to change the forwards of a user-mode network.
    #[must_use]
    pub fn forwards(&self) -> Option<ForwardControl> {
        self.forwards.clone()
    }

    /// The way to the state of the link.
    #[must_use]
    pub fn link(&self) -> LinkHandle {
        LinkHandle(Arc::clone(&self.link))
    }

    /// The control queue's index (VIRTIO 1.3 §5.1.2): it follows the pairs that the driver knows of.
    fn control_index(&self) -> Option<u16> {
        if self.features & F_CTRL_VQ == 0 {
            None
        } else if self.features & F_MQ == 0 {
            Some(2)
        } else {
            Some(2 * self.config.pairs())
        }
    }

    /// Starts the pairs that the driver uses and stops the others.
    fn start_pairs(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        for (number, pair) in (0..).zip(&mut self.pairs) {
            if number >= self.used {
                pair.stop(io);
                continue;
            }
            pair.rx.merge = self.features & F_MRG_RXBUF != 0;
            let news = !pair.runs();
            pair.start(io, self.features)?;
            if let Some(offloads) = self.offloads.filter(|_| news) {
                set_offloads(pair, offloads)?;
            }
        }
        Ok(())
    }

    /// Tells the driver of a change of the back end's link.
    fn look_at_link(&mut self) {
        let up = self.pairs.first().is_none_or(|p| p.backend.link_is_up());
        if up != self.carrier {
            self.carrier = up;
            self.link.set_carrier(up);
        }
    }

    /// Answers what waits on the control queue.
    fn process_control(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        let mut answered = 0;
        while let Some(queue) = io.queues.get_mut(usize::from(index)) {
            if answered == CONTROL_SIZE {
                io.call_again(index);
                break;
            }
            let Some(mut chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            let done = match control::parse(&mut chain.reader, self.features) {
                Some(command) => self.obey(command, io)?,
                None => false,
            };
            let answer = if done { control::OK } else { control::ERR };
            if !chain.writer.write_all(&[answer]) {
                return Err(DeviceError::Request(
                    "control request without room for an answer",
                ));
            }
            if let Some(queue) = io.queues.get_mut(usize::from(index)) {
                queue.add_used(io.mem, chain.head, 1)?;
            }
            answered += 1;
        }
        if answered > 0 {
            io.notify_used(index)?;
        }
        Ok(())
    }

    /// Does what the driver asks for; whether it could be done.
    fn obey(&mut self, command: Command, io: &mut ActiveIo<'_>) -> Result<bool, DeviceError> {
        match command {
            Command::Mode(mode, on) => self.filter.set(mode, on),
            Command::Tables { unicast, multicast } => {
                self.filter.unicast = unicast;
                self.filter.multicast = multicast;
            }
            Command::Mac(mac) => self.config.set_mac(mac),
            Command::Announced => self.config.set_announce(false),
            Command::Pairs(count) => {
                if count == 0 || count > self.config.pairs() {
                    return Ok(false);
                }
                self.used = count;
                self.start_pairs(io)?;
            }
            Command::Offloads(offloads) => {
                let known = offloads & !(self.features & GUEST_OFFLOADS) == 0;
                if !known || backend::consistent(offloads) != offloads {
                    return Ok(false);
                }
                for pair in self.pairs.iter_mut().filter(|pair| pair.runs()) {
                    set_offloads(pair, offloads)?;
                }
                self.offloads = Some(offloads);
            }
        }
        Ok(true)
    }
}

fn set_offloads(pair: &mut Pair, offloads: u64) -> Result<(), DeviceError> {
    let set = pair.backend.set_offloads(offloads);
    set.map_err(|source| DeviceError::Backend {
        context: "change the offloads".to_owned(),
        source,
    })
}

impl VirtioDevice for Net {
    fn info(&self) -> DeviceInfo {
        let own = F_MAC
            | F_STATUS
            | F_MRG_RXBUF
            | F_CTRL_VQ
            | F_CTRL_RX
            | F_CTRL_RX_EXTRA
            | F_CTRL_MAC_ADDR
            | F_GUEST_ANNOUNCE;
        let several = if self.pairs.len() > 1 { F_MQ } else { 0 };
        let common = |features, pair: &Pair| features & pair.backend.features();
        let backend = self.pairs.iter().fold(u64::MAX, common);
        let mut queue_sizes = vec![QUEUE_SIZE; 2 * self.pairs.len()];
        queue_sizes.push(CONTROL_SIZE);
        DeviceInfo {
            id: VIRTIO_ID_NET,
            features: (own | several | backend) & !self.withheld(),
            queue_sizes,
            runs_on: self.runs_on,
        }
    }

    fn withheld(&self) -> u64 {
        let all = self.pairs.iter().map(|pair| pair.backend.withheld());
        all.fold(0, |all, one| all | one)
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        self.config.clone()
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.features = control::consistent(backend::consistent(io.features));
        if self.features & F_GUEST_ANNOUNCE == 0 {
            self.config.set_announce(false);
        } else if self.config.announces() {
            io.interrupt.config();
        }
        // What the link is now, the driver reads before it is told of changes.
        let reads = self.features & F_STATUS != 0;
        self.link
            .set_driver(reads.then(|| Arc::clone(io.interrupt)));
        self.look_at_link();
        self.start_pairs(io)
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        if Some(index) == self.control_index() {
            return self.process_control(io, index);
        }
        let pair = self.pairs.get_mut(usize::from(index / 2));
        let Some(pair) = pair.filter(|pair| pair.runs()) else {
            return Ok(());
        };
        if index % 2 == 1 {
            pair.transmit(io, self.features)?;
        }
        pair.receive(io, &self.filter, self.config.mac())
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        let (number, token) = if self.pairs.len() == 1 {
            (0, token)
        } else {
            pair::split(token)
        };
        let Some(pair) = self.pairs.get_mut(number) else {
            return Ok(());
        };
        pair.event(io, token);
        if pair.runs() {
            pair.receive(io, &self.filter, self.config.mac())?;
        }
        self.look_at_link();
        Ok(())
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        self.link.set_driver(None);
        for pair in &mut self.pairs {
            pair.stop(io);
        }
    }

    fn reset(&mut self) {
        for pair in &mut self.pairs {
            pair.backend.reset();
        }
        self.config.set_mac(self.mac);
        self.config.set_announce(false);
        self.features = 0;
        self.used = 1;
        self.filter = Filter::default();
        self.offloads = None;
    }

    fn save(&self) -> Result<Option<Payload>, PersistError> {
        Payload::pack(KIND, 1, &NetStateV1::of(self)).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        state.unpack::<NetStateV1>(KIND, 1)?.restore(self)
    }
}
