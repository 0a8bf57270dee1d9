//! The folders of this machine that the guest sees, and where.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use guest::bundle::{self, MANIFEST};
use guest::wire::{Link, Mount};

use super::super::run::load_bundle;
use super::image::Image;
use crate::args::ExecArgs;
use crate::diagnostic::Diagnostic;

const FORM: &str = "`--share` is DIR:FOLDER, or DIR:FOLDER:ro; FOLDER is an absolute path";

/// A folder that the guest mounts.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cmd) struct Shared {
    pub(in crate::cmd) tag: String,
    pub(in crate::cmd) host: PathBuf,
    pub(in crate::cmd) guest: PathBuf,
    pub(in crate::cmd) read_only: bool,
    /// Whose files the guest's superuser has there, by user and group; his own without.
    pub(in crate::cmd) owner: Option<(u32, u32)>,
}

impl Shared {
    /// The value of `run --share`.
    pub(super) fn flag(&self) -> String {
        let mut flag = format!("{}={}", self.tag, plain(&self.host));
        if self.read_only {
            flag.push_str(",ro");
        }
        if let Some((user, group)) = self.owner {
            flag.push_str(&format!(",uidmap=0:{user}:1,gidmap=0:{group}:1"));
        }
        flag
    }

    fn mount(&self) -> Mount {
        Mount {
            tag: self.tag.clone().into_bytes(),
            folder: self.guest.as_os_str().as_bytes().to_vec(),
        }
    }
}

/// A path as the value of a flag: a comma in it is doubled.
pub(in crate::cmd) fn plain(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// The guest's root.
#[derive(Debug)]
pub(in crate::cmd) enum Root {
    /// This folder, under a layer in RAM.
    Folder(PathBuf),
    /// This image's file system, under a layer in RAM.
    Image(Image),
    /// The first disk, which keeps the changes.
    Disk,
    /// Empty, in RAM.
    Ram,
}

/// All folders of a guest.
#[derive(Debug)]
pub(in crate::cmd) struct Places {
    pub(in crate::cmd) root: Root,
    /// The folder that keeps changes to the root.
    pub(in crate::cmd) layer: Option<PathBuf>,
    /// Empty folders in RAM, which come before those that are shared.
    pub(in crate::cmd) scratch: Vec<PathBuf>,
    /// Those of `--rw` and `--share`, in this order.
    pub(in crate::cmd) shared: Vec<Shared>,
    /// Links that are made where there is nothing, and where they lead.
    pub(in crate::cmd) links: Vec<(PathBuf, PathBuf)>,
}

impl Places {
    /// The folders that `args` name.
    pub(super) fn of(args: &ExecArgs) -> Result<Self, Diagnostic> {
        Ok(Self {
            root: root(args)?,
            layer: layer(args)?,
            scratch: Vec::new(),
            shared: shared(args)?,
            links: Vec::new(),
        })
    }

    /// What a command finds, in a sentence.
    pub(super) fn told(&self) -> &'static str {
        match &self.root {
            Root::Folder(root) if root == Path::new("/") => {
                "the guest has this machine's root file system, with a new /run, /dev and /sys"
            }
            Root::Folder(_) => "the path, the folder and the interpreter are those of `--root`",
            Root::Image(_) => "the path, the folder and the interpreter are those of the image",
            Root::Disk => "the guest has the disk's files, and the folders that it shares",
            Root::Ram => "the guest has nothing but the folders that it shares",
        }
    }

    /// What the guest mounts beside its root, in this order.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let scratch = self.scratch.iter().map(|folder| Mount {
            tag: Vec::new(),
            folder: folder.as_os_str().as_bytes().to_vec(),
        });
        scratch
            .chain(self.shared.iter().map(Shared::mount))
            .collect()
    }

    /// The links that the guest makes.
    pub(super) fn links(&self) -> Vec<Link> {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let link = |(path, target): &(PathBuf, PathBuf)| Link {
            path: bytes(path),
            target: bytes(target),
        };
        self.links.iter().map(link).collect()
    }
}

fn root(args: &ExecArgs) -> Result<Root, Diagnostic> {
    let Some(path) = &args.root else {
        return Ok(Root::Folder("/".into()));
    };
    if path.is_file() {
        return Image::open(path).map(Root::Image);
    }
    let dir = folder("root", path)?;
    if !dir.join(MANIFEST).exists() {
        return Ok(Root::Folder(dir));
    }
    let bundle = load_bundle(&dir)?;
    match &bundle.root {
        bundle::Root::Share(share) => Ok(Root::Folder(bundle.resolve(&share.path))),
        bundle::Root::Disk { path, .. } => Image::open(&bundle.resolve(path)).map(Root::Image),
        bundle::Root::Initrd => {
            let what = format!("cannot use the root of the bundle `{}`", path.display());
            Err(Diagnostic::usage("root", what)
                .cause("it is the initrd's own")
                .hint("a bundle of `pcp-vmm image build` has a root"))
        }
    }
}

/// The folder of `--overlay`, which is made if it is missing.
fn layer(args: &ExecArgs) -> Result<Option<PathBuf>, Diagnostic> {
    if args.overlay.as_os_str() == "tmpfs" {
        return Ok(None);
    }
    std::fs::create_dir_all(&args.overlay).map_err(|error| {
        let what = format!("cannot make the folder `{}`", args.overlay.display());
        Diagnostic::usage("overlay", what)
            .because(&error)
            .hint("`--overlay` is `tmpfs`, or a folder for the changes")
    })?;
    folder("overlay", &args.overlay).map(Some)
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
            owner: None,
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
    if !folder.is_dir() {
        return Err(failed().cause("it is no folder"));
    }
    if folder.to_str().is_none() {
        return Err(failed().cause("its path is no text in UTF-8"));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_flag_of_run() {
        let mut share = Shared {
            tag: "a".to_owned(),
            host: "/b,c".into(),
            guest: "/d".into(),
            read_only: true,
            owner: None,
        };
        assert_eq!(share.flag(), "a=/b,,c,ro");
        share.owner = Some((1000, 100));
        share.read_only = false;
        assert_eq!(share.flag(), "a=/b,,c,uidmap=0:1000:1,gidmap=0:100:1");
    }

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
