//! Entropy.

use devices::virtio::rng::Rng;

use super::Subject;

/// An entropy device.
#[derive(Debug, Default)]
pub struct Entropy;

impl Subject for Entropy {
    type Device = Rng;

    fn device(&mut self, _choice: u8) -> Rng {
        Rng
    }
}
