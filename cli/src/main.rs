//! The command line of pcp-vmm.
fn main() {}
