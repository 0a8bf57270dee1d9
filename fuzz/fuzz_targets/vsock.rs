//! The socket device.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::subject::Sockets;
use pcp_vmm_fuzz::{device, ground};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        device::run(Sockets::default(), data);
    }
);
