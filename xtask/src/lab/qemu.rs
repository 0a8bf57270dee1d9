//! L1 itself: QEMU's process, the sockets of its ports, and the job's way through it.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::{RawTerminal, join, size_line};
use super::job::{Job, NO_STATUS, TIMED_OUT};
use super::setup::Parts;
use super::watch::{Event, Process, Watch, signal_code};
use super::{LabArgs, image, output};
use crate::apt;

/// How long output may lag behind the command's status.
const DRAIN: Duration = Duration::from_secs(20);
/// L1's command line: what it need not do to run one command.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 quiet mitigations=off nowatchdog \
    cryptomgr.notests init_on_alloc=0 tsc=reliable no_timer_check nokaslr audit=0 apparmor=0 \
    raid=noautodetect random.trust_cpu=on rcupdate.rcu_expedited=1 8250.nr_uarts=1";
/// A clock that QEMU cannot make stand still: an interrupt that is lost comes again.
const PERIODIC_TICK: &str = "highres=off nohz=off";
/// Precise where QEMU counts instructions, too: with the APIC's timer a guest's QEMU then waits for ever.
const COUNTED_TICK: &str = "nolapic_timer";

/// Boots L1, runs the job, and returns its exit status.
pub(super) fn run(args: &LabArgs, parts: &Parts) -> Result<u8> {
    let begin = Instant::now();
    let job = Job::new(args)?;
    job.describe(args.shell, &parts.modules)?;
    let mut qemu = machine(args, parts, &job)?;
    disks(args, &job, &mut qemu)?;
    let watch = Watch::new()?;
    let terminal = args.shell.then(RawTerminal::take).transpose()?;
    let ports = Ports::open(&job, args.shell, &mut qemu)?;
    let log = fs::File::create(job.path("qemu.log")).context("cannot make QEMU's log")?;
    let deadline = args.limit().map(|limit| begin + limit);
    qemu.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0);
    let child = qemu.spawn().context("cannot start QEMU")?;
    let process = watch.attend(child);
    ports.serve(&job, &watch.sender());
    let session = Session {
        job: &job,
        watch: &watch,
        process,
        begin,
        verbose: args.verbose,
    };
    let result = session.attend(deadline, if args.shell { 0 } else { 2 });
    process.end();
    watch.reaped(Instant::now() + DRAIN);
    drop(terminal);
    result
}

fn machine(args: &LabArgs, parts: &Parts, job: &Job) -> Result<Command> {
    let binary = parts.qemu.join("usr/bin/qemu-system-x86_64");
    // setpriv ends QEMU with this process, even if that is killed.
    let setpriv = apt::which("setpriv").context("`setpriv` (package util-linux) is missing")?;
    let mut qemu = Command::new(setpriv);
    qemu.args(["--pdeathsig", "KILL"]).arg(binary);
    for data in [
        parts.qemu.join("usr/share/qemu"),
        "/usr/share/seabios".into(),
    ] {
        qemu.arg("-L").arg(data);
    }
    qemu.args([
        "-M",
        "q35",
        "-cpu",
        "EPYC,+x2apic",
        "-m",
        &args.mem.to_string(),
    ]);
    if args.icount {
        qemu.args([
            "-accel",
            "tcg,thread=single",
            "-icount",
            "shift=0",
            "-smp",
            "1",
        ]);
    } else {
        qemu.args(["-accel", "tcg,thread=multi", "-smp", &args.smp.to_string()]);
    }
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    qemu.arg("-serial")
        .arg(format!("file:{}", plain(&job.path("console"))?));
    qemu.arg("-kernel")
        .arg(&parts.kernel)
        .arg("-initrd")
        .arg(&parts.initrd);
    let clock = match (args.precise_timers, args.icount) {
        (false, _) => PERIODIC_TICK,
        (true, false) => "",
        (true, true) => COUNTED_TICK,
    };
    qemu.arg("-append").arg(format!("{COMMAND_LINE} {clock}"));
    // Files by 9p, where QEMU's own threads write what L1 reads. The pages that a vhost-user server writes change
    // behind TCG's back, and L1 would go on executing what it had translated from their old contents.
    share(&mut qemu, "host", Path::new("/"), ",readonly=on")?;
    share(&mut qemu, "job", job.dir(), "")?;
    for (tag, path) in job.tags() {
        share(&mut qemu, &tag, path, "")?;
    }
    Ok(qemu)
}

fn share(qemu: &mut Command, tag: &str, path: &Path, options: &str) -> Result<()> {
    let path = plain(path)?;
    qemu.arg("-virtfs").arg(format!(
        "local,path={path},mount_tag={tag},security_model=none,multidevs=remap{options}"
    ));
    Ok(())
}

/// `path` as text that QEMU's option syntax and L1's lists take unchanged.
fn plain(path: &Path) -> Result<&str> {
    match path.to_str() {
        Some(text) if !text.contains([',', ' ', '\n']) => Ok(text),
        _ => bail!(
            "the lab cannot use the path `{}`: it has a comma or a space",
            path.display()
        ),
    }
}

/// Adds the disks that the call asks for, and writes the list of those that L1 mounts.
fn disks(args: &LabArgs, job: &Job, qemu: &mut Command) -> Result<()> {
    let mut attach = |name: &str, file: &Path, options: &str| -> Result<()> {
        let file = plain(file)?;
        qemu.arg("-drive")
            .arg(format!("if=none,id={name},file={file},format=raw{options}"));
        qemu.arg("-device")
            .arg(format!("virtio-blk-pci,drive={name},serial={name}"));
        Ok(())
    };
    for (index, disk) in args.disk.iter().enumerate() {
        let (path, options) = match disk.strip_suffix(",ro") {
            Some(path) => (path, ",readonly=on"),
            None => (disk.as_str(), ""),
        };
        let path = fs::canonicalize(path).with_context(|| format!("cannot use disk `{path}`"))?;
        attach(&format!("disk{index}"), &path, options)?;
    }
    let mut list = String::new();
    for (index, dir) in args.image_of.iter().enumerate() {
        let dir =
            fs::canonicalize(dir).with_context(|| format!("cannot use `{}`", dir.display()))?;
        let name = format!("image{index}");
        attach(&name, &image::of(&dir)?, ",readonly=on")?;
        list.push_str(&format!("{name} {}\n", plain(&dir)?));
    }
    job.write("images", &list)
}

/// The listening ends of L1's ports.
struct Ports {
    streams: Vec<(Port, UnixListener)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Port {
    Out,
    Err,
    Control,
    Terminal,
}

impl Ports {
    fn open(job: &Job, terminal: bool, qemu: &mut Command) -> Result<Self> {
        qemu.args(["-device", "virtio-serial-pci"]);
        let mut streams = Vec::new();
        for (port, name) in [
            (Port::Out, "out"),
            (Port::Err, "err"),
            (Port::Control, "control"),
        ] {
            streams.push((port, listen(job, name, "virtserialport", qemu)?));
        }
        if terminal {
            streams.push((
                Port::Terminal,
                listen(job, "terminal", "virtconsole", qemu)?,
            ));
        }
        Ok(Self { streams })
    }

    /// Serves every port from a thread of its own.
    fn serve(self, job: &Job, events: &Sender<Event>) {
        for (port, listener) in self.streams {
            let (events, mark) = (events.clone(), job.mark.clone());
            thread::spawn(move || {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                // A port breaks off when QEMU ends, which is an event of its own.
                let _ = match port {
                    Port::Out => output::relay(stream, io::stdout(), &mark),
                    Port::Err => output::relay(stream, io::stderr(), &mark),
                    Port::Control => control(stream, &events),
                    Port::Terminal => join(stream, events.clone()).map_err(io::Error::other),
                };
                if matches!(port, Port::Out | Port::Err) {
                    let _ = events.send(Event::Drained);
                }
            });
        }
    }
}

fn listen(job: &Job, name: &str, device: &str, qemu: &mut Command) -> Result<UnixListener> {
    let path = job.path(&format!("{name}.sock"));
    let listener = UnixListener::bind(&path).context("cannot make a socket for a port")?;
    qemu.arg("-chardev")
        .arg(format!("socket,id={name},path={}", plain(&path)?));
    qemu.arg("-device")
        .arg(format!("{device},chardev={name},name=lab.{name}"));
    Ok(listener)
}

/// Reads what L1 tells: the command's start and its exit status.
fn control(stream: UnixStream, events: &Sender<Event>) -> io::Result<()> {
    let sizes = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let event = match line?.split_once(' ') {
            Some(("exit", status)) => Event::Status(status.parse().unwrap_or(NO_STATUS)),
            _ => Event::Started(sizes.try_clone()?),
        };
        if events.send(event).is_err() {
            break;
        }
    }
    Ok(())
}

/// Tells L1 the terminal's size.
fn resize(stream: Option<&mut UnixStream>) {
    if let Some(stream) = stream {
        // A port that is gone shows as QEMU's end.
        let _ = stream.write_all(size_line().as_bytes());
    }
}

/// A running lab.
struct Session<'a> {
    job: &'a Job,
    watch: &'a Watch,
    process: Process,
    begin: Instant,
    verbose: bool,
}

impl Session<'_> {
    /// Waits for the command's status and for the `open` output streams.
    fn attend(&self, mut deadline: Option<Instant>, mut open: usize) -> Result<u8> {
        let mut status = None;
        let mut sizes = None;
        loop {
            if let (Some(code), 0) = (status, open) {
                self.tell("ended");
                return Ok(code);
            }
            match self.watch.next(deadline) {
                Some(Event::Started(stream)) => {
                    self.tell("command started");
                    sizes = Some(stream);
                    resize(sizes.as_mut());
                }
                Some(Event::Status(code)) => {
                    status = Some(code);
                    deadline = Some(Instant::now() + DRAIN);
                }
                Some(Event::Drained) => open = open.saturating_sub(1),
                Some(Event::Resized) => resize(sizes.as_mut()),
                Some(Event::Signal(number)) => return Ok(signal_code(number)),
                Some(Event::Left) => return Ok(NO_STATUS),
                Some(Event::Ended(how)) => {
                    self.explain(&format!(
                        "L1 ended without the command's exit status ({how})"
                    ));
                    return Ok(status.unwrap_or(NO_STATUS));
                }
                None if status.is_some() => {
                    self.explain("output is missing: its reader or L1 is stuck");
                    return Ok(NO_STATUS);
                }
                None => {
                    self.explain("the command did not end in time");
                    return Ok(TIMED_OUT);
                }
            }
        }
    }

    fn tell(&self, what: &str) {
        if self.verbose {
            eprintln!(
                "lab: {what} after {:.1} s",
                self.begin.elapsed().as_secs_f64()
            );
        }
    }

    /// Says why there is no status, with the end of L1's console and of QEMU's messages.
    fn explain(&self, why: &str) {
        self.process.end();
        eprintln!("lab: {why}");
        for (title, name) in [("L1's console", "console"), ("QEMU", "qemu.log")] {
            let text = fs::read_to_string(self.job.path(name)).unwrap_or_default();
            let tail = last_words(&text);
            if !tail.is_empty() {
                eprintln!("lab: the last lines of {title}:\n{tail}");
            }
        }
    }
}

/// The end of a log; all of it from the first sign of a kernel in trouble.
fn last_words(log: &str) -> String {
    const SIGNS: [&str; 4] = ["Kernel panic", "BUG: ", "Oops: ", "soft lockup"];
    // TCG names each feature of the processor model that it leaves out.
    let lines: Vec<_> = log
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("TCG doesn't support"))
        .collect();
    let trouble = lines
        .iter()
        .position(|line| SIGNS.iter().any(|sign| line.contains(sign)));
    let begin = lines
        .len()
        .saturating_sub(8)
        .min(trouble.unwrap_or(usize::MAX));
    lines[begin..]
        .iter()
        .take(80)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_shown_from_its_trouble_on() {
        let calm: String = (0..20).map(|line| format!("line {line}\n")).collect();
        assert_eq!(last_words(&calm).lines().next(), Some("line 12"));
        let panic = format!("{calm}Kernel panic - not syncing\n{calm}");
        assert_eq!(last_words(&panic).lines().count(), 21);
        assert_eq!(last_words("warning: TCG doesn't support this\n"), "");
    }
}
