//! The second half of the demonstration: a guest of the variant `base`, from its start to its end.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail};
use pcp_vmm_tests::Stream;
use pcp_vmm_tests::ssh::{Ssh, speaks};

use super::phases::Phases;

/// Host ports of the variant `base`.
const CONSOLE: u16 = 24500;
const SSH: u16 = 22022;
const PMCD: u16 = 44321;

/// What the serial console shows on the way, and what that means.
const LANDMARKS: [(&str, &str); 4] = [
    ("Linux version", "the kernel runs"),
    ("Run /init", "the initramfs runs"),
    ("systemd[1]", "systemd runs"),
    ("login:", "the console asks for a login"),
];
const PASSWORD: &str = "pcp";
const QUESTION: &str = "pminfo -f kernel.all.load";
/// How long a boot may take: generous, for the lab.
const LIMIT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// A program that is ended with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            // Something went wrong before; the guest must not stay behind.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Starts the guest, tells its phases, asks it over SSH, and powers it off.
pub(super) fn show(vmm: &Path) -> Result<()> {
    let mut phases = Phases::begin();
    let mut run = Command::new(vmm);
    run.args(["run", "--variant", "base", "--no-progress"])
        .stdin(Stdio::null());
    if env::var_os("PCP_VMM_LAB").is_some() {
        // As many as the lab has: more would wait for each other.
        run.args(["--cpus", "1"]);
    }
    let mut running = Running(run.spawn().context("cannot start the program")?);
    follow(&mut running.0, &mut phases)?;

    let ssh = Ssh::new(SSH, PASSWORD)?;
    println!("\n$ ssh -p {} root@localhost {QUESTION}", SSH);
    let answer = ask(&ssh)?;
    println!("{}", answer.trim_end());
    println!();
    phases.done("the guest has answered over SSH");
    let powered = ssh.run("systemctl poweroff", COMMAND_LIMIT)?;
    let status = wait(&mut running.0)?;
    phases.done("the guest has powered off");
    if !status.success() {
        bail!("the program ended with {status}; poweroff said: {powered:?}");
    }
    println!("\nthe guest:");
    phases.print();
    Ok(())
}

/// Tells what the console and the ports show until SSH and pmcd answer.
fn follow(child: &mut Child, phases: &mut Phases) -> Result<()> {
    let end = Instant::now() + LIMIT;
    let mut console: Option<Stream> = None;
    let mut landmarks = LANDMARKS.to_vec();
    let answers = watch(&[(SSH, "the SSH server answers"), (PMCD, "pmcd answers")]);
    let mut open = 2;
    while open > 0 {
        if let Some(status) = child.try_wait().context("cannot wait for the program")? {
            bail!("the program ended with {status} before the guest was ready");
        }
        if Instant::now() > end {
            let seen = console.map(|it| it.text()).unwrap_or_default();
            let tail = crate::command::last_lines(seen.as_bytes(), 20);
            bail!("the guest was not ready within {LIMIT:?}; the end of its console:\n{tail}");
        }
        if console.is_none() {
            console = TcpStream::connect(("127.0.0.1", CONSOLE))
                .ok()
                .map(Stream::read);
        }
        let seen = console.as_ref().map(Stream::text).unwrap_or_default();
        landmarks.retain(|(text, meaning)| {
            let passed = seen.contains(text);
            if passed {
                phases.done(meaning);
            }
            !passed
        });
        if let Ok(meaning) = answers.recv_timeout(POLL) {
            phases.done(meaning);
            open -= 1;
        }
    }
    Ok(())
}

/// Reports each of `services` once, when somebody speaks at its port.
fn watch(services: &[(u16, &'static str)]) -> Receiver<&'static str> {
    let (sender, receiver) = channel();
    for &(port, meaning) in services {
        let sender = sender.clone();
        thread::spawn(move || {
            while !speaks(port) {
                thread::sleep(POLL);
            }
            // Nobody listens any more if the guest has failed.
            let _ = sender.send(meaning);
        });
    }
    receiver
}

/// The guest's answer; PCP may need a moment after pmcd has begun to listen.
fn ask(ssh: &Ssh) -> Result<String> {
    let end = Instant::now() + LIMIT;
    loop {
        match ssh.text(QUESTION, COMMAND_LIMIT) {
            Ok(answer) if answer.contains("value ") => return Ok(answer),
            Ok(answer) if Instant::now() > end => bail!("the guest has no value: {answer}"),
            Err(error) if Instant::now() > end => return Err(error),
            _ => thread::sleep(Duration::from_millis(500)),
        }
    }
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus> {
    let end = Instant::now() + COMMAND_LIMIT;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the program")? {
            return Ok(status);
        }
        if Instant::now() > end {
            bail!("the guest did not power off within {COMMAND_LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
