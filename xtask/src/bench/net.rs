//! `bench net`: bulk TCP between a guest and the host, beside QEMU with the same kernel and initrd: through the user-mode
//! networks (to the host's loopback address), through a TAP that each program serves, and through vhost-net.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};
use pcp_vmm_tests::kernels::Kernel;
use tempfile::TempDir;

use super::Options;
use super::contestant::{Contestant, refresh};
use super::qemu::{COMMAND_LINE, microvm};
use super::table::{Row, Table};
use crate::command;

const KERNEL: &str = "6.12-cloud";
const TAP: &str = "pcpbench0";
const LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(5);

const MIB: usize = 1 << 20;
/// What one transfer carries.
const SIZE: usize = 32 * MIB;
/// Bytes that go to and fro, one at a time.
const ROUND_TRIPS: u16 = 200;

/// What the guest does in one run.
const DIRECTIONS: [&str; 3] = ["to the guest", "from the guest", "round trips"];

/// The files of a run, in memory: their reading is not measured.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(kernel: &Kernel, vmm: &Path, ports: [u16; 3]) -> Result<Self> {
        let files = Self {
            folder: tempfile::tempdir().context("cannot make a folder")?,
        };
        for (name, from) in [("vmlinux", kernel.elf()), ("vmm", vmm.into())] {
            fs::copy(&from, files.folder.path().join(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        kernel.write_initrd(&script(ports), &files.folder.path().join("initrd"))?;
        Ok(files)
    }

    fn text(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn ours(&self, name: &str, net: &str) -> Contestant {
        Contestant::new(name, Path::new(&self.text("vmm")))
            .args(["run", "--kernel", &self.text("vmlinux")])
            .args(["--initrd", &self.text("initrd")])
            .args(["--cmdline", COMMAND_LINE, "--memory", "512M", "--cpus", "1"])
            .args(["--console", "serial=stdio", "--net", net])
    }

    fn qemu(&self, name: &str, program: &Path, net: &str) -> Contestant {
        microvm(name, program, "512", "1")
            .args([
                "-serial",
                "stdio",
                "-append",
                COMMAND_LINE,
                "-kernel",
                &self.text("vmlinux"),
            ])
            .args(["-initrd", &self.text("initrd"), "-netdev", net])
            .args(["-device", "virtio-net-pci,netdev=n,romfile="])
    }

    /// The programs, two by two; those behind a TAP where there can be one.
    fn contestants(&self, qemu: &Path, tap: bool) -> Vec<(&'static str, Contestant)> {
        let mut all = vec![
            ("user", self.qemu("QEMU slirp", qemu, "user,id=n")),
            ("user", self.ours("pcp-vmm user", "user")),
        ];
        for (name, vhost) in [("TAP", "off"), ("vhost-net", "on")] {
            if tap {
                let theirs = format!("tap,id=n,ifname={TAP},script=no,downscript=no,vhost={vhost}");
                let ours = format!("tap,ifname={TAP},vhost={vhost}");
                all.push((name, self.qemu(&format!("QEMU {name}"), qemu, &theirs)));
                all.push((name, self.ours(&format!("pcp-vmm {name}"), &ours)));
            }
        }
        all
    }
}

/// A TAP that both programs find, with the host's address of the user-mode networks: guests need not know.
struct Tap;

impl Tap {
    fn new() -> Result<Self> {
        for module in ["tun", "vhost_net"] {
            // What is built in is no module.
            let _ = Command::new("modprobe").arg(module).status();
        }
        let ip = |words: &str| command::run(Command::new("ip").args(words.split(' ')));
        ip(&format!("tuntap add {TAP} mode tap vnet_hdr")).context("a TAP needs root")?;
        let tap = Self;
        ip(&format!("addr add 10.0.2.2/24 dev {TAP}"))?;
        ip(&format!("link set {TAP} up"))?;
        Ok(tap)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["tuntap", "del", TAP, "mode", "tap"])
            .status();
    }
}

/// What the guest runs: the socket is the standard input and output of the program behind `nc -e`.
fn script([down, up, echo]: [u16; 3]) -> String {
    let count = SIZE / (256 << 10);
    format!(
        "ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0\n\
         ip route add default via 10.0.2.2\n\
         for i in 1 2; do\n\
         nc 10.0.2.2 {down} -e dd of=/dev/null bs=256k\n\
         nc 10.0.2.2 {up} -e dd if=/dev/zero bs=256k count={count}\n\
         done\n\
         nc 10.0.2.2 {echo} -e dd bs=1 count={ROUND_TRIPS}\n"
    )
}

/// Measures both programs in turn.
pub(super) fn run(options: &Options) -> Result<()> {
    let vmm = options.vmm()?;
    let lab = env::var_os("PCP_VMM_LAB").is_some();
    let listeners = [listener(lab)?, listener(lab)?, listener(lab)?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener
            .local_addr()
            .context("a listener without an address")?
            .port();
    }
    let files = Files::new(&Kernel::named(KERNEL)?, &vmm, ports)?;
    // On a machine that is somebody's, its networks are left alone.
    let tap = if lab { Some(Tap::new()?) } else { None };
    let mut all = files.contestants(&options.qemu()?, tap.is_some());
    all.retain(|(_, it)| options.wants(&it.name));
    let mut rows: Vec<Row> = Vec::new();
    for way in DIRECTIONS {
        for (net, it) in &all {
            rows.push(Row::new(
                format!("{}, {way}", it.name),
                format!("{net} {way}"),
            ));
        }
    }
    let there: Vec<_> = all.iter().enumerate().collect();
    let back: Vec<_> = there.iter().rev().copied().collect();
    for turn in [&there, &back].into_iter().cycle().take(options.runs(5)) {
        for (place, (_, contestant)) in turn {
            refresh()?;
            let figures = transfers(contestant, &listeners)?;
            eprintln!("{}: {figures:.0?}", contestant.name);
            for (way, figure) in figures.into_iter().enumerate() {
                rows[way * all.len() + *place].push(figure);
            }
        }
    }
    let trips = rows.split_off(2 * all.len());
    Table {
        title: if lab {
            "TCP between a guest and the host, 32 MiB, in the lab; 1 vCPU"
        } else {
            "TCP between a guest and the host, 32 MiB; 1 vCPU"
        },
        unit: "MiB/s",
        rows,
    }
    .print(options.json)?;
    Table {
        title: "One byte to the guest and back, one at a time",
        unit: "1/s",
        rows: trips,
    }
    .print(options.json)
}

/// A port for the guest: through a user-mode network it comes to the loopback address, through a TAP to the TAP's.
fn listener(tap: bool) -> Result<TcpListener> {
    let address = if tap { "0.0.0.0:0" } else { "127.0.0.1:0" };
    let listener = TcpListener::bind(address).context("cannot listen")?;
    listener.set_nonblocking(true).context("cannot listen")?;
    Ok(listener)
}

/// One run of a guest: MiB/s to and from it, round trips in a second.
fn transfers(contestant: &Contestant, [down, up, echo]: &[TcpListener; 3]) -> Result<[f64; 3]> {
    let mut child = contestant.spawn()?;
    let console = child.stdout.take().context("no standard output")?;
    // The guest waits for whoever reads its console.
    let reader = thread::spawn(move || {
        let mut said = String::new();
        let mut console = console;
        let _ = console.read_to_string(&mut said);
        said
    });
    let figures = (|| {
        let mut best = [0_f64; 2];
        // The first transfers warm up.
        for _ in 0..2 {
            best = [
                send(&mut accept(&mut child, down)?)?,
                receive(&mut accept(&mut child, up)?)?,
            ];
        }
        let trips = round_trips(&mut accept(&mut child, echo)?)?;
        Ok([best[0], best[1], trips])
    })();
    if figures.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().context("cannot wait for a program")?;
    let said = reader.join().unwrap_or_default();
    if figures.is_err() || !status.success() {
        let last = command::last_lines(said.as_bytes(), 12);
        let error = figures
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        bail!("{} ended with {status}: {error}\n{last}", contestant.name);
    }
    figures
}

fn accept(child: &mut Child, listener: &TcpListener) -> Result<TcpStream> {
    let begin = Instant::now();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).context("a socket fails")?;
            stream
                .set_read_timeout(Some(LIMIT))
                .context("a socket fails")?;
            stream
                .set_write_timeout(Some(LIMIT))
                .context("a socket fails")?;
            stream.set_nodelay(true).context("a socket fails")?;
            return Ok(stream);
        }
        if child
            .try_wait()
            .context("cannot wait for a program")?
            .is_some()
        {
            bail!("it ended before its guest connected");
        }
        if begin.elapsed() > LIMIT {
            bail!("its guest did not connect within {LIMIT:?}");
        }
        thread::sleep(POLL);
    }
}

/// MiB/s to the guest, until it has read everything and closed.
fn send(stream: &mut TcpStream) -> Result<f64> {
    let data = vec![0; 256 << 10];
    let begin = Instant::now();
    for _ in 0..SIZE / data.len() {
        stream.write_all(&data).context("cannot send")?;
    }
    stream.shutdown(Shutdown::Write).context("cannot send")?;
    // What `dd` says of itself comes the same way.
    let mut said = Vec::new();
    stream.read_to_end(&mut said).context("cannot receive")?;
    Ok(rate(SIZE, begin))
}

/// MiB/s from the guest.
fn receive(stream: &mut TcpStream) -> Result<f64> {
    let mut buffer = vec![0; 256 << 10];
    let begin = Instant::now();
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).context("cannot receive")? {
            0 => break,
            n => received += n,
        }
    }
    if received < SIZE {
        bail!("{received} bytes came instead of {SIZE}");
    }
    Ok(rate(received, begin))
}

fn round_trips(stream: &mut TcpStream) -> Result<f64> {
    let begin = Instant::now();
    let mut byte = [7];
    for _ in 0..ROUND_TRIPS {
        stream.write_all(&byte).context("cannot send")?;
        stream.read_exact(&mut byte).context("cannot receive")?;
    }
    Ok(f64::from(ROUND_TRIPS) / begin.elapsed().as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "a size of a few MiB is exact")]
fn rate(bytes: usize, begin: Instant) -> f64 {
    bytes as f64 / MIB as f64 / begin.elapsed().as_secs_f64()
}
