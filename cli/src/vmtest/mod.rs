//! vmtest's configuration (`vmtest.toml` as vmtest 0.18 documents it), and what its targets are for `exec`.

pub(crate) mod file;
pub(crate) mod order;
