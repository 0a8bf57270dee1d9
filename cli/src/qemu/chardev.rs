//! Character devices: where QEMU's serial ports, consoles and monitors lead.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::keys::Keys;

/// Where a character device leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Standard input and output.
    Stdio,
    /// Nowhere.
    Null,
    /// A file that is written.
    File(String),
    /// A Unix socket: of a server that listens, or of a client that connects.
    Unix {
        /// Where it is.
        path: String,
        /// Whether we listen.
        listens: bool,
    },
    /// A TCP socket that listens.
    Tcp(SocketAddr),
    /// The character device of this name.
    Named(String),
}

impl Place {
    /// The place as a value of `--console`.
    pub(super) fn console(&self) -> Result<String, String> {
        Ok(match self {
            Self::Stdio => "stdio".to_owned(),
            Self::Null => "none".to_owned(),
            Self::File(path) => format!("file={path}"),
            Self::Unix {
                path,
                listens: true,
            } => format!("unix={path}"),
            Self::Unix { path, .. } => format!("connect={path}"),
            Self::Tcp(address) => format!("tcp={address}"),
            Self::Named(id) => return Err(format!("there is no character device `{id}`")),
        })
    }

    /// The place that the value of `-chardev` says, and the device's name.
    pub(super) fn of_chardev(text: &str) -> Result<(String, Self), String> {
        let mut keys = Keys::parse(text, "backend")?;
        let id = keys.take("id").ok_or("it has no `id`")?;
        keys.drop_all(&["mux", "signal"]);
        let backend = keys.take("backend").unwrap_or_default();
        let place = match backend.as_str() {
            "stdio" => Self::Stdio,
            "null" => Self::Null,
            "file" => Self::File(keys.take("path").ok_or("it has no `path`")?),
            "socket" => Self::of_socket(&mut keys)?,
            other => return Err(no_backend(other)),
        };
        keys.end()?;
        Ok((id, place))
    }

    /// The place that a value of `-serial`, `-monitor` or `-qmp` says.
    pub(super) fn of_short(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("mon:").unwrap_or(text);
        match text {
            "stdio" => return Ok(Self::Stdio),
            "none" | "null" | "vc" => return Ok(Self::Null),
            _ => {}
        }
        let (kind, rest) = text.split_once(':').ok_or_else(|| no_backend(text))?;
        let mut keys = Keys::parse(rest, "path")?;
        let place = match kind {
            "chardev" => return Ok(Self::Named(rest.to_owned())),
            "vc" => return Ok(Self::Null),
            "file" => return Ok(Self::File(rest.to_owned())),
            "unix" => Self::of_socket(&mut keys)?,
            "tcp" => {
                let address = keys.take("path").unwrap_or_default();
                let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
                Self::tcp(host, port, &mut keys)?
            }
            other => return Err(no_backend(other)),
        };
        keys.end()?;
        Ok(place)
    }

    fn of_socket(keys: &mut Keys) -> Result<Self, String> {
        if let Some(port) = keys.take("port") {
            let host = keys.take("host").unwrap_or_default();
            return Self::tcp(&host, &port, keys);
        }
        let path = keys
            .take("path")
            .ok_or("it has neither `path` nor `port`")?;
        let listens = listens(keys)?;
        Ok(Self::Unix { path, listens })
    }

    fn tcp(host: &str, port: &str, keys: &mut Keys) -> Result<Self, String> {
        keys.drop_all(&["delay", "nodelay", "ipv4", "ipv6"]);
        if !listens(keys)? {
            return Err("a TCP port is listened at, not connected to (`server=on`)".to_owned());
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = match bare {
            "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => bare
                .parse()
                .map_err(|_| format!("`{host}` is no IP address"))?,
        };
        let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
        Ok(Self::Tcp(SocketAddr::new(address, port)))
    }
}

/// Whether a socket listens. Nobody is waited for: who connects late is sent what was said before.
fn listens(keys: &mut Keys) -> Result<bool, String> {
    let listens = keys.take_switch("server")?.unwrap_or(false);
    keys.drop_all(&["wait"]);
    if keys.take_switch("telnet")?.unwrap_or(false) {
        return Err("telnet's commands are not spoken: a raw socket (`tcp:`) works".to_owned());
    }
    Ok(listens)
}

fn no_backend(kind: &str) -> String {
    format!("`{kind}` is none of stdio, null, file, unix and tcp sockets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> Result<String, String> {
        Place::of_short(text)?.console()
    }

    fn long(text: &str) -> Result<String, String> {
        Place::of_chardev(&format!("{text},id=a"))?.1.console()
    }

    #[test]
    fn the_short_and_the_long_form_name_the_same_places() {
        for (text, chardev, console) in [
            ("stdio", "stdio,signal=off", "stdio"),
            ("mon:stdio", "stdio,mux=on", "stdio"),
            ("null", "null", "none"),
            ("file:/a,b", "file,path=/a,,b", "file=/a,b"),
            (
                "unix:/a,server,nowait",
                "socket,path=/a,server=on,wait=off",
                "unix=/a",
            ),
            ("unix:/a", "socket,path=/a", "connect=/a"),
            (
                "tcp:127.0.0.1:24530,server,nowait",
                "socket,port=24530,host=127.0.0.1,server=on,wait=off",
                "tcp=127.0.0.1:24530",
            ),
            (
                "tcp:localhost:1,server",
                "socket,host=localhost,port=1,server",
                "tcp=127.0.0.1:1",
            ),
            (
                "tcp::1,server=on,wait=off",
                "socket,host=,port=1,server",
                "tcp=0.0.0.0:1",
            ),
            (
                "tcp:[::1]:1,server",
                "socket,host=::1,port=1,server",
                "tcp=[::1]:1",
            ),
        ] {
            assert_eq!(short(text).as_deref(), Ok(console), "{text}");
            assert_eq!(long(chardev).as_deref(), Ok(console), "{chardev}");
        }
    }

    #[test]
    fn what_is_not_had_is_said() {
        for text in [
            "pty",
            "udp:1",
            "tcp:1.2.3.4:5",
            "tcp:nohost:5,server",
            "tcp:127.0.0.1:many,server",
            "tcp:127.0.0.1:1,server,telnet",
            "tcp:127.0.0.1:1,server,tls-creds=x",
        ] {
            assert!(short(text).is_err(), "{text}");
        }
        for text in ["pty", "socket", "file", "socket,path=/a,server,logfile=/b"] {
            assert!(long(text).is_err(), "{text}");
        }
        assert!(Place::of_chardev("stdio").is_err());
    }
}
