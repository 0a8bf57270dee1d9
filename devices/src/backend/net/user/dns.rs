//! The host's name servers: where datagrams and connections to [`super::DNS`] go.
//!
//! A server that leaves a query unanswered for a while, or refuses, gives way to the next, which gets
//! the query at once.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The port that name servers listen on.
pub(super) const PORT: u16 = 53;

/// How often the list is looked at for changes.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long a server may leave a query unanswered while others are known.
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
        }
    }

    /// The server for the next query.
    pub(super) fn server(&mut self, now: Instant) -> SocketAddr {
        if self.checked.is_none_or(|at| now - at >= CHECK_EVERY) {
            self.checked = Some(now);
            self.reread();
        }
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
        self.servers.get(self.current).copied().unwrap_or(local)
    }

    /// How many servers there are to be asked.
    fn count(&self) -> usize {
        self.servers.len().max(1)
    }

    /// `server` refused or said nothing.
    pub(super) fn failed(&mut self, server: SocketAddr) {
        if self.servers.get(self.current) == Some(&server) {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.current = (self.current + 1)
            .checked_rem(self.servers.len())
            .unwrap_or(0);
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
        }
    }
}

/// Queries of one flow that are kept until they are answered: a resolver asks for both versions'
/// addresses at once.
const QUERIES_MAX: usize = 2;
/// A query that is longer is not kept.
const QUERY_MAX: usize = 1232;

/// What a flow asked a name server and was not told yet.
#[derive(Debug)]
pub(super) struct Asked {
    /// The server.
    pub(super) server: SocketAddr,
    since: Option<Instant>,
    queries: [Vec<u8>; QUERIES_MAX],
    servers: usize,
}

impl Asked {
    /// Nothing yet; it will be `server`.
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            since: None,
            queries: Default::default(),
            servers: 1,
        }
    }

    /// Keeps `query`, which the server got.
    pub(super) fn ask(&mut self, query: &[u8], now: Instant) {
        let place = self.queries.iter_mut().find(|kept| kept.is_empty());
        if let Some(place) = place
            && query.len() <= QUERY_MAX
        {
            place.extend_from_slice(query);
            self.since.get_or_insert(now);
            self.servers = 1;
        }
    }

    /// Forgets the query that `answer` is for: it has the same number (RFC 1035 §4.1.1).
    pub(super) fn answered(&mut self, answer: &[u8]) {
        for query in &mut self.queries {
            if query.get(..2) == answer.get(..2) {
                query.clear();
            }
        }
        if self.queries.iter().all(Vec::is_empty) {
            self.since = None;
        }
    }

    /// When the next server is to be asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// The server failed: the next one, which is to get [`Asked::queries`], if there is one.
    pub(super) fn next(&mut self, resolver: &mut Resolver, now: Instant) -> Option<SocketAddr> {
        resolver.failed(self.server);
        self.since?;
        if self.servers >= resolver.count() {
            self.since = None;
            return None;
        }
        self.servers += 1;
        self.since = Some(now);
        self.server = resolver.server(now);
        Some(self.server)
    }

    /// What is unanswered.
    pub(super) fn queries(&self) -> impl Iterator<Item = &[u8]> {
        let kept = self.queries.iter().map(Vec::as_slice);
        kept.filter(|query| !query.is_empty())
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
    fn a_query_goes_to_each_server_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs::write(&path, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n").unwrap();
        let [first, second] = ["127.0.0.1:53", "127.0.0.2:53"].map(|s| s.parse().unwrap());
        let mut resolver = Resolver::new(path, PORT);
        let now = Instant::now();
        assert_eq!(resolver.server(now), first);
        let mut asked = Asked::new(first);
        assert_eq!(asked.deadline(), None);
        asked.ask(b"\x12\x34 what", now);
        asked.ask(b"\x12\x35 what else", now);
        asked.ask(&[7; QUERY_MAX + 1], now);
        assert_eq!(asked.queries().count(), 2);
        assert_eq!(asked.deadline(), Some(now + PATIENCE));
        asked.answered(b"\x12\x34 that");
        let later = now + PATIENCE;
        assert_eq!(asked.next(&mut resolver, later), Some(second));
        assert_eq!(asked.queries().next(), Some(&b"\x12\x35 what else"[..]));
        assert_eq!(resolver.server(later), second);
        assert_eq!(asked.next(&mut resolver, later), None);
        asked.answered(b"\x12\x35 that");
        assert_eq!(asked.deadline(), None);
    }
}
