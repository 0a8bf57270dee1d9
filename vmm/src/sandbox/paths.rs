//! Landlock: which files the process may still reach by name, and no socket or process of others
//! (Linux Documentation/userspace-api/landlock.rst).
//!
//! What is open already stays usable, so disks, console files and `/dev/kvm` need no rule.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

use crate::config::{ConsoleSpec, DeviceSpec, NetBackendSpec, ShareProtocol, VmSpec, VsockSpec};

/// What may be done beneath a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The file itself is read.
    ReadFile,
    /// Files are read and folders listed.
    Read,
    /// Everything but running programs and using devices.
    Change,
    /// Files are removed from the folder.
    Remove,
    /// Empty folders are removed from the folder.
    RemoveFolder,
    /// Files are made in the folder, written, and take each other's place.
    Log,
}

impl Use {
    fn rights(self) -> BitFlags<AccessFs> {
        match self {
            Self::ReadFile => AccessFs::ReadFile.into(),
            Self::Read => AccessFs::ReadFile | AccessFs::ReadDir,
            Self::Change => AccessFs::from_all(KNOWN) & !(AccessFs::Execute | AccessFs::IoctlDev),
            Self::Remove => AccessFs::RemoveFile.into(),
            Self::RemoveFolder => AccessFs::RemoveDir.into(),
            Self::Log => AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::RemoveFile,
        }
    }
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    path: PathBuf,
    allows: Use,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.allows {
            Use::ReadFile => "read",
            Use::Read => "read beneath",
            Use::Change => "change files beneath",
            Use::Remove => "remove a file from",
            Use::RemoveFolder => "remove an empty folder from",
            Use::Log => "write logs to",
        };
        write!(f, "{verb} `{}`", self.path.display())
    }
}

/// All that a machine may do by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    files: Vec<Rule>,
    /// Whether TCP ports are for the process to bind and to connect to.
    network: bool,
}

/// The version of Landlock's interface that the rules are written for.
const KNOWN: ABI = ABI::V5;
/// The version from which on files may be moved between folders (`LANDLOCK_ACCESS_FS_REFER`).
const MOVES: u32 = 2;
const RESOLVER: &str = "/etc/resolv.conf";
const PROCESSOR: &str = "/proc/cpuinfo";

impl Rules {
    /// The rules for a machine like `spec`.
    pub(super) fn of(spec: &VmSpec) -> Self {
        let mut this = Self {
            files: Vec::new(),
            network: false,
        };
        // The report of a failed run looks there for what the processor lacks.
        this.allow(PROCESSOR.as_ref(), Use::ReadFile);
        this.console(&spec.serial);
        if let Some(control) = &spec.control {
            this.goes(control);
        }
        for monitor in spec.monitors.iter().filter(|it| !it.connects) {
            this.goes(&monitor.path);
        }
        if let Some(file) = &spec.pid_file {
            this.goes(file);
        }
        if let Some(folder) = &spec.console_logs {
            this.allow(folder, Use::Log);
        }
        if let Some(folder) = &spec.instance {
            if spec.control.as_ref().and_then(|path| path.parent()) != Some(folder) {
                this.allow(folder, Use::Remove);
            }
            this.allow(folder.parent().unwrap_or(folder), Use::RemoveFolder);
        }
        for device in &spec.devices {
            match device {
                DeviceSpec::Console(console) => this.console(console),
                DeviceSpec::Net(net) => this.network(&net.backend),
                // Its files are its server's, to whom we are connected.
                DeviceSpec::Fs(share) if share.protocol == ShareProtocol::VhostUser => {}
                DeviceSpec::Fs(share) if share.read_only => this.allow(&share.path, Use::Read),
                DeviceSpec::Fs(share) => this.allow(&share.path, Use::Change),
                DeviceSpec::Vsock(VsockSpec { socket, .. }) => {
                    if let Some(socket) = socket {
                        this.goes(socket);
                    }
                }
                DeviceSpec::Blk(_) | DeviceSpec::Balloon(_) | DeviceSpec::Rng => {}
            }
        }
        this
    }

    fn allow(&mut self, path: &Path, allows: Use) {
        self.files.push(Rule {
            path: path.to_owned(),
            allows,
        });
    }

    fn console(&mut self, console: &ConsoleSpec) {
        if let ConsoleSpec::Unix(path) = console {
            self.goes(path);
        }
    }

    /// The file, a socket or another of the run, is removed at its end.
    fn goes(&mut self, path: &Path) {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        self.allow(folder.unwrap_or(".".as_ref()), Use::Remove);
    }

    fn network(&mut self, backend: &NetBackendSpec) {
        match backend {
            NetBackendSpec::User(_) => {
                self.network = true;
                self.resolver();
            }
            NetBackendSpec::Tap(_) | NetBackendSpec::VhostUser { .. } => {}
        }
    }

    /// The list of name servers, which may be replaced while the guest runs: where it is a link
    /// into a folder of a resolver's own, that folder; in `/etc`, the one file.
    fn resolver(&mut self) {
        self.allow(RESOLVER.as_ref(), Use::ReadFile);
        let target = fs::canonicalize(RESOLVER).ok();
        let folder = target.as_deref().and_then(Path::parent);
        if let Some(folder) = folder.filter(|folder| *folder != Path::new("/etc")) {
            self.allow(folder, Use::ReadFile);
        }
    }

    /// Whether a Landlock of this version would keep a share from working as it should.
    pub(super) fn harmed_by(&self, version: u32) -> bool {
        version < MOVES && self.files.iter().any(|rule| rule.allows == Use::Change)
    }

    /// What is allowed, in words.
    pub(super) fn files(&self) -> impl Iterator<Item = &Rule> {
        self.files.iter()
    }

    /// Binds the calling thread, and those that it starts, to the rules, as far as the kernel can.
    pub(super) fn enforce(&self) -> Result<(), RulesetError> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::AbstractUnixSocket | Scope::Signal)?;
        if !self.network {
            rules = rules.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
        }
        let mut rules = rules.create()?;
        for rule in &self.files {
            // What is not there needs no permission.
            if let Ok(path) = PathFd::new(&rule.path) {
                rules = rules.add_rule(PathBeneath::new(path, rule.allows.rights()))?;
            }
        }
        rules.restrict_self().map(drop)
    }
}
