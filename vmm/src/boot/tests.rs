//! Tests of loading: small kernels made on the spot, good and bad.

mod bad_files;
mod cache;
mod entry;
mod samples;
