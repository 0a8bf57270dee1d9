//! What clients of the control socket say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::{ground, talk};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        let _ = talk::run(data);
    }
);
