//! What a vhost-user back end says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::{ground, peer};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        let _ = peer::run(data);
    }
);
