//! A folder's own SSH key: made when a guest is first started there, told to the guests, and removed by `destroy`.
//!
//! Each is a folder beneath `keys` in the state folder, which appears whole or not at all.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use crate::folders::name_of;

/// The folder of the keys in the state folder.
const KEYS: &str = "keys";
/// The private key's file; the public one's has `.pub` behind it.
const PRIVATE: &str = "id_ed25519";

/// A key of this user's for the guests that are started in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshKey {
    /// The private key's file.
    pub(crate) private: PathBuf,
    /// The public key, as a line of `authorized_keys`.
    pub(crate) public: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// There is no program to make it.
    #[error("there is no `ssh-keygen`")]
    NoProgram,
    /// The program made none.
    #[error("`ssh-keygen` failed: {0}")]
    Program(String),
    /// Its files cannot be used.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of the public key holds none.
    #[error("`{}` holds no public key", .0.display())]
    Form(PathBuf),
}

impl SshKey {
    /// Where the private key of `directory` is, if it has one.
    pub(crate) fn place(state: &Path, directory: &Path) -> PathBuf {
        folder(state, directory).join(PRIVATE)
    }

    /// The key of `directory`, if it has one.
    pub(crate) fn find(state: &Path, directory: &Path) -> Result<Option<Self>, KeyError> {
        let private = Self::place(state, directory);
        let path = private.with_extension("pub");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeyError::File { path, source }),
        };
        let public = text.trim_end().to_owned();
        if !public.starts_with("ssh-ed25519 ") || public.contains(['\n', '\r']) {
            return Err(KeyError::Form(path));
        }
        Ok(Some(Self { private, public }))
    }

    /// The key of `directory`, which is made if there is none.
    pub(crate) fn provide(state: &Path, directory: &Path) -> Result<Self, KeyError> {
        if let Some(key) = Self::find(state, directory)? {
            return Ok(key);
        }
        let path = folder(state, directory);
        let failed = |source| KeyError::File {
            path: path.clone(),
            source,
        };
        let mut draft = path.clone().into_os_string();
        draft.push(format!(".{}.new", process::id()));
        let draft = PathBuf::from(draft);
        let made = (|| {
            let mut private_folder = DirBuilder::new();
            private_folder.recursive(true).mode(0o700);
            removed(&draft).map_err(failed)?;
            private_folder.create(&draft).map_err(failed)?;
            generate(&draft.join(PRIVATE), directory)?;
            match fs::rename(&draft, &path) {
                // Another start was faster: its key is the folder's.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                other => other.map_err(failed),
            }
        })();
        let _ = removed(&draft);
        made?;
        Self::find(state, directory)?.ok_or(KeyError::Form(path))
    }

    /// Removes the key of `directory`; whether there was one.
    pub(crate) fn remove(state: &Path, directory: &Path) -> Result<bool, KeyError> {
        let path = folder(state, directory);
        removed(&path).map_err(|source| KeyError::File { path, source })
    }
}

/// The folder of the key of `directory`.
fn folder(state: &Path, directory: &Path) -> PathBuf {
    state.join(KEYS).join(name_of(directory))
}

/// Has `ssh-keygen` make a key without a passphrase: who can read the state folder can log in to a debug image anyhow.
fn generate(file: &Path, directory: &Path) -> Result<(), KeyError> {
    let comment = directory.to_string_lossy().replace(char::is_control, "?");
    let mut program = Command::new("ssh-keygen");
    program
        .args(["-q", "-t", "ed25519", "-N", "", "-C"])
        .arg(format!("pcp-vmm {comment}"))
        .arg("-f")
        .arg(file)
        .stdin(Stdio::null());
    let output = program.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => KeyError::NoProgram,
        _ => KeyError::Program(error.to_string()),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(KeyError::Program(
        said.lines().next().unwrap_or_default().to_owned(),
    ))
}

/// Removes a folder; whether it was there.
fn removed(folder: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_has_one_key_however_many_ask_for_it_at_once() {
        let state = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(SshKey::find(state.path(), "/a".as_ref()).unwrap(), None);
        let key = SshKey::provide(state.path(), "/a".as_ref()).unwrap();
        assert_eq!(mode(&key.private), 0o600);
        assert_eq!(mode(key.private.parent().unwrap()), 0o700);
        assert!(key.public.ends_with(" pcp-vmm /a"), "{}", key.public);
        assert_eq!(SshKey::provide(state.path(), "/a".as_ref()).unwrap(), key);
        let other = SshKey::provide(state.path(), "/b".as_ref()).unwrap();
        assert_ne!(other.public, key.public);
        assert!(SshKey::remove(state.path(), "/a".as_ref()).unwrap());
        assert!(!SshKey::remove(state.path(), "/a".as_ref()).unwrap());
        assert_eq!(fs::read_dir(state.path().join(KEYS)).unwrap().count(), 1);
    }

    #[test]
    fn a_start_that_comes_second_takes_the_key_of_the_first() {
        let state = tempfile::tempdir().unwrap();
        let key = SshKey::provide(state.path(), "/a".as_ref()).unwrap();
        // As if it had looked before the first was done.
        let public = key.private.with_extension("pub");
        let text = fs::read(&public).unwrap();
        fs::remove_file(&public).unwrap();
        let late = SshKey::provide(state.path(), "/a".as_ref());
        assert!(matches!(late, Err(KeyError::Form(_))), "{late:?}");
        fs::write(&public, text).unwrap();
        assert_eq!(SshKey::provide(state.path(), "/a".as_ref()).unwrap(), key);
        let keys = fs::read_dir(state.path().join(KEYS)).unwrap();
        assert_eq!(keys.count(), 1, "no draft is left");
        fs::write(&public, "garbage").unwrap();
        let garbled = SshKey::find(state.path(), "/a".as_ref());
        assert!(matches!(garbled, Err(KeyError::Form(_))));
    }
}
