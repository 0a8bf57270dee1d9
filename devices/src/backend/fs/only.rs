//! A list of what is visible at a share's top, such as the paths of a Nix store's closure.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::io::Errno;

use super::node::NodeId;
use super::{Share, ShareError};

/// The names that are visible.
#[derive(Debug)]
pub(super) struct Only(HashSet<Box<[u8]>>);

impl Only {
    /// Reads the list in `file`: a line for each path, by itself or beneath `folder`.
    pub(super) fn read(file: &Path, folder: &Path) -> Result<Self, ShareError> {
        let text = fs::read(file).map_err(|source| ShareError::List {
            path: file.to_owned(),
            source,
        })?;
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let lines = text.split(|byte| *byte == b'\n');
        let lines = lines
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty());
        let mut names = HashSet::new();
        for line in lines {
            let path = Path::new(std::ffi::OsStr::from_bytes(line));
            let path = path
                .strip_prefix(folder)
                .or_else(|_| path.strip_prefix(&real))
                .unwrap_or(path);
            let mut parts = path.components();
            match (parts.next(), parts.next()) {
                (Some(Component::Normal(name)), None) => names.insert(name.as_bytes().into()),
                _ => {
                    return Err(ShareError::ListEntry {
                        path: file.to_owned(),
                        entry: String::from_utf8_lossy(line).into_owned(),
                    });
                }
            };
        }
        Ok(Self(names))
    }
}

impl Share {
    /// Whether the guest may see `name` in `parent`.
    pub(super) fn is_visible(&self, parent: NodeId, name: &[u8]) -> bool {
        match &self.only {
            Some(only) if parent == NodeId::ROOT => {
                only.0.contains(name) || name == b"." || name == b".."
            }
            _ => true,
        }
    }

    /// Refuses to change a name that the guest may not see.
    pub(super) fn check_visible(&self, parent: NodeId, name: &CStr) -> Result<(), Errno> {
        if self.is_visible(parent, name.to_bytes()) {
            return Ok(());
        }
        Err(Errno::ACCESS)
    }
}
