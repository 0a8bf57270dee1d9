//! Commands in a guest, by the machine's own `ssh`.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A way into a guest through a forwarded port of this machine.
#[derive(Debug)]
pub struct Ssh {
    port: u16,
    folder: TempDir,
}

impl Ssh {
    /// The way through `port`, with a password.
    ///
    /// # Errors
    ///
    /// When the program that gives the password cannot be written.
    pub fn new(port: u16, password: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for ssh")?;
        let path = folder.path().join("password");
        let script = format!("#!/bin/sh\necho '{password}'\n");
        fs::write(&path, script).context("cannot write the password's program")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
            .context("cannot make the password's program executable")?;
        Ok(Self { port, folder })
    }

    /// `ssh root@localhost WORDS`, not started yet.
    #[must_use]
    pub fn command(&self, words: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-p", &self.port.to_string()]);
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=60",
            "PreferredAuthentications=password",
            "PubkeyAuthentication=no",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.args(["-F", "none", "root@localhost", words]);
        ssh.env("SSH_ASKPASS", self.folder.path().join("password"));
        ssh.env("SSH_ASKPASS_REQUIRE", "force").stdin(Stdio::null());
        ssh
    }

    /// Runs `words` in the guest.
    ///
    /// # Errors
    ///
    /// When `ssh` cannot be started, or the command does not end within `limit`.
    pub fn run(&self, words: &str, limit: Duration) -> Result<Output> {
        let mut child = self
            .command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `ssh` (package openssh-client)")?;
        let out = child.stdout.take().map(crate::Stream::read);
        let err = child.stderr.take().map(crate::Stream::read);
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = child.try_wait().context("cannot wait for ssh")? {
                break status;
            }
            if Instant::now() > end {
                // It is only a client; the guest notices that it is gone.
                let _ = child.kill();
                let _ = child.wait();
                bail!("`{words}` did not end in the guest within {limit:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let all =
            |stream: Option<crate::Stream>| stream.map_or(Ok(Vec::new()), |it| it.wait_for_end(5));
        Ok(Output {
            status,
            stdout: all(out)?,
            stderr: all(err)?,
        })
    }

    /// Runs `words`, which must succeed, and returns what it printed.
    ///
    /// # Errors
    ///
    /// When the command fails or does not end within `limit`.
    pub fn text(&self, words: &str, limit: Duration) -> Result<String> {
        let output = self.run(words, limit)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`{words}` ended with {} in the guest: {said}{errors}",
                output.status
            );
        }
        Ok(said)
    }
}

/// Whether somebody speaks first at `port` of this machine, as SSH servers and pmcd do: a forwarded port accepts before
/// the guest does.
#[must_use]
pub fn speaks(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut first = [0];
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .is_ok()
        && matches!(stream.read(&mut first), Ok(1))
}
