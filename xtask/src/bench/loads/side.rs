//! A program under measurement with what must run beside it, and what the guest says of its run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use crate::bench::contestant::Contestant;

pub(super) const LIMIT: Duration = Duration::from_secs(900);

/// A program under measurement, with what must run beside it.
pub(super) struct Side {
    pub(super) contestant: Contestant,
    /// Started before each run, ended after it.
    pub(super) server: Option<(Vec<String>, PathBuf)>,
    pub(super) group: &'static str,
}

impl Side {
    pub(super) fn alone(contestant: Contestant, group: &'static str) -> Self {
        Self {
            contestant,
            server: None,
            group,
        }
    }

    /// One run: what the guest measured, by name, in its order.
    pub(super) fn run(&self) -> Result<Vec<(String, f64)>> {
        let server = self
            .server
            .as_ref()
            .map(|(words, socket)| serve(words, socket));
        let mut server = server.transpose()?;
        let said = self.contestant.said(LIMIT);
        if let Some(server) = &mut server {
            // It ends with its client; a client that failed to start leaves it waiting.
            let _ = server.kill();
            let _ = server.wait();
        }
        let said = said?;
        if !said.contains("load ended") {
            bail!(
                "the guest of {} did not finish:\n{said}",
                self.contestant.name
            );
        }
        let lines = said.lines().filter_map(|line| line.split_once("load: "));
        let pairs = lines.filter_map(|(_, line)| line.trim().rsplit_once(' '));
        let pair = |(name, time): (&str, &str)| Some((name.to_owned(), time.parse().ok()?));
        Ok(pairs.filter_map(pair).collect())
    }
}

/// Starts a vhost-user server and waits for its socket.
fn serve(words: &[String], socket: &Path) -> Result<Child> {
    let _ = fs::remove_file(socket);
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", words[0]))?;
    let end = Instant::now() + Duration::from_secs(20);
    while !socket.exists() {
        if child
            .try_wait()
            .context("cannot wait for a server")?
            .is_some()
            || Instant::now() > end
        {
            let _ = child.kill();
            bail!("{} does not serve", words.join(" "));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}
