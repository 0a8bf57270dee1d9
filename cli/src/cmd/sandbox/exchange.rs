//! The folder for exchange between a build's VM and its host, as vmTools have it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::environment::{AttributeFile, Environment, JSON, SHELL};
use crate::diagnostic::Diagnostic;

/// Where the guest has it.
pub(super) const IN_GUEST: &str = "/tmp/xchg";
/// The environment, for a shell.
const SAVED: &str = "saved-env";
/// The builder's status, a number and an end of line.
const STATUS: &str = "in-vm-exit";

/// The folder.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) folder: PathBuf,
}

impl Exchange {
    /// Makes the folder ready: the environment is in it, and the files with attributes, and no status of another build.
    pub(super) fn prepare(path: &Path, environment: &Environment) -> Result<Self, Diagnostic> {
        let failed = |name: &str, error: &io::Error| {
            let what = format!("cannot write `{}`", path.join(name).display());
            Diagnostic::failure("xchg", what)
                .because(error)
                .hint("`--xchg DIR` names a folder that this user may write to")
        };
        fs::create_dir_all(path).map_err(|error| failed("", &error))?;
        let folder = fs::canonicalize(path).map_err(|error| failed("", &error))?;
        match fs::remove_file(folder.join(STATUS)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed(STATUS, &error));
            }
            _ => {}
        }
        for AttributeFile { variable, name } in [JSON, SHELL] {
            if let Some(file) = environment.attributes(&AttributeFile { variable, name }) {
                fs::copy(file, folder.join(name)).map_err(|error| failed(name, &error))?;
            }
        }
        fs::write(folder.join(SAVED), environment.to_shell())
            .map_err(|error| failed(SAVED, &error))?;
        Ok(Self { folder })
    }

    /// Writes down the builder's status.
    pub(super) fn note(&self, status: u8) -> Result<(), Diagnostic> {
        let path = self.folder.join(STATUS);
        fs::write(&path, format!("{status}\n")).map_err(|error| {
            let what = format!("cannot write `{}`", path.display());
            Diagnostic::failure("xchg", what).because(&error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn prepared(folder: &Path, environment: &[(&str, &str)]) -> Exchange {
        Exchange::prepare(folder, &Environment::of(environment)).unwrap()
    }

    #[test]
    fn it_has_the_environment_and_no_old_status() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xchg");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(STATUS), "0\n").unwrap();
        let attributes = folder.path().join(".attrs.sh");
        fs::write(&attributes, "declare a=1\n").unwrap();
        let top = folder.path().to_str().unwrap();
        let exchange = prepared(&path, &[("NIX_BUILD_TOP", top)]);
        assert!(!path.join(STATUS).exists());
        exchange.note(7).unwrap();
        assert_eq!(fs::read(path.join(STATUS)).unwrap(), b"7\n");
        let saved = fs::read_to_string(path.join("saved-env")).unwrap();
        assert_eq!(saved, format!("export NIX_BUILD_TOP='{top}'\n"));
        assert_eq!(fs::read(path.join(".attrs.sh")).unwrap(), b"declare a=1\n");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let diagnostic = Exchange::prepare(&file, &Environment::of(&[])).unwrap_err();
        assert!(diagnostic.message.contains("file"), "{diagnostic:?}");
        let link = folder.path().join("xchg");
        fs::create_dir(&link).unwrap();
        symlink("/no/such/folder/x", link.join(SAVED)).unwrap();
        let diagnostic = Exchange::prepare(&link, &Environment::of(&[])).unwrap_err();
        assert!(diagnostic.message.contains(SAVED), "{diagnostic:?}");
    }
}
