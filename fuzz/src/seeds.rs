//! Inputs that reach deep: valid conversations with every device, from which the fuzzer departs.

mod bytes;
mod files;
mod fuse;
mod machine;
mod net;
mod ninep;
mod plain;
mod talk;
mod tap;
mod vsock;

/// One input of a corpus.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// Its file's name.
    pub name: &'static str,
    /// What it is.
    pub bytes: Vec<u8>,
    /// How many of its requests are carried out, where that can be told; 1 for a file that is taken.
    pub successful: usize,
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Seed> {
    let mut all = plain::seeds();
    all.extend(fuse::seeds());
    all.extend(ninep::seeds());
    all.extend(vsock::seeds());
    all.extend(net::seeds());
    all.extend(tap::seeds());
    all.extend(talk::seeds());
    all.extend(machine::seeds());
    all.extend(files::seeds());
    all
}
