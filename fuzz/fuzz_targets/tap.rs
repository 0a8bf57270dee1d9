//! A network card with several pairs of queues: on a TAP, and on back ends that see that the card keeps its side.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::subject::Plugged;
use pcp_vmm_fuzz::{device, ground};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        device::run(Plugged::default(), data);
    }
);
