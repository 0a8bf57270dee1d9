//! A share over virtio-9p: 9P2000.L.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::subject::NineP;
use pcp_vmm_fuzz::{device, ground};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        device::run(NineP::default(), data);
    }
);
