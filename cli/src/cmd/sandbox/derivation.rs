//! What a derivation says of its build in a VM: in the environment, or in a file where it has structured attributes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::thread::available_parallelism;

use serde_json::Value;
use vmm::config::value::MemorySize;

use super::environment::{Environment, JSON};
use crate::args::SandboxArgs;
use crate::diagnostic::Diagnostic;

/// The memory of a VM whose derivation says nothing, in bytes.
const MEMORY: MemorySize = MemorySize(512 << 20);
/// The most vCPUs.
const MOST_CPUS: u32 = 64;
/// Where a derivation's words are found.
#[derive(Debug)]
pub(super) struct Words<'a> {
    environment: &'a Environment,
    /// The structured attributes, if the derivation has them.
    attributes: Option<Value>,
}

impl<'a> Words<'a> {
    /// Those of the environment, and of the file that it names.
    pub(super) fn read(environment: &'a Environment) -> Result<Self, Diagnostic> {
        let read = |path: PathBuf| {
            let failed = || {
                let what = format!(
                    "cannot read the derivation's attributes in `{}`",
                    path.display()
                );
                Diagnostic::usage("derivation", what)
            };
            let text = fs::read(&path).map_err(|error| failed().because(&error))?;
            serde_json::from_slice(&text).map_err(|error| {
                failed()
                    .because(&error)
                    .hint("Nix writes this file; it is JSON")
            })
        };
        let attributes = environment.attributes(&JSON).map(read).transpose()?;
        Ok(Self {
            environment,
            attributes,
        })
    }

    /// The words that are said of `name`; none if nothing is.
    fn list(&self, name: &str) -> Vec<OsString> {
        let found = self.attributes.as_ref().and_then(|all| all.get(name));
        match found {
            Some(Value::Array(all)) => all.iter().filter_map(text).collect(),
            Some(value) => text(value).into_iter().collect(),
            // Nix puts blanks between the strings of a list.
            None => self.environment.get(name).map_or_else(Vec::new, |line| {
                let words = line.as_bytes().split(u8::is_ascii_whitespace);
                let words = words.filter(|word| !word.is_empty());
                words
                    .map(|word| OsString::from_vec(word.to_vec()))
                    .collect()
            }),
        }
    }

    /// What is said of `name`, if it is anything.
    fn one(&self, name: &str) -> Option<OsString> {
        let found = self.attributes.as_ref().and_then(|all| all.get(name));
        let found = match found {
            Some(value) => text(value),
            None => self.environment.get(name),
        };
        found.filter(|text| !text.is_empty())
    }
}

/// A value as Nix puts it into the environment.
fn text(value: &Value) -> Option<OsString> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Bool(true) => Some("1".into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// A build in a VM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Derivation {
    /// The builder and its arguments.
    pub(super) builder: Vec<OsString>,
    pub(super) memory: MemorySize,
    pub(super) cpus: u32,
    /// The image of the first disk.
    pub(super) disk: Option<PathBuf>,
    /// What is the guest's root, if it is a disk.
    pub(super) root: Option<OsString>,
    pub(super) store: PathBuf,
}

impl Derivation {
    /// What `args` and, where they say nothing, `words` say.
    pub(super) fn of(args: &SandboxArgs, words: &Words<'_>) -> Result<Self, Diagnostic> {
        let store = args.store.clone();
        let named = words.environment.get("NIX_STORE").map(PathBuf::from);
        let disk = args.disk_image.clone();
        let disk = disk.or_else(|| words.one("diskImage").map(PathBuf::from));
        let root = words
            .one("mountDisk")
            .or_else(|| args.mount_disk.then(|| "1".into()));
        if root.is_some() && disk.is_none() {
            return Err(
                Diagnostic::usage("derivation", "there is no disk to be the guest's root")
                    .hint("`diskImage` of the derivation, or `--disk-image`, names one"),
            );
        }
        Ok(Self {
            builder: builder(args, words)?,
            memory: args.memory.map_or_else(|| memory(words), Ok)?,
            cpus: args.cpus.map_or_else(|| cpus(words), Ok)?,
            disk,
            root,
            store: store.or(named).unwrap_or_else(|| "/nix/store".into()),
        })
    }
}

fn builder(args: &SandboxArgs, words: &Words<'_>) -> Result<Vec<OsString>, Diagnostic> {
    if !args.builder.is_empty() {
        return Ok(args.builder.clone());
    }
    let program = words.one("origBuilder").ok_or_else(|| {
        Diagnostic::usage("derivation", "there is nothing to build")
            .cause("the derivation has no `origBuilder`")
            .hint("`lib.runInLinuxVM` sets it; without it, the builder comes after `--`")
    })?;
    Ok(std::iter::once(program)
        .chain(words.list("origArgs"))
        .collect())
}

fn memory(words: &Words<'_>) -> Result<MemorySize, Diagnostic> {
    let Some(text) = words.one("memSize") else {
        return Ok(MEMORY);
    };
    let number = text.to_str().and_then(|text| text.parse::<u64>().ok());
    let size = number
        .filter(|mib| *mib > 0)
        .and_then(|mib| mib.checked_mul(1 << 20));
    size.map(MemorySize).ok_or_else(|| {
        let what = format!("`memSize` is `{}`", text.display());
        Diagnostic::usage("derivation", what)
            .hint("it is a number of MiB, as in `memSize = 1024`; `--memory` goes before it")
    })
}

fn cpus(words: &Words<'_>) -> Result<u32, Diagnostic> {
    if words
        .one("enableParallelBuilding")
        .is_none_or(|it| it != "1")
    {
        return Ok(1);
    }
    let Some(text) = words
        .environment
        .get("NIX_BUILD_CORES")
        .filter(|it| !it.is_empty())
    else {
        return Ok(1);
    };
    let number = text.to_str().and_then(|text| text.parse::<u32>().ok());
    let number = number.ok_or_else(|| {
        let what = format!("`NIX_BUILD_CORES` is `{}`", text.display());
        Diagnostic::usage("derivation", what)
            .hint("it is a number, 0 for all processors; `--cpus` goes before it")
    })?;
    let all = || available_parallelism().map_or(1, |it| u32::try_from(it.get()).unwrap_or(1));
    Ok(match number {
        0 => all(),
        number => number,
    }
    .clamp(1, MOST_CPUS))
}

#[cfg(test)]
mod tests;
