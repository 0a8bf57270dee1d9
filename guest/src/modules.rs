//! Kernel modules: which files a wanted module takes, in the order in which they must be loaded.
//!
//! The answer comes from the indexes that depmod leaves beside the modules: `modules.dep` (hard
//! dependencies), `modules.softdep`, `modules.alias` (names by which soft dependencies go), and
//! `modules.builtin` (what the kernel has in itself).

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// A module larger than this is refused: the largest of a distribution have a tenth of it.
const MAX_MODULE_BYTES: u64 = 256 << 20;

/// Why modules cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A file of the module tree cannot be read or unpacked.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// The kernel has no such module, neither loadable nor built in.
    #[error("the kernel of `{}` has no module `{name}`", tree.display())]
    Missing {
        /// The module tree.
        tree: PathBuf,
        /// The module's name.
        name: String,
    },
}

/// A module to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The name as `lsmod` shows it.
    pub name: String,
    /// The file, perhaps compressed.
    pub path: PathBuf,
}

/// The modules of one kernel: a folder such as `/lib/modules/6.12.48-amd64`.
#[derive(Debug)]
pub struct ModuleTree {
    root: PathBuf,
    /// File and hard dependencies (all of them, the deepest last), by name.
    files: HashMap<String, (String, Vec<String>)>,
    soft: HashMap<String, Soft>,
    aliases: HashMap<String, Vec<String>>,
    builtin: HashSet<String>,
}

#[derive(Debug, Default)]
struct Soft {
    before: Vec<String>,
    after: Vec<String>,
}

impl ModuleTree {
    /// Reads the indexes in `root`.
    ///
    /// # Errors
    /// If `modules.dep` or another index cannot be read; `modules.softdep`, `modules.alias` and
    /// `modules.builtin` may be absent.
    pub fn open(root: &Path) -> Result<Self, ModuleError> {
        let read = |name: &str| {
            let path = root.join(name);
            fs::read_to_string(&path).map_err(|source| ModuleError::Read { path, source })
        };
        let optional = |name: &str| match read(name) {
            Err(ModuleError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(String::new())
            }
            other => other,
        };
        Ok(Self {
            root: root.to_owned(),
            files: parse_dep(&read("modules.dep")?),
            soft: parse_softdep(&optional("modules.softdep")?),
            aliases: parse_alias(&optional("modules.alias")?),
            builtin: optional("modules.builtin")?.lines().map(name_of).collect(),
        })
    }

    /// Whether the kernel has the module `name`, loadable or built in.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let name = normal(name);
        self.files.contains_key(&name) || self.builtin.contains(&name)
    }

    /// Whether the indexes tell what is built in.
    #[must_use]
    pub fn tells_builtin(&self) -> bool {
        !self.builtin.is_empty()
    }

    /// The modules to load, in order, so that all of `wanted` are in the kernel.
    ///
    /// # Errors
    /// If one of `wanted` is neither a module nor built in, or an index names a file that it does
    /// not list.
    pub fn resolve(&self, wanted: &[&str]) -> Result<Vec<Module>, ModuleError> {
        let mut order = Order {
            tree: self,
            begun: HashSet::new(),
            modules: Vec::new(),
        };
        for name in wanted {
            let name = normal(name);
            if !self.has(&name) {
                return Err(ModuleError::Missing {
                    tree: self.root.clone(),
                    name,
                });
            }
            order.add(&name)?;
        }
        Ok(order.modules)
    }

    /// The modules that a soft dependency means: a module of that name, or those with that alias.
    fn meaning(&self, name: &str) -> Vec<String> {
        if self.has(name) {
            return vec![name.to_owned()];
        }
        self.aliases.get(name).cloned().unwrap_or_default()
    }
}

/// The order in the making.
struct Order<'t> {
    tree: &'t ModuleTree,
    begun: HashSet<String>,
    modules: Vec<Module>,
}

impl Order<'_> {
    /// Adds `name` after what it needs. A module that is being added already is left out, which
    /// also ends circles.
    fn add(&mut self, name: &str) -> Result<(), ModuleError> {
        if self.tree.builtin.contains(name) || !self.begun.insert(name.to_owned()) {
            return Ok(());
        }
        let (file, hard) = self
            .tree
            .files
            .get(name)
            .ok_or_else(|| ModuleError::Missing {
                tree: self.tree.root.clone(),
                name: name.to_owned(),
            })?;
        let soft = self.tree.soft.get(name);
        for needed in hard.iter().rev() {
            self.add(needed)?;
        }
        for needed in soft.map_or(&[][..], |soft| &soft.before) {
            self.add_soft(needed)?;
        }
        self.modules.push(Module {
            name: name.to_owned(),
            path: self.tree.root.join(file),
        });
        for needed in soft.map_or(&[][..], |soft| &soft.after) {
            self.add_soft(needed)?;
        }
        Ok(())
    }

    fn add_soft(&mut self, name: &str) -> Result<(), ModuleError> {
        self.tree
            .meaning(name)
            .iter()
            .try_for_each(|module| self.add(module))
    }
}

impl Module {
    /// The module's contents, decompressed and without its signature.
    ///
    /// To check one takes a kernel longer than all else in loading the module, and whoever writes
    /// an initrd could as well write another kernel beside it.
    ///
    /// # Errors
    /// If the file cannot be read, is not what its ending says, or is larger than 256 MiB.
    pub fn read(&self) -> Result<Vec<u8>, ModuleError> {
        let mut contents = unpack(&self.path).map_err(|source| ModuleError::Read {
            path: self.path.clone(),
            source,
        })?;
        contents.truncate(unsigned_len(&contents));
        Ok(contents)
    }
}

/// The length of a module without the signature that may follow it: signature, 12 bytes whose last
/// four are the signature's length, marker (Linux include/linux/module_signature.h).
fn unsigned_len(module: &[u8]) -> usize {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    const INFO: usize = 12;
    let signed = module.strip_suffix(MARKER).and_then(|rest| {
        let (rest, length) = rest.split_last_chunk::<4>()?;
        let signature = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.len().checked_sub(INFO - 4)?.checked_sub(signature)
    });
    signed.unwrap_or(module.len())
}

fn unpack(path: &Path) -> io::Result<Vec<u8>> {
    let file = BufReader::new(File::open(path)?);
    let mut contents = Vec::new();
    let mut reader: Box<dyn Read> = match path.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => Box::new(lzma_rust2::XzReader::new(file, true)),
        Some("zst") => {
            Box::new(ruzstd::decoding::StreamingDecoder::new(file).map_err(io::Error::other)?)
        }
        Some("gz") => Box::new(flate2::read::GzDecoder::new(file)),
        _ => Box::new(file),
    };
    reader
        .by_ref()
        .take(MAX_MODULE_BYTES)
        .read_to_end(&mut contents)?;
    if reader.read(&mut [0])? != 0 {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 256 MiB",
        ));
    }
    Ok(contents)
}

/// The module's name of a path in an index: `kernel/fs/nls/nls-x.ko.xz` is `nls_x`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split(".ko").next().unwrap_or(file))
}

/// The kernel takes `-` and `_` in module names for the same.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn parse_dep(text: &str) -> HashMap<String, (String, Vec<String>)> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needed)| {
            let needed = needed.split_whitespace().map(name_of).collect();
            (name_of(file), (file.to_owned(), needed))
        })
        .collect()
}

/// Lines of the form `softdep NAME pre: A B post: C`.
fn parse_softdep(text: &str) -> HashMap<String, Soft> {
    let mut all: HashMap<String, Soft> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some("softdep"), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let soft = all.entry(normal(name)).or_default();
        let mut list = None;
        for word in words {
            match (word, &mut list) {
                ("pre:", _) => list = Some(&mut soft.before),
                ("post:", _) => list = Some(&mut soft.after),
                (name, Some(list)) => list.push(normal(name)),
                // Words before the first `pre:` or `post:` say nothing.
                (_, None) => {}
            }
        }
    }
    all
}

/// Lines of the form `alias PATTERN MODULE`; patterns with wildcards name hardware, not modules.
fn parse_alias(text: &str) -> HashMap<String, Vec<String>> {
    let mut all: HashMap<String, Vec<String>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some("alias"), Some(pattern), Some(module)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if !pattern.contains(['*', '?', '[']) {
            all.entry(normal(pattern)).or_default().push(normal(module));
        }
    }
    all
}

#[cfg(test)]
mod tests;
