//! Sockets that a service manager listens on in the VM's place: who connects to a console first starts the VM.

use vmm::config::ConsoleSpec;
use vmm::config::value::{ConsolePort, ConsoleValue};

/// The first descriptor that is handed over (sd_listen_fds(3)).
const FIRST: usize = 3;

/// The flags that have `run` take the sockets, in their order.
pub(super) fn flags(sockets: &[ConsoleValue]) -> Vec<String> {
    let flag = |(index, socket): (usize, &ConsoleValue)| {
        let console = match socket.port {
            ConsolePort::Serial => "serial",
            ConsolePort::Virtio => "virtio",
        };
        [
            "--console".to_owned(),
            format!("{console}=fd={}", FIRST + index),
        ]
    };
    sockets.iter().enumerate().flat_map(flag).collect()
}

/// systemd's unit of the sockets of the VM `name` (systemd.socket(5)).
pub(super) fn systemd(name: &str, sockets: &[ConsoleValue]) -> String {
    let listen = |socket: &ConsoleValue| match &socket.spec {
        ConsoleSpec::Unix(path) => format!("ListenStream={}\n", path.display()),
        ConsoleSpec::Tcp(address) => format!("ListenStream={address}\n"),
        // Refused when the command line is read.
        _ => String::new(),
    };
    let listens: String = sockets.iter().map(listen).collect();
    format!(
        "[Unit]\nDescription=Consoles of the PCP virtual machine {name}\n\n\
         [Socket]\n{listens}SocketMode=0600\n\n\
         [Install]\nWantedBy=sockets.target\n"
    )
}

/// A console and where its manager listens: `[serial=|virtio=]tcp=[ADDR:]PORT` or `unix=PATH`.
pub(crate) fn socket(text: &str) -> Result<ConsoleValue, String> {
    let value: ConsoleValue = text.parse().map_err(|error| format!("{error}"))?;
    match value.spec {
        ConsoleSpec::Unix(_) | ConsoleSpec::Tcp(_) => Ok(value),
        _ => Err("nobody can connect to that; it is tcp=[ADDR:]PORT or unix=PATH".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_handed_over_in_their_order() {
        let sockets = ["serial=tcp=24500", "virtio=unix=/run/a"].map(|it| socket(it).unwrap());
        assert_eq!(
            flags(&sockets),
            ["--console", "serial=fd=3", "--console", "virtio=fd=4"]
        );
        let text = systemd("web", &sockets);
        assert!(
            text.contains("ListenStream=127.0.0.1:24500\nListenStream=/run/a\n"),
            "{text}"
        );
        assert!(socket("serial=stdio").is_err());
    }
}
