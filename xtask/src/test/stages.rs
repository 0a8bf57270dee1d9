//! The stages of the plan.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::counts::Counts;
use super::{Log, Stage, lab};
use crate::{apt, check, fuzz, kernels, nix, passt, place, release};

pub(super) const PLAN: [Stage; 10] = [
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
        name: "fuzz",
        about: "fuzz targets, two minutes of all",
        needs: &["set-up"],
        run: fuzz,
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
        name: "nix",
        about: "the flake, with two versions of Nix",
        needs: &["release"],
        run: nix,
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
        // The flake's programs act on a guest too.
        needs: &["release", "nix"],
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
    // What sets a network up.
    apt::ensure(&["nftables", "procps", "acl"])?;
    // What PCP's scripts use.
    apt::ensure(&["expect", "netcat-openbsd", "sshpass"])?;
    // What they do with files.
    apt::ensure(&[
        "fio",
        "git",
        "sqlite3",
        "stress-ng",
        "attr",
        "python3",
        "e2fsprogs",
    ])?;
    // The script and the action for CI.
    apt::ensure(&["shellcheck", "python3-yaml"])?;
    // A signed mirror for the tests of fetched kernels.
    apt::ensure(&["gnupg", "kmod"])?;
    apt::ensure(&["qemu-system-x86"])?;
    // Debian 12 has a virtiofsd in another package.
    let virtiofsd = match apt::release()?.as_str() {
        "bookworm" => "qemu-system-common",
        _ => "virtiofsd",
    };
    apt::ensure(&[virtiofsd])?;
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

fn fuzz(log: &mut Log) -> Result<Counts> {
    let report = fuzz::stage(2.0)?;
    log.line(&report.table())?;
    Ok(Counts {
        passed: report.clean(),
        failed: report.findings(),
        skipped: 0,
    })
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

fn nix(log: &mut Log) -> Result<Counts> {
    let place = nix::ensure()?;
    let mut test = cargo(&[
        "test",
        "--package",
        "pcp-vmm-tests",
        "--locked",
        "--test",
        "nix",
    ]);
    test.env("PCP_VMM_BIN", release::path())
        .env("PCP_VMM_NIX", place)
        // The flake's own folder is changed under a test that runs; one at a time is fast enough.
        .args(["--", "--test-threads=1"]);
    log.tests(&mut test)
}

fn stock(log: &mut Log) -> Result<Counts> {
    let plan = lab::Plan {
        program: &test_program("stock")?,
        lab: Vec::new(),
        env: vec![
            ("PCP_VMM_KERNELS", kernels::ensure()?),
            ("PCP_VMM_PASST", passt::ensure()?),
        ],
        batch: 6,
        limit: 1200,
        quiet: 420,
    };
    plan.run(log)
}

fn variants(log: &mut Log) -> Result<Counts> {
    let images = place::cache()?.join("images");
    let mut lab = Vec::new();
    for variant in ["base", "bpf"] {
        log.must(&mut release::image_command(variant))?;
        // A guest's root is a folder of many small files.
        let image = images.join(variant);
        let image = image.to_str().context("the cache's path is not UTF-8")?;
        lab.extend(["--image-of".to_owned(), image.to_owned()]);
    }
    // Made once, not by two labs at the same time.
    let xtask = env::current_exe().context("cannot find this program")?;
    log.must(
        Command::new(xtask)
            .arg("lab")
            .args(&lab)
            .args(["--", "true"]),
    )?;
    // BPF programs, and the kernels that they run on.
    apt::ensure(&["bpftrace", "libbpf-tools"])?;
    // Derivations that are built in VMs.
    apt::ensure(&["nix-bin", "busybox-static"])?;
    for series in ["6.1", "6.12", "7.2"] {
        ensure_kernel(series, log)?;
    }
    let plan = lab::Plan {
        program: &test_program("variants")?,
        lab,
        env: vec![
            ("PCP_VMM_IMAGES", images),
            ("PCP_VMM_CACHE", place::cache()?),
            ("PCP_VMM_NIX", nix::place()),
        ],
        batch: 1,
        limit: 900,
        quiet: 600,
    };
    plan.run(log)
}

/// Has the program's own cache hold a kernel of `series`.
fn ensure_kernel(series: &str, log: &mut Log) -> Result<()> {
    let kernel = |verb: &str| {
        let mut command = Command::new(release::path());
        command.args(["kernel", verb, series]);
        command
    };
    let (_, is_there) = log.run(&mut kernel("show"))?;
    if !is_there {
        log.must(&mut kernel("add"))?;
    }
    Ok(())
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
