//! Who holds a port or a file: the process behind a listening TCP or bound UDP socket, or one that
//! has a file open, as far as `/proc` tells (other users' processes show their descriptors to root
//! alone).

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Which of the kernel's tables to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Listening TCP sockets.
    Tcp,
    /// Bound UDP sockets.
    Udp,
}

/// A process that holds a port or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOwner {
    /// The process id.
    pub pid: u32,
    /// The command's short name (`/proc/PID/comm`).
    pub name: String,
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Finds the process that keeps `address` from being bound, if `/proc` tells.
///
/// A socket on any local address counts, since a wildcard address clashes with every other.
#[must_use]
pub fn port_owner(transport: Transport, address: SocketAddr) -> Option<PortOwner> {
    let tables = match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inodes: Vec<u64> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| socket_inodes(&table, transport, address.port()))
        .collect();
    inodes
        .into_iter()
        .find_map(|inode| holder(Path::new(&format!("socket:[{inode}]")), 0))
}

/// Finds another process that has the file at `path` open, if `/proc` tells.
#[must_use]
pub fn file_owner(path: &Path) -> Option<PortOwner> {
    holder(&fs::canonicalize(path).ok()?, std::process::id())
}

/// The inodes of the sockets in `table` that hold `port`. Columns: sl, local address, remote
/// address, state, queues, timer, retransmits, uid, timeout, inode (Linux
/// Documentation/networking/proc_net_tcp.rst).
fn socket_inodes(table: &str, transport: Transport, port: u16) -> Vec<u64> {
    let state = match transport {
        Transport::Tcp => "0A", // TCP_LISTEN
        Transport::Udp => "07", // TCP_CLOSE: unconnected
    };
    let inode = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = columns.get(1)?.rsplit_once(':')?;
        let found = u16::from_str_radix(local, 16).ok()? == port && columns.get(3) == Some(&state);
        columns.get(9).filter(|_| found)?.parse().ok()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// A process, other than `except`, of whose descriptors one leads to `link`.
fn holder(link: &Path, except: u32) -> Option<PortOwner> {
    let holds = |process: &Path| {
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
            return false;
        };
        descriptors
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == link))
    };
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|s| s.parse().ok()) else {
            continue;
        };
        if pid != except && holds(&process.path()) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let name = name.trim_end().to_owned();
            return Some(PortOwner { pid, name });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn a_listening_tcp_port_names_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = port_owner(Transport::Tcp, listener.local_addr().unwrap()).unwrap();
        assert_eq!(owner.pid, std::process::id());
        let text = owner.to_string();
        assert!(text.ends_with(&format!(" (pid {})", owner.pid)), "{text}");
    }

    #[test]
    fn a_bound_udp_port_names_its_process() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let owner = port_owner(Transport::Udp, socket.local_addr().unwrap()).unwrap();
        assert_eq!(owner.pid, std::process::id());
    }

    #[test]
    fn an_open_file_names_the_other_process_that_has_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(file_owner(file.path()), None);
        let mut other = std::process::Command::new("sleep")
            .arg("60")
            .stdin(file.reopen().unwrap())
            .spawn()
            .unwrap();
        let owner = file_owner(file.path());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(owner.unwrap().pid, other.id());
    }

    #[test]
    fn a_table_line_that_makes_no_sense_is_skipped() {
        let table = "header\nshort\n 0: nonsense 0 0A\n 1: 0100007F:5FB4 00000000:0000 0A 0:0 0:0 0 0 0 4711 1 x\n";
        assert_eq!(socket_inodes(table, Transport::Tcp, 24500), [4711]);
        assert!(socket_inodes(table, Transport::Tcp, 24501).is_empty());
        assert!(socket_inodes(table, Transport::Udp, 24500).is_empty());
    }
}
