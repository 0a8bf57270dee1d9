//! Which tests there are, and which of them are run.

use std::path::Path;

use guest::variant;

use crate::diagnostic::Diagnostic;
use crate::network::{BRIDGE, TAP};

/// What the name of a test on the TAP ends with.
const SUFFIX: &str = "-tap";
/// The variant that PCP documents no TAP for.
const NO_TAP: &str = "bpf";

/// A test: a guest of a variant, on the user network or a TAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its name: the variant's, with `-tap` on a TAP.
    pub(crate) name: String,
    /// The variant.
    pub(crate) variant: String,
    /// Whether it is on the TAP.
    pub(crate) tap: bool,
}

impl Case {
    /// All tests: each variant on the user network, then on the TAP.
    pub(crate) fn all() -> Result<Vec<Self>, Diagnostic> {
        let variants = variant::all().map_err(|error| {
            Diagnostic::failure("variant", "cannot list the variants").because(&error)
        })?;
        let case = |variant: &variant::Variant, tap: bool| Self {
            name: format!("{}{}", variant.name, if tap { SUFFIX } else { "" }),
            variant: variant.name.clone(),
            tap,
        };
        let user = variants.iter().map(|variant| case(variant, false));
        let with_tap = variants.iter().filter(|variant| variant.name != NO_TAP);
        let tap = with_tap.map(|variant| case(variant, true));
        Ok(user.chain(tap).collect())
    }

    /// The test called `name`.
    pub(crate) fn find(name: &str) -> Result<Self, Diagnostic> {
        let mut all = Self::all()?;
        match all.iter().position(|case| case.name == name) {
            Some(index) => Ok(all.swap_remove(index)),
            None => Err(unknown(&all, name)),
        }
    }

    /// Those of all tests that `only` names, or all if it names none, without those that `skip` names.
    pub(crate) fn select(only: &[String], skip: &[String]) -> Result<Vec<Self>, Diagnostic> {
        let mut all = Self::all()?;
        for name in only.iter().chain(skip) {
            if !all.iter().any(|case| case.name == *name) {
                return Err(unknown(&all, name));
            }
        }
        all.retain(|case| only.is_empty() || only.contains(&case.name));
        all.retain(|case| !skip.contains(&case.name));
        if all.is_empty() {
            return Err(Diagnostic::usage("nothing-to-do", "no test is left to run")
                .hint("`--skip` names all that `--only` names"));
        }
        Ok(all)
    }

    /// Why it cannot be run on this machine, whose network devices are in `devices`.
    pub(crate) fn obstacle(&self, devices: &Path) -> Option<String> {
        if !self.tap {
            return None;
        }
        let missing = |name: &&str| !devices.join(name).exists();
        let missing: Vec<&str> = [BRIDGE, TAP].into_iter().filter(missing).collect();
        (!missing.is_empty()).then(|| {
            format!(
                "the TAP network is not set up: no {}; `sudo pcp-vmm network setup` does it",
                missing.join(", no ")
            )
        })
    }
}

fn unknown(all: &[Case], name: &str) -> Diagnostic {
    let what = format!("there is no test `{}`", name.escape_debug());
    let names: Vec<&str> = all.iter().map(|case| case.name.as_str()).collect();
    Diagnostic::usage("variant", what).hint(format!("there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str], skip: &[&str]) -> Result<Vec<String>, Diagnostic> {
        let owned = |names: &[&str]| names.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let cases = Case::select(&owned(only), &owned(skip))?;
        Ok(cases.into_iter().map(|case| case.name).collect())
    }

    #[test]
    fn all_variants_are_tested_and_those_with_a_tap_twice() {
        let all = names(&[], &[]).unwrap();
        assert_eq!(
            all,
            [
                "base",
                "eval",
                "grafana",
                "bpf",
                "base-tap",
                "eval-tap",
                "grafana-tap"
            ]
        );
        let tap = Case::find("eval-tap").unwrap();
        assert_eq!((tap.variant.as_str(), tap.tap), ("eval", true));
        assert!(Case::find("bpf-tap").is_err());
    }

    #[test]
    fn only_and_skip_choose_and_unknown_names_are_refused() {
        assert_eq!(names(&["bpf", "base"], &[]).unwrap(), ["base", "bpf"]);
        assert_eq!(names(&["bpf", "base"], &["base"]).unwrap(), ["bpf"]);
        assert!(names(&["bass"], &[]).is_err());
        assert!(names(&[], &["x"]).is_err());
        assert!(names(&["base"], &["base"]).is_err());
    }

    #[test]
    fn a_tap_needs_its_network() {
        let devices = tempfile::tempdir().unwrap();
        let tap = Case::find("base-tap").unwrap();
        assert_eq!(Case::find("base").unwrap().obstacle(devices.path()), None);
        let why = tap.obstacle(devices.path()).unwrap();
        assert!(why.contains("no pcpbr0, no pcptap0;"), "{why}");
        std::fs::create_dir(devices.path().join(BRIDGE)).unwrap();
        std::fs::create_dir(devices.path().join(TAP)).unwrap();
        assert_eq!(tap.obstacle(devices.path()), None);
    }
}
