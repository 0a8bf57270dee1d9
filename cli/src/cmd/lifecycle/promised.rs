//! Where a bundle promises its guest's consoles and SSH to be: all that is known of a VM that another program runs.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use guest::bundle::{Bundle, ConsoleDevice, Protocol};
use vmm::control::protocol::{ConsoleInfo, ConsoleName};

use crate::ssh::{self, Login};

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A guest's promised addresses on this machine.
#[derive(Debug)]
pub(super) struct Promised {
    pub(super) consoles: Vec<ConsoleInfo>,
    pub(super) login: Login,
}

impl Promised {
    /// What `bundle` promises, once the first of its consoles, or, without any, the port of its SSH, takes
    /// connections; nothing before.
    ///
    /// # Errors
    /// If the bundle promises no SSH, or no login for it.
    pub(super) fn by(bundle: &Bundle) -> Result<Option<Self>, String> {
        let forward = bundle
            .forwards
            .iter()
            .find(|it| it.guest == ssh::PORT && it.protocol == Protocol::Tcp);
        let (Some(forward), Some(known)) = (forward, &bundle.logins.ssh) else {
            return Err("the bundle promises no way in by SSH".to_owned());
        };
        let key = known.key.as_ref().map(|key| bundle.resolve(key));
        let login = Login::new(
            local(forward.host),
            &known.user,
            known.password.as_deref(),
            key,
        );
        let first = bundle.consoles.first().map_or(forward.host, |it| it.port);
        if TcpStream::connect_timeout(&local(first), CONNECT).is_err() {
            return Ok(None);
        }
        let console = |it: &guest::bundle::Console| {
            let name = match it.device {
                ConsoleDevice::TtyS0 => ConsoleName::Serial,
                ConsoleDevice::Hvc0 => ConsoleName::Virtio,
            };
            ConsoleInfo {
                console: name,
                device: name.device().to_owned(),
                place: format!("tcp={}", local(it.port)),
                output: 0,
            }
        };
        let consoles = bundle.consoles.iter().map(console).collect();
        Ok(Some(Self { consoles, login }))
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
