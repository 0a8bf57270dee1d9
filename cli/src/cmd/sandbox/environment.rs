//! A build's environment, and the file in which vmTools hand it to their guest.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;

/// The longest environment, in bytes: a quarter of the largest stack that Linux counts with (execve(2)).
const LONGEST: u64 = 6 << 20;

/// A file that Nix writes structured attributes to (Nix manual, "Advanced Attributes", `__structuredAttrs`).
#[derive(Debug)]
pub(super) struct AttributeFile {
    /// The variable that names it.
    pub(super) variable: &'static str,
    /// Its name in the build's folder, and in that for exchange.
    pub(super) name: &'static str,
}

/// The one for programs.
pub(super) const JSON: AttributeFile = AttributeFile {
    variable: "NIX_ATTRS_JSON_FILE",
    name: ".attrs.json",
};
/// The one for bash.
pub(super) const SHELL: AttributeFile = AttributeFile {
    variable: "NIX_ATTRS_SH_FILE",
    name: ".attrs.sh",
};

/// The variables of a build.
#[derive(Debug)]
pub(super) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Those of this process.
    pub(super) fn own() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Those in the file `path`, each with a NUL behind it, as in /proc/PID/environ (proc(5)).
    pub(super) fn read(path: &Path) -> Result<Self, Diagnostic> {
        let failed = || {
            let what = format!("cannot read the environment in `{}`", path.display());
            Diagnostic::usage("environment", what)
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| failed().because(&error))?;
        let read = file.take(LONGEST + 1).read_to_end(&mut bytes);
        let count = read.map_err(|error| failed().because(&error))?;
        if count as u64 > LONGEST {
            return Err(failed().cause("it is longer than an environment can be"));
        }
        let all = bytes.split(|byte| *byte == 0).filter(|it| !it.is_empty());
        let parted = all.map(|setting| {
            let at = setting.iter().position(|byte| *byte == b'=')?;
            let (name, value) = setting.split_at(at);
            let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            Some((text(name), text(value.get(1..)?)))
        });
        let parted = parted.collect::<Option<Vec<_>>>();
        parted.map(Self).ok_or_else(|| {
            failed()
                .cause("one of its lines is no NAME=VALUE")
                .hint("each variable ends with a NUL, as in /proc/PID/environ")
        })
    }

    /// All of it.
    pub(super) fn all(&self) -> Vec<(OsString, OsString)> {
        self.0.clone()
    }

    #[cfg(test)]
    pub(super) fn of(all: &[(&str, &str)]) -> Self {
        Self(
            all.iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// The value of `name`, if it is set.
    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        let found = self.0.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.clone())
    }

    /// Where the file with attributes is, if the derivation has them.
    pub(super) fn attributes(&self, file: &AttributeFile) -> Option<PathBuf> {
        let named = self.get(file.variable).map(PathBuf::from);
        // Some versions of Nix have no variable, or one with the place outside of their sandbox.
        let usual = self.get("NIX_BUILD_TOP");
        let usual = usual.map(|top| PathBuf::from(top).join(file.name));
        let mut places = named.into_iter().chain(usual);
        places.find(|path| path.exists())
    }

    /// A text that gives a shell these variables (POSIX.1-2017 XCU 2.2.2 for the quotes). What no shell can name is left out.
    pub(super) fn to_shell(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, value) in self.0.iter().filter(|(name, _)| is_name(name)) {
            text.extend(b"export ");
            text.extend(name.as_bytes());
            text.extend(b"='");
            for &byte in value.as_bytes() {
                match byte {
                    b'\'' => text.extend(b"'\\''"),
                    other => text.push(other),
                }
            }
            text.extend(b"'\n");
        }
        text
    }
}

/// Whether a shell's variable can have this name (POSIX.1-2017 XBD 3.235).
fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let is_word = bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    is_word && bytes.first().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_restores_every_byte() {
        let values: [&[u8]; 6] = [
            b"plain",
            b"",
            b"it's \"quoted\" $HOME `id` \\",
            b"two\nlines\n",
            b"\xff\xfe = 'x' ''",
            b"-n",
        ];
        let name = |index: usize| OsString::from(format!("V_{index}"));
        let all = values.iter().enumerate();
        let all = all.map(|(index, value)| (name(index), OsString::from_vec(value.to_vec())));
        let environment = Environment(all.collect());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("saved-env");
        std::fs::write(&file, environment.to_shell()).unwrap();
        let script = ". \"$0\"; cat /proc/self/environ >/dev/null; env -0";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(&file).env_clear();
        let said = shell.env("PATH", "/usr/bin:/bin").output().unwrap();
        assert!(said.status.success(), "{said:?}");
        let restored: Vec<&[u8]> = said.stdout.split(|byte| *byte == 0).collect();
        for (index, value) in values.iter().enumerate() {
            let wanted = [name(index).as_bytes(), b"=", value].concat();
            assert!(restored.contains(&&*wanted), "{index}");
        }
    }

    #[test]
    fn what_no_shell_can_name_is_left_out() {
        let environment = Environment::of(&[("a.b", "1"), ("9x", "1"), ("", "1"), ("_ok9", "1")]);
        assert_eq!(environment.to_shell(), b"export _ok9='1'\n");
    }

    #[test]
    fn an_environment_is_read_as_the_kernel_shows_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("environ");
        std::fs::write(&file, b"A=1\0B=\0C=x=y\nz\0").unwrap();
        let found = Environment::read(&file).unwrap();
        let get = |name: &str| found.get(name).unwrap();
        assert_eq!(
            (get("A"), get("B"), get("C")),
            ("1".into(), "".into(), "x=y\nz".into())
        );
        assert!(Environment::read(Path::new("/proc/self/environ")).is_ok());
        std::fs::write(&file, b"A=1\0nothing\0").unwrap();
        let diagnostic = Environment::read(&file).unwrap_err();
        assert!(
            diagnostic.causes[0].contains("NAME=VALUE"),
            "{diagnostic:?}"
        );
        assert!(Environment::read(folder.path()).is_err());
    }

    #[test]
    fn attributes_are_where_the_variable_says_or_in_the_builds_folder() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().to_str().unwrap();
        let environment = Environment::of(&[("NIX_BUILD_TOP", top)]);
        assert_eq!(environment.attributes(&JSON), None);
        let file = folder.path().join(".attrs.json");
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(environment.attributes(&JSON), Some(file.clone()));
        let named = Environment::of(&[("NIX_ATTRS_JSON_FILE", file.to_str().unwrap())]);
        assert_eq!(named.attributes(&JSON), Some(file));
        assert_eq!(named.attributes(&SHELL), None);
        let outside = [
            ("NIX_ATTRS_JSON_FILE", "/no/such/file"),
            ("NIX_BUILD_TOP", top),
        ];
        assert_eq!(
            Environment::of(&outside).attributes(&JSON),
            named.attributes(&JSON)
        );
    }
}
