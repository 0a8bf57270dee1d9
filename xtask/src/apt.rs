//! Debian packages: installs what the machine lacks, and fetches single packages of other suites without touching the
//! machine's own package sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The machine's Debian release, by code name; an error on any other system.
pub(crate) fn release() -> Result<String> {
    let path = "/etc/os-release";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let field = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.trim_matches('"'))
    };
    match (field("ID="), field("VERSION_CODENAME=")) {
        (Some("debian"), Some(name)) => Ok(name.into()),
        (id, _) => bail!(
            "this set-up needs Debian's packages and this is `{}`; use a Debian 12 or 13 machine or container",
            id.unwrap_or("unknown")
        ),
    }
}

/// Those of `packages` that are not installed.
pub(crate) fn missing(packages: &[&str]) -> Vec<String> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(packages);
    let output = query.output().map(|done| done.stdout).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let there = |package: &str| {
        output
            .lines()
            .any(|line| line == format!("{package} installed"))
    };
    packages
        .iter()
        .filter(|package| !there(package))
        .map(|&package| package.into())
        .collect()
}

/// Installs those of `packages` that are missing.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    let options = [
        "-q",
        "-y",
        "-o",
        "DPkg::Lock::Timeout=300",
        "--no-install-recommends",
    ];
    let install = || {
        command::run(
            as_root("apt-get")?
                .arg("install")
                .args(options)
                .args(&missing),
        )
    };
    // The lists on a fresh machine are empty or old; those of a prepared one serve as they are.
    if install().is_ok() {
        return Ok(());
    }
    command::run(as_root("apt-get")?.args(["update", "-q"]))
        .context("cannot fetch package lists")?;
    install().with_context(|| format!("cannot install {}", missing.join(" ")))
}

/// `program`, run as root: directly, or by sudo where that asks nothing.
fn as_root(program: &str) -> Result<Command> {
    if which("apt-get").is_none() {
        bail!("`apt-get` is missing; this set-up needs a Debian machine or container");
    }
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else if Command::new("sudo")
        .args(["-n", "true"])
        .output()
        .is_ok_and(|it| it.status.success())
    {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "--preserve-env=DEBIAN_FRONTEND", program]);
        sudo
    } else {
        bail!("installing packages needs root: run this as root, or allow sudo without a password")
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

/// The path of `program`, if the search path has it.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// One suite of the machine's own mirror, with lists of its own in a private folder.
#[derive(Debug)]
pub(crate) struct Suite {
    options: Vec<String>,
    name: String,
}

impl Suite {
    /// Fetches the package lists of suite `name` into `dir`.
    pub(crate) fn fetch(name: &str, dir: &Path) -> Result<Self> {
        for sub in ["lists/partial", "cache/archives/partial"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let sources = dir.join("sources.list");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let line = format!(
            "deb [arch=amd64 signed-by={keyring}] {} {name} main\n",
            mirror()?
        );
        fs::write(&sources, line).with_context(|| format!("cannot write {}", sources.display()))?;
        let option = |key: &str, value: &dyn std::fmt::Display| {
            [String::from("-o"), format!("{key}={value}")]
        };
        let mut options = Vec::new();
        options.extend(option("Dir::Etc::sourcelist", &sources.display()));
        options.extend(option("Dir::Etc::sourceparts", &"/dev/null"));
        options.extend(option("Dir::State::Lists", &dir.join("lists").display()));
        options.extend(option("Dir::Cache", &dir.join("cache").display()));
        options.extend(option("APT::Architecture", &"amd64"));
        if rustix::process::geteuid().is_root() {
            options.extend(option("APT::Sandbox::User", &"root"));
        }
        let suite = Self {
            options,
            name: name.into(),
        };
        command::run(suite.apt("apt-get").args(["update", "-q"]))
            .with_context(|| format!("cannot fetch the package lists of {name}"))?;
        Ok(suite)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// The newest version of `package` in this suite.
    pub(crate) fn version(&self, package: &str) -> Result<String> {
        let table = command::text(self.apt("apt-cache").args(["madison", package]))?;
        let version = table.lines().next().and_then(|line| line.split('|').nth(1));
        let version = version.with_context(|| format!("{} has no package {package}", self.name))?;
        Ok(version.trim().into())
    }

    /// The packages that `package` depends on.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let text = command::text(
            self.apt("apt-cache")
                .args(["depends", "--important", package]),
        )?;
        let names = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(String::from).collect())
    }

    /// `package` and all packages without which it does not run, as for a machine that has none.
    pub(crate) fn closure(&self, package: &str, dir: &Path) -> Result<Vec<String>> {
        let none = dir.join("status");
        fs::write(&none, "").with_context(|| format!("cannot write {}", none.display()))?;
        let mut get = self.apt("apt-get");
        get.arg("-o")
            .arg(format!("Dir::State::status={}", none.display()));
        get.args(["--simulate", "--no-install-recommends", "install", package]);
        let plan = command::text(&mut get)?;
        let installed = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
        Ok(installed
            .filter_map(|line| line.split_whitespace().next())
            .map(String::from)
            .collect())
    }

    /// Downloads `packages` (`name` or `name=version`) into `dir`; what is there already is not fetched again.
    pub(crate) fn download(&self, packages: &[String], dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut get = self.apt("apt-get");
        get.args(["download", "-q"]).args(packages).current_dir(dir);
        command::run(&mut get).with_context(|| format!("cannot download {}", packages.join(" ")))
    }
}

/// The address of the mirror that the machine itself uses for Debian's main archive.
fn mirror() -> Result<String> {
    let release = release()?;
    let mut query = Command::new("apt-get");
    query.args([
        "indextargets",
        "--format",
        "$(RELEASE) $(SITE)",
        "Created-By: Packages",
    ]);
    let targets = command::text(&mut query)?;
    targets
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{release} ")))
        .map(String::from)
        .with_context(|| format!("the machine's package sources do not name the suite {release}"))
}

/// Unpacks the package file `deb` into `root`.
pub(crate) fn unpack(deb: &Path, root: &Path) -> Result<()> {
    command::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(root))
}
