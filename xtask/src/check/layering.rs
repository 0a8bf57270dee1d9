//! Which crate may use which, and which modules may talk to KVM or be unsafe.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Finding;
use super::source::Source;
use crate::{command, place};

/// What each crate may depend on among the project's own.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("pcp-vmm-cli", &["vmm", "guest"]),
    ("vmm", &["devices", "guest"]),
    ("devices", &[]),
    ("guest", &[]),
    ("xtask", &["guest", "pcp-vmm-tests"]),
    ("pcp-vmm-tests", &["guest"]),
    ("pcp-vmm-fuzz", &["devices", "guest", "vmm"]),
];
/// Crates that only `vmm` may depend on: what they do would tie a device to KVM.
const KVM_CRATES: [&str; 2] = ["kvm-ioctls", "kvm-bindings"];
/// The modules that may hold unsafe code.
const UNSAFE_MODULES: [&str; 5] = [
    "vmm/src/kvm",
    "vmm/src/memory",
    "vmm/src/sandbox/sys",
    "devices/src/sys",
    "guest/init",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    uses_default_features: bool,
    features: Vec<String>,
}

impl Dependency {
    /// Whether it builds the guest's init, for which Rust's static target must be there.
    fn wants_target(&self) -> bool {
        let image = self.features.iter().any(|it| it == "image");
        self.name == "guest" && (image || self.uses_default_features)
    }
}

/// Checks the dependencies in the crates' manifests.
pub(super) fn crates() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for manifest in ["Cargo.toml", super::FUZZ] {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .args(["--manifest-path", manifest])
            .current_dir(place::top());
        let text = command::text(&mut cargo)?;
        let metadata: Metadata =
            serde_json::from_str(&text).context("cannot read cargo's metadata")?;
        findings.extend(wrong_edges(&metadata));
    }
    Ok(findings)
}

fn wrong_edges(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let allowed = MAY_USE.iter().find(|(name, _)| *name == package.name);
        let Some((_, allowed)) = allowed else {
            findings.push(Finding::new(&package.name, "has no place in the layering"));
            continue;
        };
        for dependency in &package.dependencies {
            let wants_target = dependency.wants_target();
            if wants_target && package.name == "xtask" {
                let what =
                    "adds the static target, so it must build without: `guest` without `image`";
                findings.push(Finding::new(&package.name, what));
            }
            let dependency = dependency.name.as_str();
            let ours = MAY_USE.iter().any(|(name, _)| *name == dependency);
            let kvm = KVM_CRATES.contains(&dependency) && package.name != "vmm";
            if (ours && !allowed.contains(&dependency)) || kvm {
                findings.push(Finding::new(
                    &package.name,
                    format!("must not use `{dependency}`"),
                ));
            }
        }
    }
    findings
}

/// Only `vmm::kvm` names KVM's system calls.
pub(super) fn kvm(sources: &[Source]) -> Vec<Finding> {
    named(sources, "kvm_ioctls", &["vmm/src/kvm"])
}

/// Unsafe code and the permission for it are in the listed modules alone.
pub(super) fn unsafe_modules(sources: &[Source]) -> Vec<Finding> {
    let mut findings = named(sources, "unsafe", &UNSAFE_MODULES);
    findings.extend(named(sources, "unsafe_code", &UNSAFE_MODULES));
    findings
}

/// Production code with the word `word` outside `modules`.
fn named(sources: &[Source], word: &str, modules: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources
        .iter()
        .filter(|source| !inside(&source.path, modules))
    {
        for (index, line) in source.code.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|it| it == word) {
                findings.push(Finding::new(source.line(index), format!("names `{word}`")));
            }
        }
    }
    findings
}

/// Whether the file `path` is one of `modules` or inside it.
pub(super) fn inside(path: &str, modules: &[&str]) -> bool {
    modules.iter().any(|module| {
        path.strip_prefix(module)
            .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_outside_its_modules_is_found() {
        let text = "// unsafe\nfn f() {\n    unsafe { g() }\n}\n";
        let sources = [
            "vmm/src/kvm/vm.rs",
            "vmm/src/memory.rs",
            "vmm/src/kvmx.rs",
            "cli/src/main.rs",
        ]
        .map(|path| Source::new(path, text));
        let places: Vec<_> = unsafe_modules(&sources)
            .into_iter()
            .map(|it| it.place)
            .collect();
        assert_eq!(places, ["vmm/src/kvmx.rs:3", "cli/src/main.rs:3"]);
    }

    #[test]
    fn kvm_is_found_outside_its_layer() {
        let source = Source::new("vmm/src/vcpu/mod.rs", "use kvm_ioctls::VcpuFd;\n");
        assert_eq!(
            kvm(&[source]),
            [Finding::new("vmm/src/vcpu/mod.rs:1", "names `kvm_ioctls`")]
        );
    }

    #[test]
    fn an_edge_upwards_is_found() {
        let edge = |from: &str, to: &str| edges(from, to, false, &[]);
        assert_eq!(edge("devices", "vmm"), 1);
        assert_eq!(edge("devices", "kvm-bindings"), 1);
        assert_eq!(edge("vmm", "devices"), 0);
        assert_eq!(edge("vmm", "pcp-vmm-cli"), 1);
        assert_eq!(edge("newcomer", "log"), 1);
    }

    #[test]
    fn what_adds_the_static_target_must_build_without_it() {
        assert_eq!(edges("xtask", "guest", false, &[]), 0);
        assert_eq!(edges("xtask", "guest", true, &[]), 1);
        assert_eq!(edges("xtask", "guest", false, &["image"]), 1);
        assert_eq!(edges("pcp-vmm-cli", "guest", false, &["image"]), 0);
    }

    fn edges(from: &str, to: &str, default: bool, features: &[&str]) -> usize {
        let dependency = Dependency {
            name: to.into(),
            uses_default_features: default,
            features: features.iter().map(|&it| it.into()).collect(),
        };
        let packages = vec![Package {
            name: from.into(),
            dependencies: vec![dependency],
        }];
        wrong_edges(&Metadata { packages }).len()
    }
}
