//! The DHCP server (RFC 2131, RFC 2132): one address, for the first card that asks.

use std::net::{Ipv4Addr, SocketAddr};

use super::addresses::{DNS, GATEWAY, GUEST, NETMASK, is_ours};
use super::datagram::send_datagram_to;
use super::outbox::Outbox;
use super::wire::{BROADCAST_MAC, IPV4_LEN, Mac, UDP_LEN, Udp, address, put};

/// The port that servers listen on.
pub(super) const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// How long the guest may keep its address, in seconds; it renews at half of that.
const LEASE_SECONDS: u32 = 86400;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTIONS: usize = 240;

/// The shortest message that every client takes (RFC 951 §3), and the longest that it must take (RFC
/// 2131 §2).
const MESSAGE_MIN: usize = 300;
const MESSAGE_MAX: usize = 548;

// Message types (RFC 2132 §9.6).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;

// Options (RFC 2132).
const PAD: u8 = 0;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const NAME_SERVER: u8 = 6;
const HOST_NAME: u8 = 12;
const INTERFACE_MTU: u8 = 26;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER_ID: u8 = 54;
const END: u8 = 255;

/// What the server gives out besides the address.
#[derive(Debug)]
pub(super) struct Dhcp {
    /// The guest's name.
    pub(super) hostname: Option<String>,
    /// The link's MTU.
    pub(super) mtu: u16,
    client: Option<Mac>,
}

struct Request<'a> {
    message: &'a [u8],
    kind: u8,
    client: Mac,
    current: Ipv4Addr,
    broadcast: bool,
    wanted: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

impl<'a> Request<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        const ETHERNET: [u8; 2] = [1, 6];
        let options = message.get(OPTIONS..)?;
        if message.first() != Some(&BOOT_REQUEST)
            || message.get(1..3) != Some(&ETHERNET)
            || message.get(OPTIONS - 4..OPTIONS) != Some(&COOKIE)
        {
            return None;
        }
        Some(Self {
            message,
            kind: *option(options, MESSAGE_TYPE)?.first()?,
            client: *message.get(28..)?.first_chunk()?,
            current: address(message, 12)?,
            broadcast: message.get(10)? & 0x80 != 0,
            wanted: option(options, REQUESTED_ADDRESS).and_then(|data| address(data, 0)),
            server: option(options, SERVER_ID).and_then(|data| address(data, 0)),
        })
    }
}

/// The content of option `code`.
fn option(mut options: &[u8], code: u8) -> Option<&[u8]> {
    loop {
        match *options {
            [PAD, ref rest @ ..] => options = rest,
            [END, ..] | [] | [_] => return None,
            [found, len, ref rest @ ..] => {
                let (data, rest) = rest.split_at_checked(usize::from(len))?;
                if found == code {
                    return Some(data);
                }
                options = rest;
            }
        }
    }
}

impl Dhcp {
    /// A server that nobody has asked yet.
    pub(super) fn new(hostname: Option<String>, mtu: u16) -> Self {
        Self {
            hostname,
            mtu,
            client: None,
        }
    }

    /// Forgets who has the address.
    pub(super) fn reset(&mut self) {
        self.client = None;
    }

    /// Answers a datagram to the server's port.
    pub(super) fn receive(&mut self, datagram: &Udp<'_>, out: &mut Outbox) {
        let Some(request) = Request::parse(datagram.payload) else {
            return;
        };
        if *self.client.get_or_insert(request.client) != request.client {
            return;
        }
        let for_us = request.server.is_none_or(is_ours);
        let wanted = request.wanted.unwrap_or(request.current);
        match request.kind {
            DISCOVER => self.reply(&request, OFFER, out),
            REQUEST if for_us && wanted == GUEST => self.reply(&request, ACK, out),
            REQUEST if for_us => self.reply(&request, NAK, out),
            INFORM => self.reply(&request, ACK, out),
            _ => {}
        }
    }

    fn reply(&self, request: &Request<'_>, kind: u8, out: &mut Outbox) {
        let mut message = [0; MESSAGE_MAX];
        put(
            &mut message,
            0,
            request.message.get(..OPTIONS).unwrap_or_default(),
        );
        put(&mut message, 0, &[BOOT_REPLY]);
        // Seconds, and the addresses of server and relay; the names of server and file.
        put(&mut message, 8, &[0; 2]);
        put(&mut message, 16, &[0; 12]);
        put(&mut message, 44, &[0; 192]);
        let given = matches!(kind, OFFER | ACK) && request.kind != INFORM;
        if given {
            put(&mut message, 16, &GUEST.octets());
        }
        let mut at = OPTIONS;
        let mut add = |code: u8, data: &[u8]| {
            let len = u8::try_from(data.len()).unwrap_or_default();
            put(&mut message, at, &[code, len]);
            put(&mut message, at + 2, data);
            at += 2 + usize::from(len);
        };
        add(MESSAGE_TYPE, &[kind]);
        add(SERVER_ID, &GATEWAY.octets());
        if given {
            add(LEASE_TIME, &LEASE_SECONDS.to_be_bytes());
        }
        if kind != NAK {
            add(SUBNET_MASK, &NETMASK.octets());
            add(ROUTER, &GATEWAY.octets());
            add(NAME_SERVER, &DNS.octets());
            add(INTERFACE_MTU, &self.mtu.to_be_bytes());
            if let Some(name) = &self.hostname {
                add(HOST_NAME, name.as_bytes());
            }
        }
        put(&mut message, at, &[END]);
        let len = (at + 1).max(MESSAGE_MIN);

        // RFC 2131 §4.1: to the client's address if it has one; else, as it asks, to everybody or to
        // the address that it is given.
        let to = match request.current {
            _ if kind == NAK => Ipv4Addr::BROADCAST,
            current if !current.is_unspecified() => current,
            _ if request.broadcast => Ipv4Addr::BROADCAST,
            _ => GUEST,
        };
        let mac = if to.is_broadcast() {
            BROADCAST_MAC
        } else {
            request.client
        };
        put(
            out.room(),
            IPV4_LEN + UDP_LEN,
            message.get(..len).unwrap_or_default(),
        );
        let from = SocketAddr::from((GATEWAY, SERVER_PORT));
        let to = SocketAddr::from((to, CLIENT_PORT));
        send_datagram_to(mac, from, to, len, out);
    }
}
