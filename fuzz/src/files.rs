//! Files that a user hands over: a bundle's manifest, kernels, disk images.

use std::fs;
use std::sync::OnceLock;

use devices::virtio::testing::ram;
use guest::bundle::Bundle;
use vm_memory::GuestAddress;
use vmm::boot::{self, BootSpec};
use vmm::layout::Layout;

use crate::ground::Folder;

/// Memory of the machine that a kernel is loaded into.
const MEMORY: u64 = 32 << 20;
/// Where it finds its ACPI tables.
const RSDP: GuestAddress = GuestAddress(0xe_0000);

/// A folder for all inputs, with the files that a manifest may name.
fn folder() -> &'static Folder {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Folder::new();
        for name in ["kernel", "initrd", "root"] {
            let _ = folder.file(name, name.as_bytes());
        }
        fs::create_dir(folder.path().join("folder")).expect("a folder");
        folder
    })
}

/// Loads a bundle with this manifest; whether it is one.
///
/// # Panics
/// A manifest that was read is not written, or not read again as the same.
#[must_use]
pub fn bundle(manifest: &[u8]) -> bool {
    let folder = folder();
    let _ = folder.file("bundle.json", manifest);
    let Ok(bundle) = Bundle::load(folder.path()) else {
        return false;
    };
    bundle.write().expect("what was read is written");
    let again = Bundle::load(folder.path()).expect("what was written is read");
    assert_eq!(bundle, again, "a bundle survives being written");
    true
}

/// Loads a kernel of this content into a machine; whether it can be started.
#[must_use]
pub fn kernel(content: &[u8]) -> bool {
    let path = folder().file("vmlinuz", content);
    let spec = BootSpec {
        kernel: &path,
        initrd: None,
        cmdline: "console=ttyS0",
        cache: None,
    };
    let layout = Layout::new(MEMORY, 1).expect("a machine");
    let mem = ram(usize::try_from(MEMORY).unwrap_or_default());
    let loaded = boot::load(&mem, &layout, &spec, RSDP).is_ok();
    let _ = fs::remove_file(path);
    loaded
}
