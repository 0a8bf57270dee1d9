//! Kernels: bzImage and ELF.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::{files, ground};

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        let _ = files::kernel(data);
    }
);
