//! `bench fs`: a shared folder over virtio-fs beside virtiofsd, and over 9p beside QEMU's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::files::Files;
use super::side::Side;
use crate::bench::qemu::COMMAND_LINE;
use crate::command;

/// Files in each folder of a tree.
const FOLDER: u32 = 200;
/// Files of the repository, which is a tree as well.
const TRACKED: u32 = 10_000;

/// What the guest does, all of it or the lines that contain `part`; `files` are in the tree.
fn script(mount: &str, files: u32, part: Option<&str>) -> String {
    let all = format!(
        "load drop-caches; load read 'sequential read, 256 MiB' /mnt/big\n\
        load drop-caches; load random 'random read, 4096 x 4 KiB' /mnt/big 4096\n\
        load write 'sequential write, 64 MiB' /mnt/new 64\n\
        load drop-caches; load walk 'find, {files} files' /mnt/tree\n\
        load drop-caches; load stat 'stat, {files} files' /mnt/tree {FOLDER} {files}\n\
        load drop-caches; cd /mnt/repo; export GIT_OPTIONAL_LOCKS=0 HOME=/\n\
        load run 'git status, {TRACKED} files' {GIT} status --short; cd /\n\
        load make 'make 2000 files' /mnt/made 20 100\n\
        load remove 'remove 2000 files' /mnt/made\n"
    )
    .replace("load ", "/load ");
    let wanted = |line: &&str| part.is_none_or(|part| line.contains(part));
    let lines: Vec<_> = all.lines().filter(wanted).collect();
    format!(
        "mkdir /mnt\n{mount}\n{}\nrm -rf /mnt/new /mnt/made\n",
        lines.join("\n")
    )
}

/// Runs git with the libraries beside it.
const GIT: &str = "/ld.so --library-path / /git";

/// The machine's git, its loader and its libraries, for the guest's root folder.
fn git() -> Result<Vec<(String, Vec<u8>)>> {
    let git = command::text(Command::new("sh").args(["-c", "command -v git"]))
        .context("git is not installed")?;
    let git = git.trim();
    let libraries = command::text(Command::new("ldd").arg(git))?;
    let mut files = vec![("git".to_owned(), git.to_owned())];
    for line in libraries.lines() {
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = if name.starts_with("ld-") {
            "ld.so"
        } else {
            name
        };
        files.push((name.to_owned(), path.to_owned()));
    }
    let read = |(name, path): (String, String)| {
        let data = fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        Ok((name, data))
    };
    files.into_iter().map(read).collect()
}

/// Makes folders of [`FOLDER`] small files each.
fn tree(at: &Path, files: u32) -> Result<()> {
    for folder in 0..files.div_ceil(FOLDER) {
        let path = at.join(format!("folder{folder}"));
        fs::create_dir_all(&path).context("cannot make a folder")?;
        for file in 0..FOLDER.min(files - folder * FOLDER) {
            fs::write(path.join(format!("file{file}")), "x").context("cannot write a file")?;
        }
    }
    Ok(())
}

/// Makes a repository with all its files as they were committed.
fn repository(at: &Path) -> Result<()> {
    tree(at, TRACKED)?;
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        // What a file's number and its time of change are depends on the server; neither program is to read the files.
        git.args(["-c", "user.name=bench", "-c", "user.email=bench@localhost"])
            .args(words)
            .current_dir(at)
            .env("HOME", at);
        command::run(&mut git)
    };
    git(&["init", "--quiet"])?;
    git(&["config", "core.checkStat", "minimal"])?;
    git(&["config", "core.trustctime", "false"])?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "--message", "all"])?;
    git(&["update-index", "--refresh"])
}

/// The folder that guests share: a large file, a tree of many small ones, and a repository; of the last, which takes
/// longest to make, nothing if it is not wanted.
fn folder(files: &Files, count: u32, git: bool) -> Result<String> {
    let share = files.path("share");
    fs::create_dir(&share).context("cannot make the share")?;
    fs::write(share.join("big"), vec![7; 256 << 20]).context("cannot write a file")?;
    tree(&share.join("tree"), count)?;
    if git {
        repository(&share.join("repo"))?;
    }
    Ok(files.text("share"))
}

/// QEMU's file server, or the one that followed it.
fn virtiofsd() -> Result<String> {
    let places = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    Ok(found.context("virtiofsd is not installed")?.into())
}

/// The programs, with `count` files in the tree, and what `part` names of the load.
pub(super) fn sides(files: &Files, count: u32, part: Option<&str>) -> Result<Vec<Side>> {
    let fuse = script("mount -t virtiofs data /mnt", count, part);
    let share = folder(files, count, fuse.contains("git status"))?;
    let git = git()?;
    files.initramfs("fuse", &git, &fuse)?;
    let nine = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 data /mnt";
    files.initramfs("nine", &git, &script(nine, count, part))?;
    let socket = files.path("virtiofsd.sock");
    let server = vec![
        virtiofsd()?,
        format!("--socket-path={}", socket.display()),
        "-o".into(),
        format!("source={share},cache=auto,sandbox=chroot"),
    ];
    let vhost = format!("socket,id=v,path={}", socket.display());
    let local = format!("local,id=f,path={share},security_model=none,multidevs=remap");
    let virtiofsd = files
        .qemu("QEMU, virtiofsd", "fuse")
        .args(["-append", COMMAND_LINE, "-chardev", &vhost])
        .args(["-device", "vhost-user-fs-pci,chardev=v,tag=data"]);
    let ours = |name: &str, initrd: &str, share: String| {
        let ours = files.ours(name, initrd);
        ours.args(["--cmdline", COMMAND_LINE, "--share", &share])
    };
    let nine = files
        .qemu("QEMU, virtio-9p", "nine")
        .args(["-append", COMMAND_LINE, "-fsdev", &local])
        .args(["-device", "virtio-9p-pci,fsdev=f,mount_tag=data"]);
    Ok(vec![
        Side {
            contestant: virtiofsd,
            server: Some((server, socket)),
            group: "virtio-fs",
        },
        Side::alone(
            ours("pcp-vmm, virtio-fs", "fuse", format!("data={share}")),
            "virtio-fs",
        ),
        Side::alone(nine, "9p"),
        Side::alone(
            ours("pcp-vmm, 9p", "nine", format!("data={share},proto=9p")),
            "9p",
        ),
    ])
}
