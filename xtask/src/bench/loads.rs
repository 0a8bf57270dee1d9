//! `bench fs`, `bench blk` and `bench console`: one load in the same guest on both programs, timed by the guest.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use pcp_vmm_tests::{initrd, kernels::Kernel};
use tempfile::TempDir;

use super::Options;
use super::contestant::Contestant;
use super::table::{Row, Table};
use super::user_exits::UserExits;
use crate::{command, place, release};

const KERNEL: &str = "6.12-cloud";
const LIMIT: Duration = Duration::from_secs(600);
const MACHINE: &str = "microvm,acpi=on,pcie=on,pit=off,pic=off,rtc=off,usb=off,x-option-roms=off,\
    isa-serial=on,auto-kernel-cmdline=off,memory-backend=ram";
/// The same for both programs.
const QUIET: &str = "console=ttyS0 quiet panic=-1 reboot=t";

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Fs,
    Blk,
    Console,
}

impl Subject {
    fn title(self) -> &'static str {
        match self {
            Self::Fs => "A shared folder in a Debian 6.12 guest, 1 vCPU",
            Self::Blk => "A raw disk in a Debian 6.12 guest, 1 vCPU",
            Self::Console => "64 MiB through hvc0 of a Debian 6.12 guest, 1 vCPU",
        }
    }

    /// What the guest does.
    fn script(self, mount: &str) -> String {
        let script = match self {
            Self::Fs => format!(
                "mkdir /mnt\n{mount}\n\
                load drop-caches; load read 'sequential read, 256 MiB' /mnt/big\n\
                load drop-caches; load random 'random read, 4096 x 4 KiB' /mnt/big 4096\n\
                load write 'sequential write, 64 MiB' /mnt/new 64\n\
                load drop-caches; load walk 'find and stat, 100000 files' /mnt/tree\n\
                load make 'make 2000 files' /mnt/made 20 100\n\
                load remove 'remove 2000 files' /mnt/made\n"
            ),
            Self::Blk => "load read-direct 'sequential read, 256 MiB' /dev/vda\n\
                load random-direct 'random read, 8192 x 4 KiB' /dev/vda 8192\n\
                load write 'sequential write, 128 MiB' /dev/vda 128\n"
                .into(),
            Self::Console => {
                "stty raw < /dev/hvc0\nload write '64 MiB to hvc0' /dev/hvc0 64\n".into()
            }
        };
        format!("{script}echo load ended\n")
    }
}

/// The program that does the load, built for the guest.
pub(super) fn prepare() -> Result<PathBuf> {
    release::set_up()?;
    let target = "x86_64-unknown-linux-musl";
    command::run(Command::new("cargo").current_dir(place::top()).args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "pcp-vmm-tests",
        "--bin",
        "load",
        "--target",
        target,
    ]))?;
    Ok(place::target().join(target).join("release/load"))
}

/// A program under measurement, with what must run beside it.
struct Side {
    contestant: Contestant,
    /// Started before each run, ended after it.
    server: Option<(Vec<String>, PathBuf)>,
    group: &'static str,
}

/// The files of a run, in memory: their reading from the machine's disk is not measured.
struct Files {
    folder: TempDir,
    vmm: PathBuf,
    qemu: PathBuf,
    kernel: Kernel,
    load: Vec<u8>,
}

impl Files {
    fn new(options: &Options) -> Result<Self> {
        let load = match &options.load {
            Some(path) => path.clone(),
            None => prepare()?,
        };
        let files = Self {
            folder: tempfile::tempdir().context("cannot make a folder")?,
            vmm: options.vmm()?,
            qemu: options.qemu()?,
            kernel: Kernel::named(KERNEL)?,
            load: fs::read(&load).with_context(|| format!("cannot read {}", load.display()))?,
        };
        fs::copy(files.kernel.elf(), files.path("vmlinux")).context("cannot copy the kernel")?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes the initramfs `name`, whose guest runs `script`.
    fn initramfs(&self, name: &str, script: &str) -> Result<()> {
        let base = self.kernel.initrd()?;
        let script = script
            .replace("load ", "/load ")
            .replace("echo /load", "echo load");
        let programs = [("load", &*self.load), ("job", script.as_bytes())];
        fs::write(self.path(name), initrd::with_programs(&base, &programs)?)
            .context("cannot write the initramfs")
    }

    fn ours(&self, name: &str, initrd: &str) -> Contestant {
        Contestant::new(name, &self.vmm)
            .args([
                "run",
                "--kernel",
                &self.text("vmlinux"),
                "--initrd",
                &self.text(initrd),
            ])
            .args([
                "--memory",
                "512M",
                "--cpus",
                "1",
                "--console",
                "serial=stdio",
                "--net",
                "none",
            ])
    }

    fn qemu(&self, name: &str, initrd: &str) -> Contestant {
        Contestant::new(name, &self.qemu)
            .args([
                "-M", MACHINE, "-accel", "kvm", "-cpu", "host", "-m", "512", "-smp", "1",
            ])
            .args(["-object", "memory-backend-memfd,id=ram,size=512M,share=on"])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .args(["-serial", "stdio", "-kernel", &self.text("vmlinux")])
            .args(["-initrd", &self.text(initrd)])
    }

    /// The folder that guests share: a large file, and a tree of many small ones.
    fn share(&self) -> Result<String> {
        let share = self.path("share");
        fs::create_dir(&share).context("cannot make the share")?;
        fs::write(share.join("big"), vec![7; 256 << 20]).context("cannot write a file")?;
        for folder in 0..500 {
            let folder = share.join(format!("tree/folder{folder}"));
            fs::create_dir_all(&folder).context("cannot make a folder")?;
            for file in 0..200 {
                fs::write(folder.join(format!("file{file}")), "x")
                    .context("cannot write a file")?;
            }
        }
        Ok(self.text("share"))
    }

    fn fs(&self) -> Result<Vec<Side>> {
        let share = self.share()?;
        self.initramfs("fuse", &Subject::Fs.script("mount -t virtiofs data /mnt"))?;
        let nine = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 data /mnt";
        self.initramfs("nine", &Subject::Fs.script(nine))?;
        let socket = self.path("virtiofsd.sock");
        let server = vec![
            virtiofsd()?,
            format!("--socket-path={}", socket.display()),
            "-o".into(),
            format!("source={share},cache=auto,sandbox=chroot"),
        ];
        let vhost = format!("socket,id=v,path={}", socket.display());
        let local = format!("local,id=f,path={share},security_model=none,multidevs=remap");
        Ok(vec![
            Side {
                contestant: self
                    .qemu("QEMU, virtiofsd", "fuse")
                    .args(["-append", QUIET, "-chardev", &vhost])
                    .args(["-device", "vhost-user-fs-pci,chardev=v,tag=data"]),
                server: Some((server, socket)),
                group: "virtio-fs",
            },
            Side {
                contestant: self.ours("pcp-vmm, virtio-fs", "fuse").args([
                    "--cmdline",
                    QUIET,
                    "--share",
                    &format!("data={share}"),
                ]),
                server: None,
                group: "virtio-fs",
            },
            Side {
                contestant: self
                    .qemu("QEMU, virtio-9p", "nine")
                    .args(["-append", QUIET, "-fsdev", &local])
                    .args(["-device", "virtio-9p-pci,fsdev=f,mount_tag=data"]),
                server: None,
                group: "9p",
            },
            Side {
                contestant: self.ours("pcp-vmm, 9p", "nine").args([
                    "--cmdline",
                    QUIET,
                    "--share",
                    &format!("data={share},proto=9p"),
                ]),
                server: None,
                group: "9p",
            },
        ])
    }

    fn blk(&self) -> Result<Vec<Side>> {
        self.initramfs("blk", &Subject::Blk.script(""))?;
        fs::write(self.path("disk"), vec![7; 256 << 20]).context("cannot write the disk")?;
        let drive = format!(
            "if=none,id=d,format=raw,aio=io_uring,file={}",
            self.text("disk")
        );
        let sides = [
            self.qemu("QEMU, io_uring", "blk")
                .args(["-append", QUIET, "-drive", &drive])
                .args(["-device", "virtio-blk-pci,drive=d"]),
            self.ours("pcp-vmm", "blk")
                .args(["--cmdline", QUIET, "--disk", &self.text("disk")]),
        ];
        Ok(sides.into_iter().map(|it| Side::alone(it, "blk")).collect())
    }

    fn console(&self) -> Result<Vec<Side>> {
        self.initramfs("console", &Subject::Console.script(""))?;
        let file = format!("file,id=c,path={}", self.text("qemu.out"));
        let ours = format!("virtio=file={}", self.text("ours.out"));
        let sides = [
            self.qemu("QEMU", "console")
                .args([
                    "-append",
                    QUIET,
                    "-chardev",
                    &file,
                    "-device",
                    "virtio-serial-pci",
                ])
                .args(["-device", "virtconsole,chardev=c"]),
            self.ours("pcp-vmm", "console")
                .args(["--cmdline", QUIET, "--console", &ours]),
        ];
        Ok(sides
            .into_iter()
            .map(|it| Side::alone(it, "hvc0"))
            .collect())
    }
}

impl Side {
    fn alone(contestant: Contestant, group: &'static str) -> Self {
        Self {
            contestant,
            server: None,
            group,
        }
    }

    /// One run: what the guest measured, by name, in its order.
    fn run(&self) -> Result<Vec<(String, f64)>> {
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

/// QEMU's file server, or the one that followed it.
fn virtiofsd() -> Result<String> {
    let places = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    Ok(found.context("virtiofsd is not installed")?.into())
}

/// Measures both programs in turn and prints a table of each load.
pub(super) fn run(subject: Subject, options: &Options) -> Result<()> {
    let files = Files::new(options)?;
    let sides = match subject {
        Subject::Fs => files.fs()?,
        Subject::Blk => files.blk()?,
        Subject::Console => files.console()?,
    };
    // A row for each load and side; the rows of one load and kind stand together.
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..options.runs(3) {
        for side in &sides {
            for (load, time) in side.run()? {
                let group = format!("{}: {load}", side.group);
                let name = format!("{load}: {}", side.contestant.name);
                if let Some(row) = rows.iter_mut().find(|row| row.name == name) {
                    row.push(time);
                    continue;
                }
                let mut row = Row::new(name, group.clone());
                row.push(time);
                let after = rows.iter().rposition(|row| row.group == group);
                rows.insert(after.map_or(rows.len(), |at| at + 1), row);
            }
        }
    }
    let table = Table {
        title: subject.title(),
        unit: "s",
        rows,
    };
    table.print(options.json)?;
    if subject == Subject::Console {
        exits(&files, options)?;
    }
    Ok(())
}

/// Counts the returns to user space while a kernel prints its log on ttyS0.
fn exits(files: &Files, options: &Options) -> Result<()> {
    const LOUD: &str = "console=ttyS0 panic=-1 reboot=t";
    files.initramfs("log", "echo load ended\n")?;
    let sides = [
        files.qemu("QEMU", "log").args(["-append", LOUD]),
        files.ours("pcp-vmm", "log").args(["--cmdline", LOUD]),
    ];
    let mut rows = Vec::new();
    for side in &sides {
        let counter = UserExits::start()?;
        let said = side.said(LIMIT)?;
        let exits = counter.stop()?;
        let mut row = Row::new(&side.name, "exits");
        row.push(exits / f64::from(u32::try_from(said.len())?));
        rows.push(row);
    }
    let title = "Returns to user space for each byte of boot log on ttyS0";
    Table {
        title,
        unit: "count",
        rows,
    }
    .print(options.json)
}
