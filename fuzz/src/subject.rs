//! The devices under test.

mod balloon;
mod blk;
mod console;
mod echo;
mod files;
mod net;
mod rng;
mod tap;
mod vsock;

pub use balloon::Ballooning;
pub use blk::{Image, Storage};
pub use console::Terminal;
pub use echo::Echoing;
pub use files::{Fuse, NineP};
pub use net::Card;
pub use rng::Entropy;
pub use tap::{Plugged, Strand, feigned};
pub use vsock::Sockets;

use std::time::Duration;

use devices::virtio::device::VirtioDevice;
use devices::virtio::testing::Driver;

use crate::input::Input;

/// A device with its surroundings on the host, which live as long as one input is run.
pub trait Subject {
    /// The device.
    type Device: VirtioDevice;

    /// Makes the device. `choice` is the input's first byte: how it is configured.
    fn device(&mut self, choice: u8) -> Self::Device;

    /// Makes of what the input says on `queue` what a device listens to: lengths, checksums, and
    /// numbers that the device chose.
    fn mend(&mut self, queue: u16, request: &mut Vec<u8>) {
        let _ = (queue, request);
    }

    /// Takes what the device wrote into a chain of `queue`.
    fn learn(&mut self, queue: u16, answer: &[u8]) {
        let _ = (queue, answer);
    }

    /// Does something on the host.
    fn act(&mut self, driver: &mut Driver<Self::Device>, input: &mut Input<'_>) {
        let _ = (driver, input);
    }

    /// How long the host's side may take to be ready.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a driver's request can take its own rings away.
    fn may_lose_rings(&self) -> bool {
        false
    }

    /// Looks, at the end, whether something happened that must not.
    ///
    /// # Panics
    /// It did.
    fn check(&mut self) {}

    /// Whether an answer on `queue` is that of a request that was carried out.
    fn is_success(&self, queue: u16, answer: &[u8]) -> bool {
        let _ = queue;
        !answer.is_empty()
    }
}
