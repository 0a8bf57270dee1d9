//! Inputs written by hand: the operations of [`crate::device`] and [`crate::transport`] as bytes.

use crate::transport;

/// The operations on a device that is called directly, one byte each; of that byte's value the
/// remainder by [`op::COUNT`] counts.
pub mod op {
    /// A request: queue, [flags](super::flag), room, and the string that it says.
    pub const REQUEST: u8 = 0;
    /// A doorbell: queue.
    pub const KICK: u8 = 1;
    /// Everything that is ready on the host's side is told to the device.
    pub const POLL: u8 = 2;
    /// What the host does, as the subject reads it.
    pub const HOST: u8 = 3;
    /// An event that did not happen: token.
    pub const EVENT: u8 = 4;
    /// A descriptor: queue, index, address, length, flags, next.
    pub const DESCRIPTOR: u8 = 5;
    /// A head on the available ring: queue, head.
    pub const PUSH: u8 = 6;
    /// The available index: queue, distance.
    pub const JUMP: u8 = 7;
    /// Guest RAM: address, string.
    pub const RAM: u8 = 8;
    /// A read of the configuration: offset, length.
    pub const READ_CONFIG: u8 = 9;
    /// A write of the configuration: offset, string.
    pub const WRITE_CONFIG: u8 = 10;
    /// A pause and its end.
    pub const PAUSE: u8 = 11;
    /// A reset, after which the driver begins anew: features left out, queues not enabled.
    pub const RESET: u8 = 12;
    /// How many there are.
    pub const COUNT: u8 = 13;
}

/// Flags of a request.
pub mod flag {
    /// In an indirect table.
    pub const INDIRECT: u8 = 1 << 0;
    /// As it is, not mended.
    pub const RAW: u8 = 1 << 1;
    /// Without a doorbell.
    pub const QUIET: u8 = 1 << 2;
    /// The buffers are cut after 16 bytes, after 40, or in the middle and with an empty one.
    pub const CUT_SHIFT: u8 = 4;
}

/// An input under construction.
#[derive(Debug, Clone, Default)]
pub struct Script(pub Vec<u8>);

impl Script {
    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// A string.
    #[must_use]
    pub fn string(self, bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.raw(&len.to_le_bytes()).raw(bytes)
    }

    /// A request on `queue` with the writable buffers of [`crate::room::ROOMS`] number `room`.
    #[must_use]
    pub fn request(self, queue: u8, room: u8, bytes: &[u8]) -> Self {
        self.request_with(queue, 0, room, bytes)
    }

    /// A request with [flags](flag).
    #[must_use]
    pub fn request_with(self, queue: u8, flags: u8, room: u8, bytes: &[u8]) -> Self {
        self.raw(&[op::REQUEST, queue, flags, room]).string(bytes)
    }

    /// A doorbell.
    #[must_use]
    pub fn kick(self, queue: u8) -> Self {
        self.raw(&[op::KICK, queue])
    }

    /// The host's side is looked at.
    #[must_use]
    pub fn poll(self) -> Self {
        self.raw(&[op::POLL])
    }

    /// What the host does.
    #[must_use]
    pub fn host(self, bytes: &[u8]) -> Self {
        self.raw(&[op::HOST]).raw(bytes)
    }

    /// A pause and its end.
    #[must_use]
    pub fn pause(self) -> Self {
        self.raw(&[op::PAUSE])
    }

    /// A reset after which everything but `without` is negotiated.
    #[must_use]
    pub fn reset(self, without: u64, disabled: u8) -> Self {
        self.raw(&[op::RESET])
            .raw(&without.to_le_bytes())
            .raw(&[disabled])
    }
}

/// The same for a device behind a transport.
#[derive(Debug, Clone, Default)]
pub struct Registers(pub Vec<u8>);

impl Registers {
    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// A start by the rules.
    #[must_use]
    pub fn run(self, without: u64) -> Self {
        self.raw(&[transport::op::RUN]).raw(&without.to_le_bytes())
    }

    /// The device status.
    #[must_use]
    pub fn status(self, value: u8) -> Self {
        self.raw(&[transport::op::STATUS, value])
    }

    /// A request, and its answer.
    #[must_use]
    pub fn request(self, queue: u8, room: u8, bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.raw(&[transport::op::REQUEST, queue, room])
            .raw(&len.to_le_bytes())
            .raw(bytes)
            .raw(&[transport::op::SETTLE])
    }

    /// A register of a queue.
    #[must_use]
    pub fn queue(self, queue: u8, register: u8, value: &[u8]) -> Self {
        self.raw(&[transport::op::QUEUE, queue, register])
            .raw(value)
    }

    /// Any register.
    #[must_use]
    pub fn access(self, offset: u16, kind: u8, value: u64) -> Self {
        self.raw(&[transport::op::RAW])
            .raw(&offset.to_le_bytes())
            .raw(&[kind])
            .raw(&value.to_le_bytes())
    }
}
