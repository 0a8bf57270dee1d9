//! The MMIO transport of virtio.
#![no_main]

use devices::virtio::testing::MmioDriver;
use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::{ground, transport};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        transport::run::<MmioDriver>(data);
    }
);
