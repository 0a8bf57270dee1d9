//! A network card, its control queue, and the user-mode network behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::subject::Card;
use pcp_vmm_fuzz::{device, ground};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        device::run(Card::default(), data);
    }
);
