//! The way into a VM that runs already: its socket device, behind which the guest's agent listens.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use guest::wire::{Call, PORT, Token, VERSION};
use rustix::rand::{GetRandomFlags, getrandom};
use vmm::config::{DeviceSpec, VmSpec};
use vmm::instance::Entry;

use crate::diagnostic::Diagnostic;
use crate::process::Process;

/// How long a guest that starts may take until its agent listens.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between two calls.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the agent may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Ports below have meanings of their own, or are the agent's.
const FIRST_PORT: u32 = 1 << 16;

/// The way into a guest.
#[derive(Debug)]
pub(super) struct Way {
    name: String,
    /// The Unix socket that leads into the guest.
    socket: PathBuf,
    process: Process,
}

impl Way {
    /// The way into the VM of `entry`.
    pub(super) fn into(entry: &Entry) -> Result<Self, Diagnostic> {
        let name = entry.name();
        let record = entry.record.as_ref();
        let spec = record.and_then(|it| serde_json::from_value::<VmSpec>(it.spec.clone()).ok());
        let devices = spec.map(|spec| spec.devices).unwrap_or_default();
        let device = devices.into_iter().find_map(|device| match device {
            DeviceSpec::Vsock(vsock) => Some(vsock),
            _ => None,
        });
        let no_way = || Diagnostic::failure("no-agent", format!("there is no way into `{name}`"));
        let device = device.ok_or_else(|| {
            no_way()
                .cause("it has no socket device")
                .hint("`pcp-vmm run --vsock cid=3,socket=PATH` gives it one; guests of images that `pcp-vmm image build` \
                    makes have one by themselves")
        })?;
        let socket = device.socket.ok_or_else(|| {
            no_way()
                .cause("its socket device is the kernel's")
                .hint("`pcp-vmm run --vsock cid=3,socket=PATH` gives it one of the VMM's")
        })?;
        let directory = record.and_then(|it| it.directory.clone());
        let process = record.map(|it| Process::open(it.pid));
        let Some(Ok(Some(process))) = process else {
            return Err(Diagnostic::failure("ended", format!("`{name}` has ended")));
        };
        Ok(Self {
            name,
            socket: directory.unwrap_or_default().join(socket),
            process,
        })
    }

    /// A call that nobody can guess.
    pub(super) fn new_call(&self) -> Result<Call, Diagnostic> {
        let mut random = [0; 20];
        getrandom(&mut random, GetRandomFlags::empty()).map_err(|error| {
            Diagnostic::failure("random", "this machine has no random numbers").because(&error)
        })?;
        let [a, b, c, d, token @ ..] = random;
        let token: Token = token;
        let port = FIRST_PORT + (u32::from_le_bytes([a, b, c, d]) >> 1);
        Ok(Call { port, token })
    }

    /// Where the device looks for who listens to `call`'s connections.
    pub(super) fn place(&self, call: &Call) -> PathBuf {
        let mut place = self.socket.clone().into_os_string();
        place.push(format!("_{}", call.port));
        place.into()
    }

    /// Whether the VM has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.process.wait(Duration::ZERO)
    }

    /// Makes the call.
    pub(super) fn make(&self, call: &Call) -> Result<(), Diagnostic> {
        let failed = || {
            let what = format!("the guest of `{}` runs no commands", self.name);
            Diagnostic::failure("no-agent", what)
        };
        let begin = Instant::now();
        let mut caller = loop {
            match dial(&self.socket) {
                Ok(caller) => break caller,
                Err(error) if begin.elapsed() > PATIENCE || self.is_closed() => {
                    return Err(failed()
                        .because(&error)
                        .hint("its agent may not be up yet: `pcp-vmm wait` waits for the guest")
                        .hint("guests of images that `pcp-vmm image build` makes have an agent"));
                }
                Err(_) => thread::sleep(PAUSE),
            }
        };
        let mut version = [0];
        let answered = call
            .write(&mut caller)
            .and_then(|()| caller.set_read_timeout(Some(ANSWER)))
            .and_then(|()| caller.read_exact(&mut version));
        answered.map_err(|error| failed().cause("its agent does not answer").because(&error))?;
        match version {
            [VERSION] => Ok(()),
            [other] => Err(failed()
                .cause(format!(
                    "its agent speaks version {other}, this program {VERSION}"
                ))
                .hint("`pcp-vmm image build` makes the image anew")),
        }
    }
}

/// A connection to the agent: the device connects who asks for a port (docs/cli.md, `--vsock`).
fn dial(socket: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(format!("CONNECT {PORT}\n").as_bytes())?;
    // One byte at a time: what follows the line is the agent's.
    let mut line = String::new();
    BufReader::with_capacity(1, &stream).read_line(&mut line)?;
    if line.starts_with("OK ") {
        Ok(stream)
    } else {
        Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "nobody listens in the guest",
        ))
    }
}
