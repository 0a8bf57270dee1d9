//! The stages of the plan.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::counts::Counts;
use super::{Log, Stage, judge};
use crate::{apt, check, kernels, place, release};

/// The longest that the tests of a stage may take in the lab, in seconds.
const LAB_LIMIT: u32 = 1200;
/// The lab's exit status when it hung.
const HUNG: i32 = 124;

pub(super) const PLAN: [Stage; 8] = [
    Stage {
        name: "set-up",
        about: "what the machine lacks",
        needs: &[],
        run: set_up,
    },
    Stage {
        name: "check",
        about: "format, lints, rules",
        needs: &["set-up"],
        run: rules,
    },
    Stage {
        name: "docs",
        about: "the API's documents",
        needs: &["set-up"],
        run: docs,
    },
    Stage {
        name: "unit",
        about: "tests without KVM",
        needs: &["set-up"],
        run: unit,
    },
    Stage {
        name: "release",
        about: "a small static binary",
        needs: &["set-up"],
        run: binary,
    },
    Stage {
        name: "tiny",
        about: "tiny guests on /dev/kvm",
        needs: &["release"],
        run: tiny,
    },
    Stage {
        name: "stock",
        about: "stock kernels in the lab",
        needs: &["release"],
        run: stock,
    },
    Stage {
        name: "variants",
        about: "the PCP guests in the lab",
        needs: &["release"],
        run: variants,
    },
];

fn done() -> Result<Counts> {
    Ok(Counts::default())
}

fn set_up(log: &mut Log) -> Result<Counts> {
    log.line("packages and Rust's target")?;
    release::set_up()?;
    // The guests of the end-to-end tests speak SSH.
    apt::ensure(&["openssh-client", "iproute2", "curl", "socat"])?;
    done()
}

fn rules(log: &mut Log) -> Result<Counts> {
    let outcome = check::run(|line| {
        // A log that cannot be written shows in the next stage.
        let _ = log.line(line);
    })?;
    Ok(Counts {
        passed: outcome.kept,
        failed: outcome.broken,
        skipped: 0,
    })
}

fn docs(log: &mut Log) -> Result<Counts> {
    let mut doc = cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--locked",
    ]);
    // Private items are documented too, so links to them resolve.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    log.must(doc.env("RUSTDOCFLAGS", flags))?;
    done()
}

fn unit(log: &mut Log) -> Result<Counts> {
    if apt::which("cargo-nextest").is_none() {
        return log.tests(&mut cargo(&[
            "test",
            "--workspace",
            "--locked",
            "--no-fail-fast",
        ]));
    }
    let run = [
        "nextest",
        "run",
        "--workspace",
        "--locked",
        "--no-fail-fast",
        "--color=never",
    ];
    let tests = log.tests(&mut cargo(&run))?;
    // nextest leaves the documents' examples out, of which there may be none.
    let (said, success) = log.run(&mut cargo(&["test", "--doc", "--workspace", "--locked"]))?;
    let examples = super::counts::read(&said);
    if !success && examples.failed == 0 {
        bail!("the documents' examples cannot be built");
    }
    Ok(tests + examples)
}

fn binary(log: &mut Log) -> Result<Counts> {
    log.must(&mut release::build_command())?;
    let size = release::check(&release::path())?;
    log.line(&format!("static, {size} bytes"))?;
    Ok(Counts {
        passed: 2,
        ..Counts::default()
    })
}

fn tiny(log: &mut Log) -> Result<Counts> {
    let device = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm");
    device.context(
        "cannot open /dev/kvm: load kvm_amd or kvm_intel, or join its group, then run again",
    )?;
    let mut test = cargo(&[
        "test",
        "--package",
        "pcp-vmm-tests",
        "--locked",
        "--test",
        "tiny",
    ]);
    log.tests(test.env("PCP_VMM_BIN", release::path()))
}

fn stock(log: &mut Log) -> Result<Counts> {
    let kernels = kernels::ensure()?;
    let program = test_program("stock")?;
    in_lab(log, |lab| {
        lab.arg("--").arg(&program).env("PCP_VMM_KERNELS", &kernels);
    })
}

fn variants(log: &mut Log) -> Result<Counts> {
    let images = place::cache()?.join("images");
    let program = test_program("variants")?;
    for variant in ["base", "bpf"] {
        log.must(&mut release::image_command(variant))?;
    }
    in_lab(log, |lab| {
        for variant in ["base", "bpf"] {
            // A guest's root is a folder of many small files.
            lab.arg("--image-of").arg(images.join(variant));
        }
        lab.arg("--").arg(&program).env("PCP_VMM_IMAGES", &images);
    })
}

/// Runs a test program in the lab. QEMU's emulation of a processor within a processor sometimes
/// hangs or crashes a guest: what fails there is tried once more, and the log and the terminal say so.
fn in_lab(log: &mut Log, program: impl Fn(&mut Command)) -> Result<Counts> {
    let xtask = env::current_exe().context("cannot find this program")?;
    let lab = |only: &[String]| {
        let mut lab = Command::new(&xtask);
        lab.args(["lab", "--verbose", "--timeout", &LAB_LIMIT.to_string()]);
        program(&mut lab);
        lab.args(["--test-threads", "1"]);
        if !only.is_empty() {
            lab.arg("--exact").args(only);
        }
        lab.current_dir(place::top())
            .env("PCP_VMM_BIN", release::path());
        lab
    };
    let (said, status) = log.status(&mut lab(&[]))?;
    let first = super::counts::read(&said);
    let failed = super::counts::failed(&said);
    if status.code() == Some(HUNG) && first == Counts::default() {
        log.tell("the lab hung; once more")?;
        return log.tests(&mut lab(&[]));
    }
    if failed.is_empty() {
        return judge(&lab(&[]), &said, status.success());
    }
    log.tell(&format!(
        "failed in the lab, once more: {}",
        failed.join(", ")
    ))?;
    let again = log.tests(&mut lab(&failed))?;
    Ok(Counts {
        failed: again.failed,
        passed: first.passed + again.passed,
        skipped: first.skipped,
    })
}

#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

/// Builds one test program of the end-to-end crate, to be run in the lab.
fn test_program(name: &str) -> Result<PathBuf> {
    let mut build = cargo(&["test", "--package", "pcp-vmm-tests", "--locked", "--no-run"]);
    build.args(["--test", name, "--message-format", "json"]);
    let messages = crate::command::text(&mut build)?;
    let mut executables = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok()?.executable);
    executables
        .next_back()
        .with_context(|| format!("cargo built no test program `{name}`"))
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(place::top());
    cargo
}
