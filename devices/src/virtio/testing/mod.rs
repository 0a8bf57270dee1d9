//! The driver side of virtio, for tests: guest memory, rings, and a driver that calls a device
//! directly. No KVM, no thread: every call is made by the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "test code: what fails here is a failed test"
)]

mod direct;
mod echo;
mod fakes;
pub mod mmio;
pub mod pci;
mod platform;
mod ring;
pub mod transport;

pub use self::direct::enable;
pub use direct::Driver;
pub use echo::Echo;
pub use fakes::{FakeInterrupt, FakeRegistry};
pub use mmio::MmioDriver;
pub use pci::PciDriver;
pub use platform::FakePlatform;
pub use ring::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, Ring, Used};
pub use transport::TransportDriver;

use std::fs::File;

use vm_memory::{FileOffset, GuestAddress};

use crate::GuestRam;
use crate::event_loop::EventLoop;

/// `size` bytes of guest RAM from address 0, which can be shared with another process.
#[must_use]
pub fn ram(size: usize) -> GuestRam {
    let file = rustix::fs::memfd_create("guest-ram", rustix::fs::MemfdFlags::CLOEXEC);
    let file = File::from(file.expect("guest RAM"));
    file.set_len(size as u64).expect("guest RAM");
    let place = Some(FileOffset::new(file, 0));
    GuestRam::from_ranges_with_files([(GuestAddress(0), size, place)]).expect("guest RAM")
}

/// Waits for two turns of a loop: what was ready before is answered then.
fn settle(events: &EventLoop) {
    for _ in 0..2 {
        events.handle().call(|_| ()).expect("the devices' loop");
    }
}
