//! End-to-end tests of the built program: the fixture [`TestVm`], tiny guests, and what checks that nothing is left.
//!
//! `tiny/` holds the tests that any `/dev/kvm` can run, with guests of a few instructions made here; `stock/` those with
//! stock kernels, which need hardware behind KVM (or the lab). The program under test is named by `PCP_VMM_BIN`.

pub mod elf;
pub mod guests;
pub mod initrd;
pub mod kernels;
pub mod leftovers;
pub mod ports;
pub mod ssh;
mod stream;
pub mod time;
mod vm;

pub use stream::Stream;
pub use vm::{Ended, TestVm, program};
