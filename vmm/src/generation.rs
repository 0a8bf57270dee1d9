//! The virtual machine generation id (Microsoft, "Virtual Machine Generation ID"): 16 random bytes
//! in a page of guest RAM that are others whenever a guest may go on in more than one place, so
//! that no two of them use the same random numbers or keys.

use std::io;
use std::sync::{Arc, Mutex};

use devices::GuestRam;
use devices::legacy::acpi_pm::AcpiPm;
use devices::lock;
use rustix::rand::{GetRandomFlags, getrandom};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::layout::boot::GENERATION_ID;

/// The size of an id.
const LEN: usize = 16;

/// Why the guest cannot be given a new id.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The kernel has no random numbers.
    #[error("cannot draw a random generation id")]
    Random(#[source] io::Error),
    /// Guest RAM does not have the address.
    #[error("cannot write the generation id to guest ram")]
    GuestMemory(#[from] GuestMemoryError),
    /// The guest cannot be told.
    #[error("cannot tell the guest of its new generation id")]
    Notify(#[source] io::Error),
}

/// Puts a new id into guest RAM, for a guest that does not run yet.
///
/// # Errors
/// The kernel has no random numbers, or the RAM does not have the id's place.
pub(crate) fn draw(ram: &GuestRam) -> Result<(), GenerationError> {
    let mut id = [0; LEN];
    // So few bytes are never cut short (getrandom(2)).
    getrandom(&mut id, GetRandomFlags::empty())
        .map_err(|error| GenerationError::Random(error.into()))?;
    ram.write_slice(&id, GuestAddress(GENERATION_ID.start))?;
    Ok(())
}

/// The id of a guest that runs.
#[derive(Debug, Clone)]
pub struct Generation {
    ram: GuestRam,
    power: Arc<Mutex<AcpiPm>>,
}

impl Generation {
    /// The id in `ram`, of which the guest is told by `power`.
    #[must_use]
    pub(crate) fn new(ram: GuestRam, power: Arc<Mutex<AcpiPm>>) -> Self {
        Self { ram, power }
    }

    /// Gives the guest a new id and tells it: for a guest that goes on from a saved state. One that
    /// is not running yet is told as soon as it does.
    ///
    /// # Errors
    /// See [`GenerationError`].
    pub fn renew(&self) -> Result<(), GenerationError> {
        draw(&self.ram)?;
        lock(&self.power)
            .tell_new_generation()
            .map_err(GenerationError::Notify)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use devices::bus::BusDevice;
    use devices::legacy::acpi_pm::{EVENT_NEW_GENERATION, EVENTS};
    use devices::platform::InterruptLine;

    use super::*;

    #[derive(Debug, Default, Clone)]
    struct Line(Arc<AtomicUsize>);

    impl InterruptLine for Line {
        fn set(&self, high: bool) -> io::Result<()> {
            self.0.fetch_add(usize::from(high), Ordering::Relaxed);
            Ok(())
        }
    }

    fn id(ram: &GuestRam) -> [u8; LEN] {
        let mut id = [0; LEN];
        ram.read_slice(&mut id, GuestAddress(GENERATION_ID.start))
            .unwrap();
        id
    }

    #[test]
    fn each_draw_is_another_id() {
        let ram = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        draw(&ram).unwrap();
        let first = id(&ram);
        draw(&ram).unwrap();
        assert_ne!(first, [0; LEN]);
        assert_ne!(first, id(&ram));
    }

    #[test]
    fn the_guest_is_told_after_its_id_changed() {
        let ram = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        draw(&ram).unwrap();
        let first = id(&ram);
        let line = Line::default();
        let power = Arc::new(Mutex::new(AcpiPm::new(Box::new(line.clone()))));
        let generation = Generation::new(ram.clone(), Arc::clone(&power));
        assert_eq!(line.0.load(Ordering::Relaxed), 0);
        generation.renew().unwrap();
        assert_ne!(id(&ram), first);
        assert_eq!(line.0.load(Ordering::Relaxed), 1);
        let mut event = [0];
        lock(&power).read(EVENTS, &mut event);
        assert_eq!(event, [EVENT_NEW_GENERATION]);
    }

    #[test]
    fn ram_without_the_ids_page_is_an_error() {
        let ram = GuestRam::from_ranges(&[(GuestAddress(0), 4096)]).unwrap();
        let error = draw(&ram).unwrap_err();
        assert!(matches!(error, GenerationError::GuestMemory(_)), "{error}");
    }
}
