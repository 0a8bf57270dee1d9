//! A share over virtio-fs: FUSE.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::subject::Fuse;
use pcp_vmm_fuzz::{device, ground};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        device::run(Fuse::default(), data);
    }
);
