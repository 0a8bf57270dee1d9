//! Loading a guest: from the files that it is started from to RAM contents and the state in which
//! its first vCPU begins. Knows nothing of KVM.
//!
//! Two steps, so that bad files are reported before any machine is made: [`Images::open`] opens,
//! recognises and unpacks, [`Images::load`] fills guest RAM.

mod bzimage;
mod cache;
mod cmdline;
mod elf;
mod error;
mod fields;
mod file_kind;
mod firmware;
mod initrd;
mod kernel;
mod params;
mod pvh;
mod regs;
mod source;
mod sparse;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod unpack;

use std::fs::File;
use std::path::Path;

use devices::GuestRam;
use vm_memory::GuestAddress;

pub use error::{BootError, Role};
pub use file_kind::FileKind;
pub use regs::{CpuMode, EntryState, Segment};
pub use unpack::Compression;

use crate::layout::{Layout, Range};
use initrd::Initrd;
use kernel::{Entry, Kernel};

/// What a guest is started from.
#[derive(Debug, Clone, Copy)]
pub struct BootSpec<'a> {
    /// A bzImage or an ELF kernel.
    pub kernel: &'a Path,
    /// The initial RAM disk.
    pub initrd: Option<&'a Path>,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// The folder where unpacked kernels are kept; without one, a bzImage is unpacked each time.
    pub cache: Option<&'a Path>,
}

/// The opened and checked files of a guest.
#[derive(Debug)]
pub struct Images {
    kernel: Kernel,
    initrd: Option<Initrd>,
    cmdline: String,
}

impl Images {
    /// Opens what `spec` names and checks that it can be booted at all.
    ///
    /// # Errors
    /// A file is missing, unreadable, damaged or something else than it should be; the command line
    /// is too long or not one line.
    pub fn open(spec: &BootSpec<'_>) -> Result<Self, BootError> {
        let initrd = spec.initrd.map(Initrd::open).transpose()?;
        let kernel = Kernel::open(spec.kernel, spec.cache)?;
        cmdline::check(spec.cmdline, kernel.cmdline_max())?;
        Ok(Self {
            kernel,
            initrd,
            cmdline: spec.cmdline.to_owned(),
        })
    }

    /// Checks that everything fits into the machine.
    ///
    /// # Errors
    /// The kernel wants addresses that are not free RAM, or the initrd finds no room.
    pub fn check(&self, layout: &Layout) -> Result<(), BootError> {
        self.place(layout).map(drop)
    }

    /// Where the initrd goes, once the kernel has its place.
    fn place(&self, layout: &Layout) -> Result<Option<Range>, BootError> {
        self.kernel.check(layout)?;
        let place = |initrd: &Initrd| {
            initrd.place(layout, self.kernel.end(), self.kernel.initrd_addr_max())
        };
        self.initrd.as_ref().map(place).transpose()
    }

    /// Fills guest RAM, which must be zero as it was mapped, and returns how the first vCPU begins.
    /// `rsdp` is where the guest finds its ACPI tables.
    ///
    /// # Errors
    /// As [`Images::check`]; or a file changed or became unreadable.
    pub fn load(
        &self,
        mem: &GuestRam,
        layout: &Layout,
        rsdp: GuestAddress,
    ) -> Result<EntryState, BootError> {
        let initrd = self.place(layout)?;
        self.kernel.load(mem)?;
        if let (Some(image), Some(place)) = (&self.initrd, &initrd) {
            image.load(mem, place)?;
        }
        cmdline::write(mem, &self.cmdline)?;
        firmware::write(mem)?;
        match self.kernel.entry() {
            Entry::Linux64(rip) => {
                let header = self.kernel.header();
                let params = params::build(layout, header, self.cmdline.len(), initrd, rsdp);
                params::write(mem, params)?;
                regs::linux64(mem, rip, self.kernel.end())
            }
            Entry::Pvh(rip) => {
                let start_info = pvh::write(mem, layout, initrd, rsdp)?;
                regs::pvh(mem, rip, start_info)
            }
        }
    }
}

/// Opens the kernel at `path` for reading what is in it: an ELF file, which a bzImage is unpacked to (and kept in the folder
/// `cache`, if there is one). What follows the kernel in the file is not its own.
///
/// # Errors
/// As [`Images::open`], for the kernel.
pub fn open_elf(path: &Path, cache: Option<&Path>) -> Result<File, BootError> {
    Kernel::open(path, cache)?.into_file()
}

/// Opens what `spec` names and fills guest RAM with it: [`Images::open`] and [`Images::load`].
///
/// # Errors
/// As theirs.
pub fn load(
    mem: &GuestRam,
    layout: &Layout,
    spec: &BootSpec<'_>,
    rsdp: GuestAddress,
) -> Result<EntryState, BootError> {
    Images::open(spec)?.load(mem, layout, rsdp)
}

#[cfg(test)]
mod tests;
