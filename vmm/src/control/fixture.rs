//! A machine that does nothing, for tests of the control socket.
#![allow(
    clippy::unwrap_used,
    reason = "what a test needs is there, or the test fails"
)]

use std::sync::Arc;

use devices::backend::console::ConsoleHandle;
use devices::backend::net::UserSpec;
use devices::backend::net::user::UserNet;
use devices::virtio::balloon::{Balloon, BalloonSpec};
use devices::virtio::net::Net;

use super::protocol::ConsoleName;
use super::{Served, ServedConsole, Status};
use crate::config::ConsoleSpec;
use crate::machine::Controls;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Devices that the socket's clients can change.
#[derive(Debug)]
pub(super) struct Devices {
    controls: Controls,
    _card: Net,
    _balloon: Balloon,
}

impl Devices {
    /// A card on a user network, and a balloon.
    pub(super) fn new() -> Self {
        let net = UserNet::new(MAC, None, &UserSpec::default()).unwrap();
        let forwards = vec![net.control()];
        let card = Net::with_backend(MAC, Box::new(net));
        let balloon = Balloon::new(&BalloonSpec { size: 0 }).unwrap();
        let controls = Controls {
            balloon: Some(balloon.handle()),
            forwards,
            links: vec![card.link()],
            generation: None,
        };
        Self {
            controls,
            _card: card,
            _balloon: balloon,
        }
    }

    /// What the socket serves of them and of a console.
    pub(super) fn served(&self, status: &Arc<Status>, console: ConsoleHandle) -> Served {
        Served {
            name: "vm".to_owned(),
            pid: 7,
            memory: 128 << 20,
            cpus: 1,
            consoles: vec![ServedConsole {
                name: ConsoleName::Serial,
                place: ConsoleSpec::None,
                handle: console,
            }],
            controls: self.controls.clone(),
            status: Arc::clone(status),
        }
    }
}
