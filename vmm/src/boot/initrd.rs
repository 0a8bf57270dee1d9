//! The initial RAM disk: placed as high as the kernel allows, out of the kernel's way.

use std::path::Path;

use devices::GuestRam;

use super::error::{BootError, Role};
use super::source::Source;
use crate::layout::{Layout, PAGE, Range, boot, mmio};

/// An initrd that can be loaded.
#[derive(Debug)]
pub(super) struct Initrd {
    source: Source,
}

impl Initrd {
    pub(super) fn open(path: &Path) -> Result<Self, BootError> {
        let source = Source::open(Role::Initrd, path)?;
        Ok(Self { source })
    }

    /// The place in low RAM that ends at or below `addr_max` and begins at or above `kernel_end`.
    pub(super) fn place(
        &self,
        layout: &Layout,
        kernel_end: u64,
        addr_max: u64,
    ) -> Result<Range, BootError> {
        let reach = addr_max.saturating_add(1).min(mmio::HOLE.start);
        let limit = layout.low_ram().end().min(reach);
        let floor = kernel_end.max(boot::HIGH_MEMORY).next_multiple_of(PAGE);
        let size = self.source.len();
        let start = limit.checked_sub(size).map(|start| start / PAGE * PAGE);
        match start.filter(|start| *start >= floor) {
            Some(start) => Ok(Range::new(start, size)),
            None => Err(BootError::InitrdPlace {
                path: self.source.path().to_owned(),
                size,
                room: limit.saturating_sub(floor),
                memory: layout.memory(),
                most: reach.saturating_sub(floor),
            }),
        }
    }

    pub(super) fn load(&self, mem: &GuestRam, place: &Range) -> Result<(), BootError> {
        self.source.load(mem, 0, place.len, place.start)
    }
}
