//! Tests of the flake, with two versions of Nix and a stand-in of nixpkgs. `PCP_VMM_NIX` names the folder that
//! `cargo xtask test --stage nix` prepares; no network is needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bad_input;
mod flake;
mod goldens;
mod nix;
mod programs;
mod style;

use nix::Nix;
