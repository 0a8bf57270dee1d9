//! qcow2 images.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcp_vmm_fuzz::ground;
use pcp_vmm_fuzz::subject::Image;

fuzz_target!(
    init: ground::fence(),
    |data: &[u8]| {
        let _ = Image::new(data).run();
    }
);
