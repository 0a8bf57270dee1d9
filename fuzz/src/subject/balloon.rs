//! A memory balloon.

use devices::virtio::balloon::{Balloon, BalloonHandle, BalloonSpec};
use devices::virtio::testing::Driver;

use super::Subject;
use crate::input::Input;

/// A balloon, which the host resizes.
#[derive(Debug, Default)]
pub struct Ballooning {
    handle: Option<BalloonHandle>,
}

impl Subject for Ballooning {
    type Device = Balloon;

    fn device(&mut self, choice: u8) -> Balloon {
        let size = u64::from(choice) << 20;
        let device = Balloon::new(&BalloonSpec { size }).expect("an eventfd");
        self.handle = Some(device.handle());
        device
    }

    fn act(&mut self, _driver: &mut Driver<Balloon>, input: &mut Input<'_>) {
        if let Some(handle) = &self.handle {
            if input.u8() & 1 == 0 {
                handle.resize(input.u64());
            } else {
                let _ = (handle.stats(), handle.target(), handle.actual());
            }
        }
    }

    fn may_lose_rings(&self) -> bool {
        true
    }

    fn is_success(&self, _queue: u16, _answer: &[u8]) -> bool {
        true
    }
}
