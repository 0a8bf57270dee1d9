//! The firmware's files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::{ground, machine};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        machine::read_files(data);
    }
);
