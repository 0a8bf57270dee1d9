//! The folders of this machine that the guest sees, and where.

use std::path::{Path, PathBuf};

use guest::bundle::{MANIFEST, Root};

use super::super::run::load_bundle;
use crate::args::ExecArgs;
use crate::diagnostic::Diagnostic;

const FORM: &str = "`--share` is DIR:FOLDER, or DIR:FOLDER:ro; FOLDER is an absolute path";

/// A folder that the guest mounts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) tag: String,
    pub(super) host: PathBuf,
    pub(super) guest: PathBuf,
    pub(super) read_only: bool,
}

/// All folders of a guest.
#[derive(Debug)]
pub(super) struct Places {
    /// That which is its root.
    pub(super) root: PathBuf,
    /// Those of `--rw` and `--share`, in this order.
    pub(super) shared: Vec<Shared>,
}

impl Places {
    /// The folders that `args` name.
    pub(super) fn of(args: &ExecArgs) -> Result<Self, Diagnostic> {
        Ok(Self {
            root: root(args)?,
            shared: shared(args)?,
        })
    }
}

fn root(args: &ExecArgs) -> Result<PathBuf, Diagnostic> {
    let Some(path) = &args.root else {
        return Ok("/".into());
    };
    let dir = folder("root", path)?;
    if !dir.join(MANIFEST).exists() {
        return Ok(dir);
    }
    let bundle = load_bundle(&dir)?;
    match &bundle.root {
        Root::Share(share) => Ok(bundle.resolve(&share.path)),
        Root::Disk { .. } | Root::Initrd => {
            let what = format!("cannot use the root of the bundle `{}`", path.display());
            Err(Diagnostic::usage("root", what)
                .cause("it is no folder")
                .hint(
                    "`pcp-vmm image build` without `--root-disk` makes one whose root is a folder",
                ))
        }
    }
}

fn shared(args: &ExecArgs) -> Result<Vec<Shared>, Diagnostic> {
    let writable = args.rw.iter().map(|path| {
        let host = folder("rw", path)?;
        Ok((host.clone(), host, false))
    });
    let shared = args.share.iter().map(|text| share(text));
    let all = writable.chain(shared).enumerate();
    all.map(|(index, place)| {
        let (host, guest, read_only) = place?;
        Ok(Shared {
            tag: format!("share{index}"),
            host,
            guest,
            read_only,
        })
    })
    .collect()
}

fn share(text: &str) -> Result<(PathBuf, PathBuf, bool), Diagnostic> {
    let wrong = || {
        let what = format!("`{}` is no share", text.escape_debug());
        Diagnostic::usage("share", what).hint(FORM)
    };
    let (places, read_only) = match text.strip_suffix(":ro") {
        Some(places) => (places, true),
        None => (text, false),
    };
    let (host, guest) = places.rsplit_once(':').ok_or_else(wrong)?;
    if host.is_empty() || !guest.starts_with('/') {
        return Err(wrong());
    }
    Ok((folder("share", Path::new(host))?, guest.into(), read_only))
}

fn folder(flag: &'static str, path: &Path) -> Result<PathBuf, Diagnostic> {
    let failed = || {
        let what = format!("cannot share `{}`", path.display());
        Diagnostic::usage(flag, what).hint(format!("`--{flag}` names a folder"))
    };
    let folder = std::fs::canonicalize(path).map_err(|error| failed().because(&error))?;
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(failed().cause("it is no folder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_folder_and_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let host = std::fs::canonicalize(folder.path()).unwrap();
        let text = |rest: &str| format!("{}{rest}", host.display());
        let place = |read_only| (host.clone(), PathBuf::from("/src"), read_only);
        assert_eq!(share(&text(":/src")).ok(), Some(place(false)));
        assert_eq!(share(&text(":/src:ro")).ok(), Some(place(true)));
        for wrong in ["", ":/src", "/", "/no/such/folder:/src"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert!(share(&text(":src")).is_err());
        assert!(share(&text("")).is_err());
    }
}
