//! The stateless `DHCPv6` server (RFC 8415 §6.1): tells the name server to those who do not read it
//! in router advertisements. Addresses are the guest's own choice.

use std::net::{IpAddr, SocketAddr};

use super::addresses::{DNS6, OUR_MAC, router_for};
use super::datagram::{headers, send_datagram};
use super::outbox::Outbox;
use super::wire::{Udp, be16, put};

/// The port that servers listen on.
pub(super) const SERVER_PORT: u16 = 547;
const CLIENT_PORT: u16 = 546;

// Message types (RFC 8415 §7.3).
const REPLY: u8 = 7;
const INFORMATION_REQUEST: u8 = 11;

// Options (RFC 8415 §21, RFC 3646 §3).
const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_TA: u16 = 4;
const NAME_SERVERS: u16 = 23;

/// RFC 8415 §11.1: an identifier has at most 128 bytes behind its type.
const ID_MAX: usize = 130;

/// Our identifier: our card's address (RFC 8415 §11.4).
fn our_id() -> [u8; 10] {
    let mut id = [0, 3, 0, 1, 0, 0, 0, 0, 0, 0];
    put(&mut id, 4, &OUR_MAC);
    id
}

/// The content of option `code`.
fn option(mut options: &[u8], code: u16) -> Option<&[u8]> {
    loop {
        let (found, len) = (be16(options, 0)?, be16(options, 2)?);
        let (data, rest) = options.get(4..)?.split_at_checked(len.into())?;
        if found == code {
            return Some(data);
        }
        options = rest;
    }
}

/// Answers a request for information from `guest`.
pub(super) fn receive(datagram: &Udp<'_>, guest: IpAddr, out: &mut Outbox) {
    let Some((&[kind, a, b, c], options)) = datagram.payload.split_first_chunk() else {
        return;
    };
    let other_server = option(options, SERVER_ID).is_some_and(|id| id != our_id());
    // RFC 8415 §16.12: one that asks for addresses is invalid.
    let addresses = [IA_NA, IA_TA]
        .iter()
        .any(|&code| option(options, code).is_some());
    let client = option(options, CLIENT_ID).unwrap_or_default();
    if kind != INFORMATION_REQUEST || other_server || addresses || client.len() > ID_MAX {
        return;
    }
    let mut message = [0; 4 + 4 + ID_MAX + 14 + 20];
    put(&mut message, 0, &[REPLY, a, b, c]);
    let mut at = 4;
    let mut add = |code: u16, data: &[u8]| {
        let len = u16::try_from(data.len()).unwrap_or_default();
        put(&mut message, at, &code.to_be_bytes());
        put(&mut message, at + 2, &len.to_be_bytes());
        put(&mut message, at + 4, data);
        at += 4 + data.len();
    };
    if !client.is_empty() {
        add(CLIENT_ID, client);
    }
    add(SERVER_ID, &our_id());
    add(NAME_SERVERS, &DNS6.octets());
    put(
        out.room(),
        headers(guest),
        message.get(..at).unwrap_or_default(),
    );
    let from = SocketAddr::new(router_for(guest), SERVER_PORT);
    send_datagram(from, SocketAddr::new(guest, CLIENT_PORT), at, out);
}
