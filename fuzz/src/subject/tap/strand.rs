//! A back end that sees that the card keeps to what [`NetBackend`] promises, whatever its driver does.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use devices::backend::net::{
    F_CSUM, F_CTRL_GUEST_OFFLOADS, F_GUEST_CSUM, F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6,
    F_GUEST_USO4, F_GUEST_USO6, F_HOST_ECN, F_HOST_TSO4, F_HOST_TSO6, F_HOST_USO, F_MTU,
    GUEST_OFFLOADS, NetBackend, Packet, PacketHeader, TakesOver, consistent,
};
use devices::lock;
use devices::virtio::device::{ActiveIo, Interest, Registry, Token};
use devices::virtio::queue::Reader;
use rustix::event::{EventfdFlags, eventfd};
use virtio_queue::QueueT;

const FEATURES: u64 = F_CSUM
    | F_GUEST_CSUM
    | F_GUEST_TSO4
    | F_GUEST_TSO6
    | F_GUEST_ECN
    | F_GUEST_USO4
    | F_GUEST_USO6
    | F_HOST_TSO4
    | F_HOST_TSO6
    | F_HOST_ECN
    | F_HOST_USO
    | F_MTU
    | F_CTRL_GUEST_OFFLOADS;
/// Says that a packet came, or that the link is another.
const NEWS: Token = Token(0);
/// What whoever works on the queues watches.
const CALL: Token = Token(1);
/// Packets that wait for the guest.
const WAITING_MAX: usize = 64;

#[derive(Debug, Default)]
struct State {
    /// What was negotiated, while it runs.
    features: Option<u64>,
    /// The first of the queues that were handed over.
    lent: Option<u16>,
    waiting: VecDeque<Vec<u8>>,
    down: bool,
}

/// One end of a feigned link.
#[derive(Debug, Clone)]
pub struct Strand {
    state: Arc<Mutex<State>>,
    news: Arc<OwnedFd>,
    call: Option<Arc<OwnedFd>>,
    packet: Vec<u8>,
}

impl Strand {
    /// One that works on the queues itself if it is `lent`.
    ///
    /// # Panics
    /// No descriptor is left.
    #[must_use]
    pub fn new(lent: bool) -> Self {
        let counter = || {
            let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
            Arc::new(eventfd(0, flags).expect("an eventfd"))
        };
        Self {
            state: Arc::default(),
            news: counter(),
            call: lent.then(counter),
            packet: Vec::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn tell(&self) {
        let _ = rustix::io::write(&*self.news, &1_u64.to_ne_bytes());
    }

    /// A packet for the guest comes.
    pub fn bring(&self, data: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() < WAITING_MAX {
            // A back end hands over whole headers.
            let mut packet = data.to_vec();
            packet.resize(packet.len().max(14), 0);
            state.waiting.push_back(packet);
        }
        drop(state);
        self.tell();
    }

    /// The link goes up or down.
    pub fn set_link(&self, up: bool) {
        self.state().down = !up;
        self.tell();
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.state().features.is_some()
    }
}

impl NetBackend for Strand {
    fn features(&self) -> u64 {
        FEATURES
    }

    fn mtu(&self) -> u16 {
        9000
    }

    fn start(&mut self, features: u64, events: &mut dyn Registry) -> io::Result<()> {
        events.add(self.news.as_raw_fd(), NEWS, Interest::Read)?;
        let before = self.state().features.replace(features);
        assert_eq!(before, None, "started twice");
        assert_eq!(
            consistent(features),
            features,
            "features without their condition"
        );
        Ok(())
    }

    fn set_offloads(&mut self, offloads: u64) -> io::Result<()> {
        let features = self.state().features.expect("a back end that runs");
        assert_ne!(features & F_CTRL_GUEST_OFFLOADS, 0, "offloads unasked");
        assert_eq!(
            offloads & !(features & GUEST_OFFLOADS),
            0,
            "offloads not negotiated"
        );
        assert_eq!(
            consistent(offloads),
            offloads,
            "offloads without their checksum"
        );
        Ok(())
    }

    fn link_is_up(&self) -> bool {
        !self.state().down
    }

    fn stop(&mut self, events: &mut dyn Registry) {
        let _ = events.remove(self.news.as_raw_fd());
        let mut state = self.state();
        assert!(state.features.take().is_some(), "stopped twice");
        assert_eq!(state.lent, None, "stopped with queues in hand");
    }

    fn reset(&mut self) {
        assert!(!self.is_started(), "reset while it runs");
    }

    fn send(&mut self, header: PacketHeader, frame: &mut Reader<'_>, _: &mut dyn Registry) {
        let state = self.state();
        let features = state.features.expect("a back end that runs");
        assert_eq!(state.lent, None, "a packet past whoever has the queues");
        assert_eq!(
            header.limited_to(features),
            header,
            "a header not negotiated"
        );
        let length = frame.available();
        let mut data = vec![0; length.min(1 << 17)];
        assert!(frame.read_exact(&mut data), "a packet of {length} bytes");
    }

    fn flush(&mut self, _: &mut dyn Registry) {
        assert!(self.is_started());
    }

    fn event(&mut self, token: Token, _: &mut dyn Registry) {
        assert!(self.is_started(), "an event while it does not run");
        if token == NEWS {
            let _ = rustix::io::read(&*self.news, &mut [0; 8]);
        }
    }

    fn receive(&mut self, _: &mut dyn Registry) -> Option<Packet<'_>> {
        let state = lock(&self.state);
        assert!(
            state.features.is_some(),
            "asked for packets before the start"
        );
        self.packet.clone_from(state.waiting.front()?);
        let (frame, body) = self.packet.split_at(14);
        Some(Packet {
            header: PacketHeader::default(),
            frame,
            body: [body, &[]],
        })
    }

    fn received(&mut self) {
        let taken = self.state().waiting.pop_front();
        assert!(taken.is_some(), "took a packet that was not there");
    }

    fn takes_over(&mut self) -> Option<&mut dyn TakesOver> {
        self.call.is_some().then_some(self)
    }
}

impl TakesOver for Strand {
    fn start(
        &mut self,
        io: &mut ActiveIo<'_>,
        first: u16,
        number: &dyn Fn(Token) -> Token,
    ) -> io::Result<()> {
        if let Some(call) = &self.call {
            io.events
                .add(call.as_raw_fd(), number(CALL), Interest::Read)?;
        }
        let mut state = self.state();
        assert!(state.features.is_some(), "queues before the start");
        assert_eq!(state.lent.replace(first), None, "queues handed over twice");
        for queue in [first, first + 1] {
            let queue = io.queues.get(usize::from(queue)).expect("a queue");
            // The other side reads these, whatever the driver set.
            std::hint::black_box(queue.ring_ref().size());
        }
        Ok(())
    }

    fn stop(&mut self, io: &mut ActiveIo<'_>) {
        if let Some(call) = &self.call {
            let _ = io.events.remove(call.as_raw_fd());
        }
        let lent = self.state().lent.take();
        assert!(lent.is_some(), "queues taken back twice");
    }

    fn event(&mut self, token: Token, _: &mut ActiveIo<'_>) -> bool {
        token == CALL
    }
}
