//! The host's name servers: where datagrams and connections to [`super::DNS`] go.
//!
//! Queries are passed on unread. A server that answers nothing for a while, or refuses, gives way to
//! the next.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The port that name servers listen on.
pub(super) const PORT: u16 = 53;

/// How often the list is looked at for changes.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long a server may leave queries unanswered while others are known.
const PATIENCE: Duration = Duration::from_secs(2);
/// resolv.conf(5) allows three; a few more do no harm.
const SERVERS_MAX: usize = 8;

/// The name servers of resolv.conf(5).
#[derive(Debug)]
pub(super) struct Resolver {
    path: PathBuf,
    port: u16,
    servers: Vec<SocketAddr>,
    current: usize,
    checked: Option<Instant>,
    version: Option<(u64, i64, i64, u64)>,
    waiting_since: Option<Instant>,
}

impl Resolver {
    /// The host's.
    pub(super) fn system() -> Self {
        Self::new("/etc/resolv.conf".into(), PORT)
    }

    /// Those of the file at `path`, on `port`.
    pub(super) fn new(path: PathBuf, port: u16) -> Self {
        Self {
            path,
            port,
            servers: Vec::new(),
            current: 0,
            checked: None,
            version: None,
            waiting_since: None,
        }
    }

    /// The server for the next query.
    pub(super) fn server(&mut self, now: Instant) -> SocketAddr {
        if self.checked.is_none_or(|at| now - at >= CHECK_EVERY) {
            self.checked = Some(now);
            self.reread();
        }
        match self.waiting_since {
            Some(since) if now - since > PATIENCE => self.advance(),
            Some(_) => {}
            None => self.waiting_since = Some(now),
        }
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
        self.servers.get(self.current).copied().unwrap_or(local)
    }

    /// `server` answered.
    pub(super) fn answered(&mut self) {
        self.waiting_since = None;
    }

    /// `server` refused.
    pub(super) fn refused(&mut self, server: SocketAddr) {
        if self.servers.get(self.current) == Some(&server) {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.current = (self.current + 1)
            .checked_rem(self.servers.len())
            .unwrap_or(0);
        self.waiting_since = None;
    }

    fn reread(&mut self) {
        let version = fs::metadata(&self.path)
            .ok()
            .map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()));
        if version.is_some() && version == self.version {
            return;
        }
        self.version = version;
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let servers: Vec<SocketAddr> = parse(&text)
            .take(SERVERS_MAX)
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        if servers != self.servers {
            log::debug!("name servers: {servers:?}");
            self.servers = servers;
            self.current = 0;
            self.waiting_since = None;
        }
    }
}

fn parse(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_server_lines_with_an_address_count() {
        let text = "# nameserver 1.1.1.1\nsearch lan\nnameserver 10.0.0.1 # first\n\
                    nameserver\nnameserver fe80::1%eth0\n  nameserver ::1\noptions edns0\n";
        let servers: Vec<IpAddr> = parse(text).collect();
        assert_eq!(
            servers,
            [
                "10.0.0.1".parse::<IpAddr>().unwrap(),
                "::1".parse().unwrap()
            ]
        );
    }

    #[test]
    fn a_changed_file_is_read_again_and_none_means_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let mut resolver = Resolver::new(path.clone(), 5353);
        let now = Instant::now();
        assert_eq!(resolver.server(now), "127.0.0.1:5353".parse().unwrap());
        fs::write(&path, "nameserver 127.0.0.2\n").unwrap();
        assert_eq!(resolver.server(now), "127.0.0.1:5353".parse().unwrap());
        assert_eq!(
            resolver.server(now + CHECK_EVERY),
            "127.0.0.2:5353".parse().unwrap()
        );
    }

    #[test]
    fn a_silent_or_refusing_server_gives_way_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs::write(&path, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n").unwrap();
        let [first, second] = ["127.0.0.1:53", "127.0.0.2:53"].map(|s| s.parse().unwrap());
        let mut resolver = Resolver::new(path, PORT);
        let now = Instant::now();
        assert_eq!(resolver.server(now), first);
        resolver.answered();
        assert_eq!(resolver.server(now + PATIENCE), first);
        assert_eq!(resolver.server(now + PATIENCE + CHECK_EVERY), first);
        assert_eq!(resolver.server(now + PATIENCE * 3), second);
        resolver.refused(first);
        assert_eq!(resolver.server(now + PATIENCE * 3), second);
        resolver.refused(second);
        assert_eq!(resolver.server(now + PATIENCE * 3), first);
    }
}
