//! What a suite offers: its kernel packages, as apt's index tells of them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::version;
use crate::image::KernelFlavour;

/// A kernel that a suite has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Its release, as `uname -r` tells it: `6.12.57+deb13-cloud-amd64`.
    pub release: String,
    /// The package's version: `6.12.57-1`.
    pub version: String,
    /// The flavour.
    pub flavour: KernelFlavour,
    /// The suite.
    pub suite: String,
    /// The bytes to fetch.
    pub size: u64,
    /// The packages that it consists of.
    #[serde(skip)]
    pub(super) packages: Vec<Package>,
}

/// A package of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file, as the signed index has it.
    pub sha256: String,
}

/// A stanza of the index that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) package: Package,
    pub(super) size: u64,
    /// The packages of exactly this version that it needs.
    pub(super) parts: Vec<String>,
}

const IMAGE: &str = "linux-image-";

impl Offer {
    /// The release and the flavour that the package `name` is of, if it is a kernel's for this machine.
    pub(super) fn named(name: &str) -> Option<(&str, KernelFlavour)> {
        let release = name.strip_prefix(IMAGE)?;
        let stem = release.strip_suffix("-amd64")?;
        if !release.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        match stem.strip_suffix("-cloud") {
            Some(_) => Some((release, KernelFlavour::Cloud)),
            // Other flavours, such as the real-time one.
            None if stem.ends_with("-rt") => None,
            None => Some((release, KernelFlavour::Standard)),
        }
    }

    /// The offers among `stanzas`, each with its parts, the newest first.
    pub(super) fn all(suite: &str, stanzas: &[Stanza]) -> Vec<Self> {
        let mut offers: Vec<Self> = stanzas
            .iter()
            .filter_map(|image| {
                let (release, flavour) = Self::named(&image.package.name)?;
                let parts = image.parts.iter().map(|part| {
                    stanzas.iter().find(|it| {
                        it.package.name == *part && it.package.version == image.package.version
                    })
                });
                let all: Option<Vec<_>> = [Some(image)].into_iter().chain(parts).collect();
                // One whose parts are not there cannot be had.
                let all = all?;
                Some(Self {
                    release: release.to_owned(),
                    version: image.package.version.clone(),
                    flavour,
                    suite: suite.to_owned(),
                    size: all.iter().map(|it| it.size).sum(),
                    packages: all.into_iter().map(|it| it.package.clone()).collect(),
                })
            })
            .collect();
        offers.sort_by(|a, b| b.order(a));
        offers.dedup();
        offers
    }

    fn order(&self, other: &Self) -> Ordering {
        version::compare(&self.version, &other.version)
            .then_with(|| other.flavour.cmp(&self.flavour))
    }

    /// Whether `wanted` names it: by its release, its package's version, or how one of them begins.
    pub(super) fn is_named(&self, wanted: &str) -> bool {
        names(wanted, &self.release, &self.version)
    }
}

/// Whether `wanted` names the kernel `release` of the package version `version`.
pub(super) fn names(wanted: &str, release: &str, version: &str) -> bool {
    version::begins(version, wanted) || version::begins(release, wanted)
}

/// The stanzas in the output of `apt-cache show` (Debian Policy Manual 4.7 §5.1: paragraphs of `Field: value`).
pub(super) fn stanzas(text: &str) -> Vec<Stanza> {
    text.split("\n\n").filter_map(stanza).collect()
}

fn stanza(paragraph: &str) -> Option<Stanza> {
    let field = |name: &str| {
        paragraph
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let package = Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        sha256: field("SHA256")?.to_owned(),
    };
    let exactly = format!(" (= {})", package.version);
    let parts = field("Depends")
        .unwrap_or_default()
        .split(", ")
        .filter_map(|needed| needed.strip_suffix(&exactly))
        .map(str::to_owned)
        .collect();
    Some(Stanza {
        size: field("Size")?.parse().ok()?,
        package,
        parts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: linux-image-6.12.9+deb13-amd64
Version: 6.12.9-1
Depends: kmod, linux-base (>= 4.3~)
Size: 100
SHA256: aa

Package: linux-image-6.12.57+deb13-cloud-amd64
Version: 6.12.57-1
Size: 30
SHA256: bb

Package: linux-image-7.2.12+deb13-amd64
Version: 7.2.12-1~bpo13+1
Depends: dracut | initramfs-tools, linux-binary-7.2.12+deb13-amd64 (= 7.2.12-1~bpo13+1)
Size: 2
SHA256: cc

Package: linux-binary-7.2.12+deb13-amd64
Version: 7.2.12-1~bpo13+1
Size: 40
SHA256: dd

Package: linux-image-7.2.13+deb13-amd64
Version: 7.2.13-1
Depends: linux-binary-7.2.13+deb13-amd64 (= 7.2.13-1)
Size: 2
SHA256: ee
";

    #[test]
    fn an_offer_has_the_parts_that_it_needs_and_the_newest_is_first() {
        let offers = Offer::all("trixie", &stanzas(INDEX));
        let told: Vec<_> = offers.iter().map(|it| (&*it.release, it.size)).collect();
        assert_eq!(
            told,
            [
                ("7.2.12+deb13-amd64", 42),
                ("6.12.57+deb13-cloud-amd64", 30),
                ("6.12.9+deb13-amd64", 100)
            ]
        );
        let sums: Vec<_> = offers[0].packages.iter().map(|it| &*it.sha256).collect();
        assert_eq!(sums, ["cc", "dd"]);
    }

    #[test]
    fn only_kernels_of_the_two_flavours_are_offered() {
        let flavour = |name| Offer::named(name).map(|(_, flavour)| flavour);
        assert_eq!(
            flavour("linux-image-6.1.0-41-amd64"),
            Some(KernelFlavour::Standard)
        );
        assert_eq!(
            flavour("linux-image-6.1.0-41-cloud-amd64"),
            Some(KernelFlavour::Cloud)
        );
        for other in [
            "linux-image-amd64",
            "linux-image-6.1.0-41-rt-amd64",
            "linux-image-6.1.0-41-amd64-dbg",
            "linux-image-6.1.0-41-amd64-unsigned",
            "linux-headers-6.1.0-41-amd64",
        ] {
            assert_eq!(flavour(other), None, "{other}");
        }
    }

    #[test]
    fn a_kernel_is_named_by_release_and_by_version() {
        let (release, version) = ("6.1.0-41-cloud-amd64", "6.1.158-1");
        for wanted in [
            "6",
            "6.1",
            "6.1.158",
            "6.1.158-1",
            "6.1.0-41",
            "6.1.0-41-cloud-amd64",
        ] {
            assert!(names(wanted, release, version), "{wanted}");
        }
        for other in ["6.12", "6.1.15", "6.1.0-4", "cloud"] {
            assert!(!names(other, release, version), "{other}");
        }
    }
}
