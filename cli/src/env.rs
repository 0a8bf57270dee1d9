//! The environment variables that the program reads; it reads no others.

use std::ffi::OsString;
use std::path::PathBuf;

/// A variable and what it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does, in one sentence.
    pub(crate) meaning: &'static str,
}

macro_rules! variables {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $meaning:literal;)*) => {
        $($(#[$doc])* #[doc = $meaning] pub(crate) const $constant: &str = $name;)*
        /// All variables, in the order of the documentation.
        pub(crate) const ALL: &[Variable] = &[$(Variable { name: $name, meaning: $meaning }),*];
    };
}

// Expands to `pub(crate) const VARIANT: &str = "PCP_VMM_VARIANT";` and so on, and to the list ALL.
variables! {
    VARIANT = "PCP_VMM_VARIANT", "The variant of `run` (as `--variant`).";
    BUNDLE = "PCP_VMM_BUNDLE", "The bundle of `run` (as `--bundle`).";
    MEMORY = "PCP_VMM_MEMORY", "The guest's memory (as `--memory`).";
    CPUS = "PCP_VMM_CPUS", "The number of vCPUs (as `--cpus`).";
    NET = "PCP_VMM_NET", "The network (as `--net`).";
    SANDBOX = "PCP_VMM_SANDBOX", "The sandbox (as `--sandbox`).";
    PORT_OFFSET = "PCP_VMM_PORT_OFFSET", "What is added to the bundle's host ports (as `--port-offset`).";
    CACHE = "PCP_VMM_CACHE", "The folder of built images and unpacked kernels, in place of `$XDG_CACHE_HOME/pcp-vmm`.";
    RUNTIME_DIR = "PCP_VMM_RUNTIME_DIR", "The folder of the running VMs (as `--runtime-dir`).";
    STATE_DIR = "PCP_VMM_STATE_DIR", "The folder of what is kept between runs (as `--state-dir`).";
    LOG_DIR = "PCP_VMM_LOG_DIR", "The folder of the logs of VMs and their consoles (as `--log-dir`).";
    TMP_DIR = "PCP_VMM_TMP_DIR", "The folder of what is there only while an image is built (as `--tmp-dir`).";
    ASKPASS = "PCP_VMM_ASKPASS", "Set by `ssh` for itself: the program prints it, as the answer to a question for a password.";
    LOG = "PCP_VMM_LOG", "A log filter: a level, or `TARGET=LEVEL` with commas between.";
    NO_COLOR = "NO_COLOR", "Any value: no colours.";
    CLICOLOR_FORCE = "CLICOLOR_FORCE", "Any value: colours even where there is no terminal.";
    CI = "CI", "Any value: no progress bars.";
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME", "The folder of `pcp-vmm/config.toml`; `~/.config` by default.";
    XDG_CACHE_HOME = "XDG_CACHE_HOME", "The folder of `pcp-vmm/`, the cache; `~/.cache` by default.";
    XDG_RUNTIME_DIR = "XDG_RUNTIME_DIR", "The folder of `pcp-vmm/`, the running VMs; without it, `/tmp/pcp-vmm-UID`, and for root always `/run/pcp-vmm`.";
    XDG_STATE_HOME = "XDG_STATE_HOME", "The folder of `pcp-vmm/`, what is kept between runs; `~/.local/state` by default, and for root always `/var/lib/pcp-vmm`.";
    SUDO_UID = "SUDO_UID", "Set by sudo: the user for whom root sets up the network, unless `--user` names one.";
    NOTIFY_SOCKET = "NOTIFY_SOCKET", "Set by the service manager: the socket that is told of readiness and state (sd_notify).";
    HOME = "HOME", "The user's folder.";
}

/// The value of the variable `name`, unless it is empty.
pub(crate) fn get(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether the variable `name` has a value.
pub(crate) fn is_set(name: &str) -> bool {
    get(name).is_some()
}

/// The user's configuration file, if there is a home for it.
pub(crate) fn config_file() -> Option<PathBuf> {
    in_home(XDG_CONFIG_HOME, ".config").map(|dir| dir.join("pcp-vmm/config.toml"))
}

/// The folder of built images and unpacked kernels, if there is a home for it.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    get(CACHE)
        .map(PathBuf::from)
        .or_else(|| in_home(XDG_CACHE_HOME, ".cache").map(|dir| dir.join("pcp-vmm")))
}

/// The folder of the running VMs, unless the user names one.
pub(crate) fn runtime_dir() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return "/run/pcp-vmm".into();
    }
    let own = get(XDG_RUNTIME_DIR).map(PathBuf::from);
    match own.filter(|dir| dir.is_absolute()) {
        Some(dir) => dir.join("pcp-vmm"),
        None => format!("/tmp/pcp-vmm-{user}").into(),
    }
}

/// The folder of what is kept between runs, unless the user names one; `None` without a home for it.
pub(crate) fn state_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/pcp-vmm".into());
    }
    in_home(XDG_STATE_HOME, ".local/state").map(|dir| dir.join("pcp-vmm"))
}

/// The folder of logs, unless the user names one; `None` without a home for it.
pub(crate) fn log_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/log/pcp-vmm".into());
    }
    state_dir().map(|dir| dir.join("log"))
}

/// The folder that `variable` names, or `fallback` in the user's folder, if there is one. A relative path is no
/// answer (XDG Base Directory Specification 0.8, "Environment variables").
fn in_home(variable: &str, fallback: &str) -> Option<PathBuf> {
    get(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            // Nix's builds have one that must not be made.
            let home = get(HOME).map(PathBuf::from).filter(|home| home.is_dir());
            home.map(|home| home.join(fallback))
        })
}
