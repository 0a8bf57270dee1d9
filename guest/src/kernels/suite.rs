//! One suite of a Debian mirror, asked by apt with lists of its own: the machine's package sources are not touched.
//!
//! apt checks what it fetches: the signature of the suite's `InRelease` by the archive's keys, the index of packages by
//! `InRelease`, each package by the index.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::KernelError;
use super::offer::{self, Offer};
use crate::image::key::Key;
use crate::image::mirror;
use crate::image::program::{Host, Program};
use crate::image::{Event, ImageError, Progress, Tool};

/// Which mirror, and how it is trusted.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The mirror's address; without one, that of the machine's own apt.
    pub mirror: Option<String>,
    /// The keys that sign its suites; without a file, those of Debian's archive.
    pub keyring: Option<PathBuf>,
}

impl Source {
    fn keyring(&self) -> Result<PathBuf, KernelError> {
        let named = self.keyring.as_deref();
        let path = named.unwrap_or_else(|| Path::new(mirror::KEYRING));
        let path = std::path::absolute(path).map_err(KernelError::file("find", path))?;
        if !path.is_file() {
            return Err(KernelError::NoKeyring(path));
        }
        Ok(path)
    }

    /// The lines of a `sources.list` for `suite`, which take packages with a good signature only.
    fn lines(&self, host: &Host, suite: &str) -> Result<Vec<String>, KernelError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+".contains(c);
        if suite.is_empty() || suite.starts_with(['-', '.']) || !suite.chars().all(plain) {
            return Err(malformed("suite's name", suite));
        }
        if let Some(mirror) = &self.mirror {
            let visible = |c: char| c.is_ascii_graphic() && !"[]#\"".contains(c);
            if !mirror.contains(":/") || !mirror.chars().all(visible) {
                return Err(malformed("mirror's address", mirror));
            }
        }
        let keyring = self.keyring()?;
        let lines = mirror::sources(host, suite, self.mirror.as_deref())?;
        let options = format!("deb [arch=amd64 signed-by={}] ", keyring.display());
        let with_options = |line: String| line.replacen("deb ", &options, 1);
        Ok(lines.into_iter().map(with_options).collect())
    }
}

fn malformed(what: &'static str, text: &str) -> KernelError {
    KernelError::Malformed {
        what,
        text: text.to_owned(),
    }
}

/// The programs that kernels are fetched and unpacked with.
pub(super) const TOOLS: [Tool; 4] = [
    tool("apt-get", "apt"),
    tool("apt-cache", "apt"),
    tool("dpkg-deb", "dpkg"),
    tool("depmod", "kmod"),
];

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// A suite whose lists are there.
pub(super) struct Suite<'h> {
    host: &'h Host,
    name: String,
    options: Vec<String>,
}

impl<'h> Suite<'h> {
    /// Fetches the lists of the suite `name` of `source` into a folder in `lists`; those that have not changed stay.
    pub(super) fn fetch(
        host: &'h Host,
        source: &Source,
        name: &str,
        lists: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Self, KernelError> {
        let lines = source.lines(host, name)?;
        let text = lines.join("\n") + "\n";
        // Another mirror's lists are others.
        let folder = lists.join(format!("{name}-{}", Key::new().with(&text).text()));
        for sub in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(sub);
            fs::create_dir_all(&path).map_err(KernelError::file("create", &path))?;
        }
        let sources = folder.join("sources.list");
        fs::write(&sources, text).map_err(KernelError::file("write", &sources))?;
        let suite = Self {
            host,
            name: name.to_owned(),
            options: options(host, &folder, &sources),
        };
        suite
            .apt("apt-get")
            .args(["update", "-q"])
            // apt takes a mirror that does not answer for a trifle.
            .args(["-o", "APT::Update::Error-Mode=any"])
            .run(|line| progress.event(Event::Detail(line)))
            .map_err(|source| suite.unreadable(source))?;
        Ok(suite)
    }

    fn apt(&self, program: &str) -> Program {
        self.host.program(program).args(&self.options)
    }

    fn unreadable(&self, source: ImageError) -> KernelError {
        KernelError::Lists {
            suite: self.name.clone(),
            source,
        }
    }

    /// The kernels that the suite has, the newest first.
    pub(super) fn offers(&self) -> Result<Vec<Offer>, KernelError> {
        let names = self.apt("apt-cache").args(["pkgnames", "linux-"]).output();
        let names = names.map_err(|source| self.unreadable(source))?;
        let releases: Vec<&str> = names
            .lines()
            .filter_map(|name| Offer::named(name).map(|(release, _)| release))
            .collect();
        // The parts of newer kernels' packages end with the release.
        let wanted: Vec<&str> = names
            .lines()
            .filter(|name| releases.iter().any(|release| name.ends_with(release)))
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let shown = self.apt("apt-cache").arg("show").args(wanted).output();
        let shown = shown.map_err(|source| self.unreadable(source))?;
        Ok(Offer::all(&self.name, &offer::stanzas(&shown)))
    }

    /// Fetches the packages of `offer` into `folder`.
    pub(super) fn download(
        &self,
        offer: &Offer,
        folder: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), KernelError> {
        let packages = &offer.packages;
        let exactly = packages
            .iter()
            .map(|it| format!("{}={}", it.name, it.version));
        self.apt("apt-get")
            .args(["download", "-q=2", "-o", "APT::Status-Fd=1"])
            .args(exactly)
            .folder(folder)
            .run(|line| match percent(line) {
                Some(percent) => progress.event(Event::Bytes {
                    done: (offer.size as f64 * percent / 100.0) as u64,
                    total: offer.size,
                }),
                None => progress.event(Event::Detail(line)),
            })
            .map_err(|source| KernelError::Fetch {
                release: offer.release.clone(),
                source,
            })
    }
}

/// What tells apt that it works for this folder and not for the machine.
fn options(host: &Host, folder: &Path, sources: &Path) -> Vec<String> {
    let path = |sub: &str| folder.join(sub).display().to_string();
    let mut settings = vec![
        ("Dir::Etc::sourcelist", sources.display().to_string()),
        ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
        ("Dir::State::status", "/dev/null".to_owned()),
        ("Dir::State::Lists", path("lists")),
        ("Dir::Cache", path("cache")),
        ("APT::Architecture", "amd64".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
    ];
    if host.privileged {
        // apt's own user cannot read a user's cache.
        settings.push(("APT::Sandbox::User", "root".to_owned()));
    }
    let words = settings
        .into_iter()
        .flat_map(|(key, value)| ["-o".to_owned(), format!("{key}={value}")]);
    words.collect()
}

/// How much of all is done, from apt's `dlstatus:FILE:PERCENT:TEXT`.
fn percent(line: &str) -> Option<f64> {
    let (percent, _) = line
        .strip_prefix("dlstatus:")?
        .split_once(':')?
        .1
        .split_once(':')?;
    percent.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_progress_is_understood() {
        assert_eq!(
            percent("dlstatus:3:69.9445:Retrieving file 3 of 4"),
            Some(69.9445)
        );
        assert_eq!(percent("E: Failed to fetch"), None);
    }

    #[test]
    fn what_would_be_another_line_of_apts_is_refused() {
        let host = Host::new("".as_ref(), false);
        let folder = tempfile::tempdir().unwrap();
        let keyring = folder.path().join("keys.gpg");
        fs::write(&keyring, "").unwrap();
        let lines = |mirror: &str, suite: &str| {
            let source = Source {
                mirror: Some(mirror.to_owned()),
                keyring: Some(keyring.clone()),
            };
            source.lines(&host, suite)
        };
        let good = lines("http://mirror.example.org/debian", "trixie").unwrap();
        let options = format!("[arch=amd64 signed-by={}]", keyring.display());
        assert_eq!(
            good,
            [format!(
                "deb {options} http://mirror.example.org/debian trixie main"
            )]
        );
        for (mirror, suite) in [
            ("http://a/ x main\ndeb [trusted=yes] http://b/", "trixie"),
            ("[trusted=yes]", "trixie"),
            ("http://a/", "../../etc"),
            ("http://a/", "a b"),
            ("http://a/", ""),
        ] {
            let error = lines(mirror, suite).unwrap_err();
            assert!(matches!(error, KernelError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn without_keys_nothing_is_fetched() {
        let source = Source {
            mirror: Some("http://mirror.example.org/debian".to_owned()),
            keyring: Some("/nonexistent/keys.gpg".into()),
        };
        let error = source
            .lines(&Host::new("".as_ref(), false), "sid")
            .unwrap_err();
        assert!(matches!(error, KernelError::NoKeyring(_)), "{error}");
    }
}
