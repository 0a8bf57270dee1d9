//! The way into a guest by the machine's own `ssh`, without a question: the password is given by
//! this program itself, which `ssh` runs to ask for it.

use std::env;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use guest::bundle::{Bundle, SshLogin};
use vmm::config::{Forward, Protocol};
use vmm::instance::Entry;

use crate::diagnostic::Diagnostic;
use crate::vm_status::VmStatus;

/// The guest's port of SSH.
pub(crate) const PORT: u16 = 22;
/// Tells the program to print this and nothing else: the password that `ssh` asks for.
pub(crate) const ANSWER: &str = crate::env::ASKPASS;

/// How to log in to a guest.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    address: SocketAddr,
    user: String,
    password: Option<String>,
    key: Option<PathBuf>,
}

impl Login {
    /// How to log in to the guest of `entry`, which is in state `status`; as `user`, if that is said.
    pub(crate) fn of(
        entry: &Entry,
        status: &VmStatus,
        user: Option<&str>,
    ) -> Result<Self, Diagnostic> {
        let name = &status.name;
        let record = entry.record.as_ref().filter(|record| record.direct);
        let own = record.and_then(|record| record.address);
        let own = own.map(|ip| SocketAddr::from((ip, PORT)));
        let address = address(&status.forwards).or(own).ok_or_else(|| {
            Diagnostic::failure("ssh", format!("cannot log in to `{name}`"))
                .cause(format!("no host port leads to its port {PORT}"))
                .hint(format!(
                    "`pcp-vmm forward add {name} 2222:22` opens one, if it has `--net user`; a guest on a TAP is reached at \
                     the address that `--net tap,address=IP/LENGTH` tells it"
                ))
        })?;
        let dir = entry.record.as_ref().and_then(|it| it.bundle.as_ref());
        let bundle = dir.and_then(|dir| Bundle::load(dir).ok());
        let known = bundle.as_ref().and_then(|it| it.logins.ssh.clone());
        let known = known.unwrap_or(SshLogin {
            user: "root".to_owned(),
            password: None,
            key: None,
            authorized_keys: None,
        });
        // A bundle knows of one user alone.
        let same = user.is_none_or(|user| user == known.user);
        let key = known.key.filter(|_| same);
        let own_key = entry.record.as_ref().and_then(|it| it.ssh_key.clone());
        let own_key = own_key.filter(|key| same && key.exists());
        Ok(Self {
            address,
            user: user.map_or(known.user, str::to_owned),
            password: known.password.filter(|_| same),
            key: key
                .and_then(|key| Some(bundle.as_ref()?.resolve(&key)))
                .or(own_key),
        })
    }

    /// A login at `address`.
    pub(crate) fn new(
        address: SocketAddr,
        user: &str,
        password: Option<&str>,
        key: Option<PathBuf>,
    ) -> Self {
        Self {
            address,
            user: user.to_owned(),
            password: password.map(str::to_owned),
            key,
        }
    }

    /// The user to log in as.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The user's password, if one is known.
    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The file of the user's private key, if there is one.
    pub(crate) fn key(&self) -> Option<&Path> {
        self.key.as_deref()
    }

    /// Where the guest's server is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `ssh` with all that it needs, and `words` for the guest's shell.
    pub(crate) fn command(&self, words: &[String]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-p", &self.address.port().to_string()]);
        let mut option = |text: &str| {
            ssh.args(["-o", text]);
        };
        option("StrictHostKeyChecking=no");
        option("UserKnownHostsFile=/dev/null");
        option("GlobalKnownHostsFile=/dev/null");
        option("LogLevel=ERROR");
        option("ConnectTimeout=30");
        match (&self.key, &self.password) {
            (Some(_), _) => option("IdentitiesOnly=yes"),
            (None, Some(_)) => option("PubkeyAuthentication=no"),
            (None, None) => {}
        }
        match &self.password {
            Some(_) => option("NumberOfPasswordPrompts=1"),
            None => option("BatchMode=yes"),
        }
        if let Some(key) = &self.key {
            ssh.arg("-i").arg(key);
        }
        if let (Some(password), Ok(program)) = (&self.password, env::current_exe()) {
            // `ssh` asks no program without a display unless it is told to (OpenSSH 8.4).
            ssh.env("SSH_ASKPASS", program)
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env(ANSWER, password);
        }
        ssh.arg(format!("{}@{}", self.user, self.address.ip()));
        if !words.is_empty() {
            ssh.arg("--").args(words);
        }
        ssh
    }
}

/// The host's address that leads to the guest's SSH server.
fn address(forwards: &[String]) -> Option<SocketAddr> {
    let forwards = forwards.iter().filter_map(|text| text.parse().ok());
    let mut ssh = forwards.filter(|forward: &Forward| {
        forward.guest_port == PORT && forward.protocol == Protocol::Tcp
    });
    let host = ssh.next()?.host;
    // All addresses are no address to connect to.
    let ip = match host.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, host.port()))
}

/// Whether an SSH server greets at `address`: a forwarded port accepts before the guest does. If
/// not, why.
pub(crate) fn greets(address: SocketAddr) -> Option<String> {
    let greeting = || -> io::Result<[u8; 4]> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut first = [0; 4];
        stream.read_exact(&mut first)?;
        Ok(first)
    };
    match greeting() {
        Ok(first) if &first == b"SSH-" => None,
        Ok(_) => Some(format!("no SSH server answers at {address}")),
        Err(_) => Some(format!("nothing answers at {address}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_an_ssh_server_greets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for greeting in ["SSH-2.0-x\r\n", "HTTP/1.1 400\r\n", ""] {
                let (mut client, _) = listener.accept().unwrap();
                client.write_all(greeting.as_bytes()).unwrap();
            }
        });
        assert_eq!(greets(address), None);
        assert!(greets(address).unwrap().contains("no SSH server"));
        assert!(greets(address).unwrap().contains("nothing answers"));
        server.join().unwrap();
        assert!(greets(address).is_some());
    }

    #[test]
    fn the_forward_to_port_22_is_the_way_in() {
        let way = |forwards: &[&str]| {
            let forwards: Vec<String> = forwards.iter().map(|&it| it.to_owned()).collect();
            address(&forwards).map(|address| address.to_string())
        };
        let all = [
            "tcp:0.0.0.0:44321:44321",
            "udp:0.0.0.0:1:22",
            "tcp:0.0.0.0:22022:22",
        ];
        assert_eq!(way(&all).as_deref(), Some("127.0.0.1:22022"));
        assert_eq!(way(&["tcp:[::]:22022:22"]).as_deref(), Some("[::1]:22022"));
        assert_eq!(way(&["tcp:10.0.0.1:5:22"]).as_deref(), Some("10.0.0.1:5"));
        assert_eq!(way(&["tcp:0.0.0.0:22:23"]), None);
    }

    #[test]
    fn a_password_is_never_an_argument() {
        let login = Login {
            address: "127.0.0.1:22022".parse().unwrap(),
            user: "root".into(),
            password: Some("SECRET".into()),
            key: None,
        };
        let command = login.command(&["true".into()]);
        let words: Vec<String> = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert!(!words.join(" ").contains("SECRET"), "{words:?}");
        assert!(words.ends_with(&["root@127.0.0.1".into(), "--".into(), "true".into()]));
    }
}
