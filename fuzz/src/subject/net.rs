//! A network card on the user-mode network, with clients and servers on the host.

mod frame;
mod peers;

use std::collections::BTreeMap;

use devices::backend::net::{NetBackendSpec, NetSpec, UserSpec};
use devices::virtio::net::Net;
use devices::virtio::testing::Driver;

use self::frame::{Ends, Frame};
use self::peers::Peers;
use super::Subject;
use crate::input::Input;

/// The guest's address on the link.
const MAC: [u8; 6] = [2, 0, 0, 10, 0xcb, 1];
/// The header of a packet (VIRTIO 1.3 §5.1.6).
const HEADER: usize = 12;

/// What the guest knows of one TCP connection.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// The number that the peer expects from the guest.
    seq: u32,
    /// The number that the guest expects from the peer.
    ack: u32,
}

/// A card, and the guest's memory of its connections.
#[derive(Debug, Default)]
pub struct Card {
    peers: Peers,
    flows: BTreeMap<Ends, Flow>,
}

impl Subject for Card {
    type Device = Net;

    fn device(&mut self, choice: u8) -> Net {
        let user = UserSpec {
            forwards: self.peers.forwards(),
            hostname: (choice & 1 != 0).then(|| "guest".to_owned()),
            restrict: choice & 2 != 0,
            host: choice & 4 == 0,
            ipv6: choice & 8 == 0,
        };
        let mtus = [None, Some(576), Some(1280), Some(65520)];
        let spec = NetSpec {
            mac: MAC,
            mtu: mtus[usize::from(choice >> 4) % mtus.len()],
            backend: NetBackendSpec::User(user),
        };
        Net::new(&spec).expect("the card")
    }

    /// Puts in checksums, and makes sequence numbers, which the input gives as distances, those of
    /// the connection.
    fn mend(&mut self, queue: u16, request: &mut Vec<u8>) {
        if queue != 1 || request.len() < HEADER {
            return;
        }
        let mut frame = Frame(&mut request[HEADER..]);
        if let Some(ends) = frame.tcp()
            && let Some(flow) = self.flows.get(&ends)
        {
            frame.shift_tcp(flow.seq, flow.ack);
        }
        frame.put_checksums();
    }

    /// Remembers how far a connection is.
    fn learn(&mut self, queue: u16, answer: &[u8]) {
        if queue != 0 || answer.len() < HEADER {
            return;
        }
        let mut bytes = answer[HEADER..].to_vec();
        let frame = Frame(&mut bytes);
        if let (Some(ends), Some(state)) = (frame.tcp(), frame.tcp_state()) {
            let flow = Flow {
                seq: state.ack,
                ack: state.next,
            };
            self.flows.insert(ends.swapped(), flow);
        }
    }

    fn act(&mut self, _driver: &mut Driver<Net>, input: &mut Input<'_>) {
        self.peers.act(input);
    }
}
