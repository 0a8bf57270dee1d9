//! The devices of the PC platform.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::{ground, legacy};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        legacy::run(data);
    }
);
