//! PCI's configuration space.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::{ground, machine};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        machine::configure(data);
    }
);
