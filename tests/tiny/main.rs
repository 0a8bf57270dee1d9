//! Tests that any `/dev/kvm` can run: guests of a few instructions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bad_input;
mod ci;
mod console;
mod end;
mod exec;
mod forwards;
mod identifiers;
mod instances;
mod keys;
mod kills;
mod lifecycle;
mod network;
mod qemu;
mod sandbox;
mod services;
mod start;
mod surroundings;
mod unprivileged;
mod verbs;

use std::path::PathBuf;

use pcp_vmm_tests::TestVm;
use pcp_vmm_tests::guests::Code;

/// The flags of a machine around `kernel` that is as small as it gets, and whose console leads nowhere.
fn small(kernel: &str) -> [&str; 8] {
    [
        "--kernel",
        kernel,
        "--memory",
        "128M",
        "--cpus",
        "1",
        "--console",
        "none",
    ]
}

/// A kernel file that lives as long as the value.
struct Guest {
    folder: tempfile::TempDir,
}

impl Guest {
    fn new(code: &Code) -> Self {
        let guest = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        code.write(&guest.kernel()).unwrap();
        guest
    }

    fn kernel(&self) -> PathBuf {
        self.folder.path().join("kernel")
    }

    /// The arguments that run this guest alone, followed by `more`.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let kernel = self.kernel();
        let own = [
            "run",
            "--kernel",
            kernel.to_str().unwrap(),
            "--memory",
            "128M",
            "--cpus",
            "1",
        ];
        own.iter()
            .chain(&["--net", "none"])
            .chain(more)
            .map(|&word| word.into())
            .collect()
    }

    /// Starts this guest with `more` arguments.
    fn run(self, more: &[&str]) -> TestVm {
        let vm = TestVm::start(&self.arguments(more)).unwrap();
        vm.keep(self.folder)
    }

    /// Starts this guest with its serial port at the program's own standard streams.
    fn start(self, more: &[&str]) -> TestVm {
        let more: Vec<_> = ["--console", "stdio"].iter().chain(more).copied().collect();
        self.run(&more)
    }
}
