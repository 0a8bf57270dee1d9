//! The sandbox: after the machine is built, each thread may make only the system calls of its role
//! (seccomp), and the process reaches only its own files (Landlock), with no capability that it
//! does not need and no way to new ones.
//!
//! Order matters. [`Sandbox::enter`] binds the supervisor's thread to Landlock's rules and takes
//! its capabilities while it is the only one: all others inherit that. Each thread then puts itself
//! under its filter as the first thing it does, the supervisor last ([`Sandbox::close`]). Filters
//! add up, and a device's thread is started when its driver asks, by a vCPU that may do much less:
//! so from `enter` on a thread of its own, `launch`, starts them.

mod bpf;
mod call;
mod capabilities;
mod launch;
mod names;
mod paths;
mod request;
mod roles;
pub mod support;
mod sys;
mod tables;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use devices::event_loop::{Body, Threads};
use rustix::thread::{CapabilitySet, set_no_new_privs};
use serde::{Deserialize, Serialize};

use crate::config::VmSpec;
use bpf::Otherwise;
use launch::Launcher;
use paths::Rules;
use roles::Role;

/// How strict the sandbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxMode {
    /// What is not allowed ends the process.
    #[default]
    On,
    /// What is not allowed is done, and told by the kernel's audit log.
    Audit,
    /// There is none.
    Off,
}

impl fmt::Display for SandboxMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Audit => "audit",
            Self::Off => "off",
        })
    }
}

/// What is written to standard error when a thread makes a call that its role does not have, with
/// a clause about the call in the middle, and the status that the process then ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What comes before the clause.
    pub head: String,
    /// What comes after it.
    pub tail: String,
    /// The exit status.
    pub status: u8,
}

/// Why a machine cannot be put into its sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel has no filters, or takes none from us.
    #[error("cannot filter system calls")]
    Filter(#[source] io::Error),
    /// Landlock refused its rules.
    #[error("cannot restrict files")]
    Files(#[source] landlock::RulesetError),
    /// Capabilities cannot be given up.
    #[error("cannot give up capabilities")]
    Capabilities(#[source] io::Error),
    /// The thread that starts others cannot be had.
    #[error("cannot start threads")]
    Launch(#[source] io::Error),
}

/// The sandbox of one machine.
#[derive(Debug)]
pub(crate) struct Sandbox {
    spec: VmSpec,
    launcher: OnceLock<Launcher>,
}

impl Sandbox {
    /// The sandbox for a machine like `spec`; nothing is confined yet.
    #[must_use]
    pub(crate) fn new(spec: &VmSpec) -> Self {
        Self {
            spec: spec.clone(),
            launcher: OnceLock::new(),
        }
    }

    fn is_off(&self) -> bool {
        self.spec.sandbox == SandboxMode::Off
    }

    /// Confines the process, as yet a single thread, in all that threads have in common.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub(crate) fn enter(&self, notice: Notice) -> Result<(), SandboxError> {
        if self.is_off() {
            return Ok(());
        }
        // What the kernel told this process of itself is read when first needed, by a system call
        // or from /proc, which no thread has later; the clock's fast path hangs on it.
        let _ = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let _ = rustix::param::page_size();
        sys::catch_forbidden_calls(notice).map_err(SandboxError::Filter)?;
        set_no_new_privs(true).map_err(|error| SandboxError::Filter(error.into()))?;
        self.restrict_files()?;
        let kept = capabilities::needed(&self.spec);
        capabilities::keep(kept).map_err(SandboxError::Capabilities)
    }

    fn restrict_files(&self) -> Result<(), SandboxError> {
        let rules = Rules::of(&self.spec);
        if self.spec.sandbox == SandboxMode::Audit {
            for rule in rules.files() {
                log::info!("the sandbox would let the process {rule}");
            }
            return Ok(());
        }
        match sys::landlock_version() {
            Ok(version) if rules.harmed_by(version) => {
                log::warn!(
                    "files are not restricted: this kernel's Landlock ({version}) would keep \
                    the guest from moving files between folders"
                );
                Ok(())
            }
            Ok(_) => rules.enforce().map_err(SandboxError::Files),
            Err(error) => {
                log::info!("files are not restricted: no Landlock: {error}");
                Ok(())
            }
        }
    }

    /// From now on threads are started by a thread for that, where devices need some.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn launch(self: &Arc<Self>) -> Result<(), SandboxError> {
        if self.is_off() || !roles::has_launcher(&self.spec) {
            return Ok(());
        }
        let launcher = Launcher::start(self).map_err(SandboxError::Launch)?;
        // Whoever comes second finds one that does as well.
        let _ = self.launcher.set(launcher);
        Ok(())
    }

    /// Puts the calling thread, the supervisor's, under its filter; the last step.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub(crate) fn close(&self) -> Result<(), SandboxError> {
        if self.is_off() {
            return Ok(());
        }
        self.confine(Role::Main.name())
            .map_err(SandboxError::Filter)
    }

    /// Puts the calling thread under the filter of the role that `name` tells.
    ///
    /// # Errors
    /// There is no such role, or the kernel does not take the filter.
    pub(crate) fn confine(&self, name: &str) -> io::Result<()> {
        let otherwise = match self.spec.sandbox {
            SandboxMode::Off => return Ok(()),
            SandboxMode::On => Otherwise::Trap,
            SandboxMode::Audit => Otherwise::Log,
        };
        let role = Role::of(name).ok_or_else(|| {
            let text = format!("the sandbox has no role for thread `{name}`");
            io::Error::new(io::ErrorKind::Unsupported, text)
        })?;
        if !role.is_privileged() {
            capabilities::keep(CapabilitySet::empty())?;
        }
        sys::install(&bpf::compile(&role.calls(&self.spec), otherwise))
    }

    /// Starts a thread that confines itself before it does anything else.
    fn spawn(self: &Arc<Self>, name: &str, body: Body) -> io::Result<JoinHandle<()>> {
        let sandbox = Arc::clone(self);
        let role = name.to_owned();
        let confined = move || match sandbox.confine(&role) {
            Ok(()) => body(),
            Err(error) => log::error!("thread {role} cannot be confined and ends: {error}"),
        };
        thread::Builder::new().name(name.to_owned()).spawn(confined)
    }
}

/// [`Threads`] of a machine in its sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Confined(pub(crate) Arc<Sandbox>);

impl Threads for Confined {
    fn start(&self, name: &str, body: Body) -> io::Result<JoinHandle<()>> {
        match self.0.launcher.get() {
            Some(launcher) => launcher.spawn(name, body),
            None => self.0.spawn(name, body),
        }
    }
}

#[cfg(test)]
mod tests;
