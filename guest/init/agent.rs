//! Runs the commands that the host asks for: the only one, as the guest's first process that powers off behind it, or any
//! number beside what the guest does.

mod command;
mod service;
mod streams;

pub(crate) use service::{LISTEN, SESSION, install, listen, session};

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::command::Running;
use crate::sys::vsock;
use crate::wire::{Channel, Demand, How, Network, News, Order, Step, Token};
use crate::{Failure, report, sys};

/// How long the host's side may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the host may take to end the guest once it knows all, before the guest does.
const FAREWELL: Duration = Duration::from_secs(2);
/// signal(7).
const SIGKILL: u8 = 9;

/// File systems that programs expect beside the root: kind, place, options.
const MOUNTS: [(&str, &str, &str); 8] = [
    ("devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/run", "mode=0755"),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("bpf", "/sys/fs/bpf", "mode=0700"),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("securityfs", "/sys/kernel/security", ""),
];
/// Where programs look for their name server.
const RESOLVER: &str = "/etc/resolv.conf";
const OWN_RESOLVER: &str = "/run/resolv.conf";
/// What `/dev` has by custom.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Does the work of a guest that runs one command; returns only what stops it. A root that `keeps` changes is left as after
/// an orderly shutdown.
pub(crate) fn run(port: u32, keeps: bool) -> Result<Infallible, Failure> {
    furnish();
    let host = Host {
        port,
        token: Token::default(),
    };
    let role = Role {
        // What the command wrote to shares and disks is there when the host is told, which then ends the guest.
        last_act: if keeps { close_root } else { sys::sync },
        gone: |_| sys::power_off(),
    };
    while serve(host, role)? == Next::Order {}
    thread::sleep(FAREWELL);
    sys::power_off();
    Err("the machine does not power off".to_owned())
}

/// Ends what still runs and lets nobody change the root any more.
fn close_root() {
    sys::signal_all(SIGKILL);
    sys::sync();
    let begin = Instant::now();
    // Processes that end may have files open for a moment.
    while let Err(error) = sys::freeze("/") {
        if begin.elapsed() > FAREWELL {
            report::note(&format!("the root is not closed: {error}"));
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Where the host waits for a session's connections.
#[derive(Clone, Copy)]
struct Host {
    port: u32,
    token: Token,
}

/// What a command's end and its host's mean.
#[derive(Clone, Copy)]
struct Role {
    /// Done when the command has ended, before the host is told.
    last_act: fn(),
    /// Called with the command's process if the host is gone before its end.
    gone: fn(u32),
}

/// What a session is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another order.
    Order,
    /// The end.
    End,
}

/// Runs the command that `host` orders.
fn serve(host: Host, role: Role) -> Result<Next, Failure> {
    let failed = |what: &str, error: &io::Error| format!("cannot {what}: {error}");
    let control =
        connect(host, Channel::Control).map_err(|error| failed("reach the host", &error))?;
    let mut news = control
        .try_clone()
        .map_err(|error| failed("reach the host", &error))?;
    let mut demands = BufReader::new(control);
    let order = Order::read(&mut demands).map_err(|error| failed("read the order", &error))?;
    // From then on the host has a right to be gone.
    let over = Arc::new(AtomicBool::new(false));
    let last = match settle(&order).and_then(|()| Running::start(&order, host)) {
        Ok(running) => {
            let pid = running.pid();
            let terminal = running.terminal();
            News::Started
                .write(&mut news)
                .map_err(|error| failed("tell the host", &error))?;
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while let Ok(demand) = Demand::read(&mut demands) {
                    match (demand, &terminal) {
                        (Demand::Signal(signal), _) => sys::signal(pid, signal),
                        (Demand::SignalGroup(signal), _) => sys::signal_group(pid, signal),
                        (Demand::Resize(size), Some(terminal)) => {
                            let _ = sys::terminal::resize(terminal, size.rows, size.columns);
                        }
                        (Demand::Resize(_), None) => {}
                    }
                }
                if !over.load(Ordering::Acquire) {
                    (role.gone)(pid);
                }
            });
            running.wait()
        }
        Err((step, error)) => News::Failed {
            step,
            errno: error.raw_os_error().unwrap_or(0),
        },
    };
    (role.last_act)();
    over.store(true, Ordering::Release);
    last.write(&mut news)
        .and_then(|()| news.flush())
        .map_err(|error| failed("tell the host", &error))?;
    let succeeded = matches!(
        last,
        News::Ended {
            how: How::Exited(0),
            ..
        }
    );
    Ok(match order.stays && !succeeded {
        true => Next::Order,
        false => Next::End,
    })
}

/// Makes the guest's surroundings; what the kernel lacks is noted.
fn furnish() {
    for (kind, place, options) in MOUNTS {
        // `/dev` is the kernel's, and has no folders of its own; a small root may lack the other.
        if place.starts_with("/dev/") || place == "/run" {
            let _ = fs::create_dir(place);
        }
        if !Path::new(place).is_dir() {
            continue;
        }
        if let Err(error) = sys::mount(kind, place, kind, sys::Flags::NOSUID, options) {
            report::note(&format!("no {kind} on {place}: {error}"));
        }
    }
    for (target, link) in LINKS {
        let _ = symlink(target, link);
    }
    if let Err(error) = sys::network::up("lo") {
        report::note(&format!("no loopback network: {error}"));
    }
}

/// Gives the guest the place that `order` says.
fn settle(order: &Order) -> Result<(), (Step, io::Error)> {
    if !order.hostname.is_empty()
        && let Err(error) = sys::network::set_hostname(&order.hostname)
    {
        report::note(&format!("no name: {error}"));
    }
    for mount in &order.mounts {
        let tag = String::from_utf8_lossy(&mount.tag);
        let folder = String::from_utf8_lossy(&mount.folder);
        let (source, kind, options) = match &*tag {
            "" => ("tmpfs", "tmpfs", "mode=1777"),
            tag => (tag, "virtiofs", ""),
        };
        fs::create_dir_all(&*folder)
            .and_then(|()| sys::mount(source, &folder, kind, sys::Flags::empty(), options))
            .map_err(|error| (Step::Mount, error))?;
    }
    for link in &order.links {
        let place = Path::new(OsStr::from_bytes(&link.path));
        let folder = place.parent().unwrap_or(Path::new("/"));
        let made = fs::create_dir_all(folder)
            .and_then(|()| symlink(OsStr::from_bytes(&link.target), place));
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err((Step::Mount, error));
            }
            _ => {}
        }
    }
    if let Some(network) = &order.network
        && let Err(error) = connect_to(network)
    {
        report::note(&format!("no network: {error}"));
    }
    Ok(())
}

/// Gives the network card its address, and names a server.
fn connect_to(network: &Network) -> io::Result<()> {
    let cards = fs::read_dir("/sys/class/net")?.filter_map(Result::ok);
    let mut names = cards.map(|card| card.file_name().to_string_lossy().into_owned());
    let card = names.find(|name| name != "lo");
    let card = card.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    sys::network::configure(&card, network.address, network.netmask, network.gateway)?;
    name_server(&format!("nameserver {}\n", network.nameserver))
}

/// Names the server without a change to the root, which may outlive the guest.
fn name_server(text: &str) -> io::Result<()> {
    let shown = fs::write(OWN_RESOLVER, text)
        .and_then(|()| fs::canonicalize(RESOLVER))
        .and_then(|file| sys::bind(OWN_RESOLVER, &file.to_string_lossy()));
    if shown.is_ok() {
        return Ok(());
    }
    // It may be a link to what is not there.
    let _ = fs::remove_file(RESOLVER);
    fs::write(RESOLVER, text)
}

/// A connection to the host, once it listens.
fn connect(host: Host, channel: Channel) -> io::Result<File> {
    let begin = Instant::now();
    loop {
        match vsock::connect(host.port) {
            Ok(mut stream) => {
                stream.write_all(&[&[channel.byte()], &host.token[..]].concat())?;
                return Ok(stream);
            }
            Err(error) if begin.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}
