//! Files that are written whole or not at all, also where the power fails: a draft beside the file, which takes its place.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

/// Puts a file that holds `bytes` in the place of `path`. A new file gets `mode`, less what the umask takes; the mode of one
/// that was there is kept.
///
/// # Errors
/// What the system says of the first step that fails; the file is then as it was, and the draft is gone.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let kept = match fs::metadata(path) {
        Ok(found) => Some(found.permissions().mode() & 0o7777),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let draft = draft_of(path)?;
    remove_drafts(path);
    let written = (|| {
        // One of this name is of a process that ended at work: numbers come again.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true);
        // A draft is never readable for more than the file.
        let mut file = options
            .mode(kept.map_or(mode, |kept| kept & mode))
            .open(&draft)?;
        file.write_all(bytes)?;
        if let Some(kept) = kept {
            file.set_permissions(Permissions::from_mode(kept))?;
        }
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Removes the file at `path`, if it is there, and what was left of drafts of it.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    remove_drafts(path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The draft's name: hidden, and of this process alone.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}.new", process::id()));
    Ok(path.with_file_name(draft))
}

/// Removes what processes left that were killed while they wrote `path`.
fn remove_drafts(path: &Path) {
    let Some(name) = path.file_name() else {
        return;
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = name.to_string_lossy();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let draft = entry.file_name();
        let draft = draft.to_string_lossy();
        let writer = draft
            .strip_prefix('.')
            .and_then(|it| it.strip_prefix(&*name))
            .and_then(|it| it.strip_prefix('.')?.strip_suffix(".new"))
            .and_then(|pid| pid.parse::<u32>().ok());
        if writer.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let files = fs::read_dir(folder).unwrap();
        files.map(|it| it.unwrap().file_name()).collect()
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_what_another_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // Numbers of processes end well before that.
        let dead = folder.path().join(".file.4294967295.new");
        let others = [
            "..new",
            ".file.1.new",
            ".file.x.new",
            ".other.4294967295.new",
        ];
        for name in others {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(&dead, "half").unwrap();
        write(&path, b"whole", 0o600).unwrap();
        assert!(!dead.exists());
        assert_eq!(names(folder.path()).len(), 1 + others.len());
        fs::write(&dead, "half").unwrap();
        remove(&path).unwrap();
        assert!(!dead.exists() && !path.exists());
        remove(&path).unwrap();
    }

    #[test]
    fn a_file_is_made_and_replaced_and_its_mode_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"first", 0o600).unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&path, b"2", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn what_an_ended_process_left_is_no_obstacle_and_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let other = folder.path().join("other");
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, draft_of(&path).unwrap()).unwrap();
        write(&path, b"text", 0o644).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"kept");
        assert_eq!(fs::read(&path).unwrap(), b"text");
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn a_failure_leaves_what_was_there_and_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        // A folder is not replaced by a file.
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"text", 0o600).is_err());
        assert_eq!(names(folder.path()), ["folder"]);
        assert!(write(&folder.path().join("none/file"), b"", 0o600).is_err());
        assert!(write(Path::new("/"), b"", 0o600).is_err());
    }
}
