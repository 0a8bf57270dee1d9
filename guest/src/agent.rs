//! The agent for guests that others built: the init's program, under the name of a service.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::init::INIT;

/// Where the program goes, below a guest's root.
pub const PROGRAM: &str = "/usr/local/lib/pcp-vmm/agent";
/// Its unit for systemd, by the name of the one that the init makes in `/run`, whose place it takes.
const UNIT: &str = "pcp-vmm-agent.service";
const UNITS: &str = "etc/systemd/system";
/// There from early on, so that a guest whose start hangs can be looked into.
const WANTS: &str = "etc/systemd/system/sysinit.target.wants";
const TEXT: &str = include_str!("../init/agent/agent.service");
/// Where systemd is.
const SYSTEMD: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];

/// Puts the agent into the root file system in the folder `root`, with a unit where there is systemd: whether there is.
///
/// # Errors
/// The path that cannot be written, and why.
pub fn install(root: &Path) -> Result<bool, (PathBuf, io::Error)> {
    // As the guest sees it, a link could lead out of its root.
    let below = |name: &str| root.join(name.trim_start_matches('/'));
    let make = |folder: &str| {
        let folder = below(folder);
        fs::create_dir_all(&folder).map_err(|error| (folder.clone(), error))
    };
    let program = below(PROGRAM);
    make("usr/local/lib/pcp-vmm")?;
    replace(&program, INIT, 0o755).map_err(|error| (program.clone(), error))?;
    if !SYSTEMD.iter().any(|place| below(place).exists()) {
        return Ok(false);
    }
    make(WANTS)?;
    let unit = below(UNITS).join(UNIT);
    let text = TEXT.replace("@PROGRAM@", PROGRAM);
    replace(&unit, text.as_bytes(), 0o644).map_err(|error| (unit.clone(), error))?;
    let link = below(WANTS).join(UNIT);
    match symlink(Path::new("..").join(UNIT), &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err((link, error)),
        _ => Ok(true),
    }
}

/// Writes a file in the place of one that may be in use.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = path.with_extension("new");
    fs::write(&draft, bytes)
        .and_then(|()| fs::set_permissions(&draft, Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&draft, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&draft);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_with_systemd_gets_a_unit_and_another_the_program_alone() {
        let root = tempfile::tempdir().unwrap();
        assert!(!install(root.path()).unwrap());
        let program = root.path().join("usr/local/lib/pcp-vmm/agent");
        assert_eq!(fs::read(&program).unwrap(), INIT);
        assert_eq!(
            fs::metadata(&program).unwrap().permissions().mode() & 0o777,
            0o755
        );
        fs::create_dir_all(root.path().join("usr/lib/systemd")).unwrap();
        fs::write(root.path().join("usr/lib/systemd/systemd"), "").unwrap();
        for _ in 0..2 {
            assert!(install(root.path()).unwrap());
        }
        let unit = root.path().join(WANTS).join(UNIT);
        let text = fs::read_to_string(unit).unwrap();
        assert!(
            text.contains("ExecStart=/usr/local/lib/pcp-vmm/agent agent\n"),
            "{text}"
        );
        let folder = fs::read_dir(program.parent().unwrap()).unwrap();
        assert_eq!(folder.count(), 1);
    }

    #[test]
    fn a_root_that_cannot_be_written_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("usr"), "").unwrap();
        let (path, error) = install(root.path()).unwrap_err();
        assert!(path.ends_with("usr/local/lib/pcp-vmm"), "{path:?}");
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
