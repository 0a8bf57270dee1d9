//! A tree in words, for comparison.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Meta;

/// Every file beneath `top`: name, attributes, content, extended attributes.
pub(super) fn describe(top: &Path) -> String {
    let mut text = String::new();
    describe_into(top, Path::new(""), &mut text);
    text
}

fn describe_into(top: &Path, at: &Path, text: &mut String) {
    let path = top.join(at);
    let meta = fs::symlink_metadata(&path).unwrap();
    let compared = Meta {
        mode: meta.mode(),
        nlink: meta.nlink(),
        uid: meta.uid(),
        gid: meta.gid(),
        size: meta.size(),
        mtime: meta.mtime(),
    };
    write!(text, "{} {:?}", at.display(), compared.compared()).unwrap();
    if meta.is_symlink() {
        write!(text, " -> {:?}", fs::read_link(&path).unwrap()).unwrap();
    } else if meta.is_file() {
        write!(text, " {}", super::run::digest(&fs::read(&path).unwrap())).unwrap();
    }
    let mut value = [0; 512];
    for name in ["user.x", "user.yy"] {
        if let Ok(len) = rustix::fs::lgetxattr(&path, name, &mut value) {
            write!(text, " {name}={len}").unwrap();
        }
    }
    text.push('\n');
    if meta.is_dir() {
        let entries = fs::read_dir(&path).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            describe_into(top, &at.join(name), text);
        }
    }
}
