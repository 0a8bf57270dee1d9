//! A network card with several pairs of queues, on a TAP of this kernel or on [`Strand`]s.

mod strand;

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use devices::backend::net::{NetBackend, NetBackendSpec, NetSpec, TapSource, TapSpec, VhostChoice};
use devices::virtio::device::EventLoop;
use devices::virtio::net::Net;
use devices::virtio::testing::Driver;

pub use self::strand::Strand;
use super::Subject;
use crate::input::Input;

/// The card's address.
const MAC: [u8; 6] = [2, 0, 0, 10, 0xcb, 1];
/// The TAP's name, and the host's and the guest's address on it.
const NAME: &str = "fuzz0";
const HOST: &str = "10.99.0.1";
const GUEST: &str = "10.99.0.2";
/// The most pairs of queues.
const PAIRS_MAX: u16 = 4;

/// Makes the TAP that all inputs use, with a way for packets to the guest; whether the machine has TAPs.
fn has_tap() -> bool {
    static MADE: OnceLock<bool> = OnceLock::new();
    let ip = |words: &str| {
        let ip = Command::new("ip")
            .args(words.split(' '))
            .stderr(Stdio::null())
            .status();
        ip.is_ok_and(|status| status.success())
    };
    let make = || {
        let all = [
            format!("tuntap add dev {NAME} mode tap multi_queue vnet_hdr"),
            format!("addr add {HOST}/24 dev {NAME}"),
            format!("link set {NAME} up"),
            format!("neigh replace {GUEST} lladdr 02:00:00:0a:cb:01 dev {NAME}"),
        ];
        let made = all.iter().all(|words| ip(words));
        if !made {
            eprintln!("this machine makes no TAPs: the card's back ends are feigned alone");
        }
        made
    };
    *MADE.get_or_init(make)
}

/// A card, and what it is plugged into.
#[derive(Debug, Default)]
pub struct Plugged {
    /// Without a TAP.
    strands: Vec<Strand>,
    socket: Option<UdpSocket>,
}

impl Plugged {
    fn strand(&self, number: u8) -> Option<&Strand> {
        let count = self.strands.len().max(1);
        self.strands.get(usize::from(number) % count)
    }
}

/// A card on `pairs` back ends that watch it; `lent` ones work on the queues themselves.
#[must_use]
pub fn feigned(pairs: u16, lent: bool) -> (Net, Vec<Strand>) {
    let strands: Vec<_> = (0..pairs).map(|_| Strand::new(lent)).collect();
    let boxed = |strand: &Strand| Box::new(strand.clone()) as Box<dyn NetBackend>;
    let backends = strands.iter().map(boxed).collect();
    let card = Net::with_backends(MAC, backends, EventLoop::Own("net0"));
    (card, strands)
}

impl Subject for Plugged {
    type Device = Net;

    fn device(&mut self, choice: u8) -> Net {
        let pairs = 1 + u16::from(choice >> 2) % PAIRS_MAX;
        if choice & 3 == 0 && has_tap() {
            self.socket = UdpSocket::bind((HOST, 0)).ok();
            let tap = TapSpec {
                source: TapSource::Name(NAME.to_owned()),
                queues: Some(pairs),
                most_queues: PAIRS_MAX,
                bridge: None,
                vhost: VhostChoice::Off,
            };
            let spec = NetSpec {
                mac: MAC,
                mtu: None,
                backend: NetBackendSpec::Tap(tap),
            };
            return Net::new(&spec).expect("the card");
        }
        let (card, strands) = feigned(pairs, choice & 3 == 3);
        self.strands = strands;
        card
    }

    /// Packets for the guest come, and links go up and down.
    fn act(&mut self, _driver: &mut Driver<Net>, input: &mut Input<'_>) {
        let (what, number) = (input.u8(), input.u8());
        match what % 3 {
            0 => {
                let data = input.string();
                if let Some(socket) = &self.socket {
                    let _ = socket.send_to(data, (GUEST, u16::from(number)));
                }
                if let Some(strand) = self.strand(number) {
                    strand.bring(data);
                }
            }
            1 => {
                if let Some(strand) = self.strand(number) {
                    strand.set_link(false);
                }
            }
            _ => {
                if let Some(strand) = self.strand(number) {
                    strand.set_link(true);
                }
            }
        }
    }

    fn check(&mut self) {
        for strand in &self.strands {
            assert!(!strand.is_started(), "a back end runs without a driver");
        }
    }

    fn is_success(&self, _queue: u16, answer: &[u8]) -> bool {
        // An answer of the control queue, or a packet.
        matches!(answer, [0] | [_, _, ..])
    }
}
