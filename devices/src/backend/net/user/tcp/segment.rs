//! TCP segments (RFC 9293 §3.1): reading the guest's, writing ours.

use std::net::IpAddr;

use super::ahead::Range;
use crate::backend::net::user::Key;
use crate::backend::net::user::checksum::{self, pseudo_header};
use crate::backend::net::user::datagram::partial_checksum;
use crate::backend::net::user::outbox::{Body, Outbox};
use crate::backend::net::user::wire::{IpPacket, PROTOCOL_TCP, be16, ip_len, put, put_ip};
use crate::backend::net::{ETHERNET_LEN, HDR_GSO_TCPV4, HDR_GSO_TCPV6, PacketHeader};

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// A header's length without options.
pub(super) const TCP_LEN: usize = 20;
/// Where a header has its checksum.
const CHECKSUM: usize = 16;
/// Where options end at the latest.
const HEADER_MAX: usize = 60;
/// How many parts a selective acknowledgement tells of (RFC 2018 §3).
pub(super) const SACKS_MAX: usize = 4;
/// RFC 7323 §2.3.
const SCALE_MAX: u8 = 14;

/// A segment from the guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    /// The port it came from.
    pub(super) source: u16,
    /// The port it goes to.
    pub(super) destination: u16,
    /// The sequence number of the first byte, or of SYN.
    pub(super) seq: u32,
    /// What the guest expects next, if ACK is set.
    pub(super) ack: u32,
    /// The flags.
    pub(super) flags: u8,
    /// The window, as it is written.
    pub(super) window: u16,
    /// The largest segment that the guest takes, in a SYN.
    pub(super) mss: Option<u16>,
    /// The scale of the guest's window, in a SYN.
    pub(super) scale: Option<u8>,
    /// Whether the guest takes selective acknowledgements, in a SYN.
    pub(super) selective: bool,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<TCP_LEN>()?;
        let word = |at: usize| Some(u32::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let length = usize::from(header[12] >> 4) * 4;
        let mut segment = Self {
            source: be16(header, 0)?,
            destination: be16(header, 2)?,
            seq: word(4)?,
            ack: word(8)?,
            flags: header[13],
            window: be16(header, 14)?,
            mss: None,
            scale: None,
            selective: false,
            payload: bytes.get(length..)?,
        };
        if segment.flags & SYN != 0 {
            segment.read_options(bytes.get(TCP_LEN..length)?);
        }
        (length >= TCP_LEN).then_some(segment)
    }

    fn read_options(&mut self, mut options: &[u8]) {
        loop {
            match *options {
                [] | [0, ..] | [_] => return,
                [1, ref rest @ ..] => options = rest,
                [kind, len, ..] => {
                    let Some((option, rest)) = options.split_at_checked(len.max(2).into()) else {
                        return;
                    };
                    match (kind, option) {
                        (2, &[_, _, a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
                        (3, &[_, _, scale]) => self.scale = Some(scale.min(SCALE_MAX)),
                        (4, [_, _]) => self.selective = true,
                        _ => {}
                    }
                    options = rest;
                }
            }
        }
    }

    /// How many sequence numbers it takes.
    pub(super) fn len(&self) -> u32 {
        let flags = (self.flags & SYN != 0, self.flags & FIN != 0);
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX)
            + u32::from(flags.0)
            + u32::from(flags.1)
    }
}

/// What the guest's card takes.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Link {
    /// The longest packet.
    pub(in super::super) mtu: u16,
    /// Whether TCP packets over IPv4 may be longer than that.
    pub(in super::super) large_v4: bool,
    /// Whether TCP packets over IPv6 may be longer than that.
    pub(in super::super) large_v6: bool,
}

impl Link {
    /// The largest segment for a guest at `address`.
    pub(super) fn mss(self, address: IpAddr) -> u16 {
        self.mtu.saturating_sub((ip_len(address) + TCP_LEN) as u16)
    }

    /// The most data in a packet to `address` whose segments have `mss` bytes.
    pub(super) fn most(self, address: IpAddr, mss: u16) -> usize {
        let mss = usize::from(mss.max(1));
        let large = if address.is_ipv4() {
            self.large_v4
        } else {
            self.large_v6
        };
        if !large {
            return mss;
        }
        // The packet's length is a field of 16 bits; whole segments are the least work.
        let longest = usize::from(u16::MAX) - ip_len(address) - TCP_LEN;
        (longest / mss).max(1) * mss
    }
}

/// A segment for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    /// The flags.
    pub(super) flags: u8,
    /// The sequence number of the first byte, or of SYN.
    pub(super) seq: u32,
    /// What we expect next.
    pub(super) ack: u32,
    /// The window, as it is written.
    pub(super) window: u16,
    /// What a SYN offers.
    pub(super) offer: Option<Offer>,
    /// What came early, the latest first: the first and one more than the last number of each part,
    /// which are the same where there are no more.
    pub(super) sacks: [Range; SACKS_MAX],
}

/// What a SYN offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// The largest segment that we take.
    pub(super) mss: u16,
    /// The scale of our window.
    pub(super) scale: Option<u8>,
    /// Selective acknowledgements.
    pub(super) selective: bool,
}

/// Options as they are written.
struct Options {
    bytes: [u8; HEADER_MAX - TCP_LEN],
    len: usize,
}

impl Options {
    /// The options of `reply`, in words of four bytes each.
    fn new(reply: &Reply, has_data: bool) -> Self {
        let mut options = Self {
            bytes: [0; HEADER_MAX - TCP_LEN],
            len: 0,
        };
        if let Some(offer) = reply.offer {
            options.add(&[2, 4]);
            options.add(&offer.mss.to_be_bytes());
            if let Some(scale) = offer.scale {
                options.add(&[1, 3, 3, scale]);
            }
            if offer.selective {
                options.add(&[1, 1, 4, 2]);
            }
        } else if !has_data {
            options.add_sacks(&reply.sacks);
        }
        options
    }

    fn add_sacks(&mut self, sacks: &[Range]) {
        let count = sacks.iter().take_while(|sack| sack.0 != sack.1).count();
        if count == 0 {
            return;
        }
        self.add(&[1, 1, 5, (2 + 8 * count) as u8]);
        for (start, end) in sacks.iter().take(count) {
            self.add(&start.to_be_bytes());
            self.add(&end.to_be_bytes());
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        put(&mut self.bytes, self.len, bytes);
        self.len += bytes.len();
    }
}

impl Reply {
    /// The reset that answers a segment of no flow, unless it is one itself (RFC 9293 §3.10.7.1).
    pub(super) fn reset(to: &Segment<'_>) -> Option<Self> {
        let (flags, seq, ack) = match to.flags {
            flags if flags & RST != 0 => return None,
            flags if flags & ACK != 0 => (RST, to.ack, 0),
            _ => (RST | ACK, 0, to.seq.wrapping_add(to.len())),
        };
        Some(Self {
            flags,
            seq,
            ack,
            window: 0,
            offer: None,
            sacks: [(0, 0); SACKS_MAX],
        })
    }

    /// Sends it within the flow `key`.
    pub(super) fn send(self, key: &Key, out: &mut Outbox) {
        self.send_with(key, None, [&[], &[]], 0, out);
    }

    /// Sends it with data: `data`, which are those of `body`. Where there are more than `mss` bytes,
    /// the guest's card cuts them.
    pub(super) fn send_with(
        self,
        key: &Key,
        body: Option<Body>,
        data: [&[u8]; 2],
        mss: u16,
        out: &mut Outbox,
    ) {
        let size = data[0].len() + data[1].len();
        let options = Options::new(&self, size > 0);
        let length = TCP_LEN + options.len;
        let mut header = [0; HEADER_MAX];
        put(&mut header, 0, &key.ours.port().to_be_bytes());
        put(&mut header, 2, &key.guest.port().to_be_bytes());
        put(&mut header, 4, &self.seq.to_be_bytes());
        put(&mut header, 8, &self.ack.to_be_bytes());
        put(&mut header, 14, &self.window.to_be_bytes());
        put(&mut header, TCP_LEN, &options.bytes);
        put(&mut header, 12, &[((length / 4) << 4) as u8, self.flags]);
        let (ours, guest) = (key.ours.ip(), key.guest.ip());
        let ip = ip_len(ours);
        let Ok(total) = u16::try_from(length + size) else {
            return;
        };
        let sum = pseudo_header(PROTOCOL_TCP, ours, guest, total);
        let partial = out.partial_checksums;
        if partial {
            put(&mut header, CHECKSUM, &sum.to_be_bytes());
        }
        let room = out.room();
        if put_ip(room, PROTOCOL_TCP, ours, guest, total.into()).is_none() {
            return;
        }
        put(room, ip, header.get(..length).unwrap_or_default());
        if !partial {
            put(room, ip + length, data[0]);
            put(room, ip + length + data[0].len(), data[1]);
            let whole = room.get(ip..ip + usize::from(total)).unwrap_or_default();
            let sum = !checksum::combine(&[sum, checksum::data(whole)]);
            put(room, ip + CHECKSUM, &sum.to_be_bytes());
            return out.commit(ip + usize::from(total), PacketHeader::default());
        }
        let mut packet = partial_checksum(ip, CHECKSUM as u16);
        if size > mss.into() {
            packet.gso_type = if ours.is_ipv4() {
                HDR_GSO_TCPV4
            } else {
                HDR_GSO_TCPV6
            };
            packet.gso_size = mss;
            packet.hdr_len = (ETHERNET_LEN + ip + length) as u16;
        }
        match body {
            Some(body) => out.commit_with(ip + length, packet, body),
            None => out.commit(ip + length, packet),
        }
    }
}

/// The segment in `packet`, with the two ends of its flow.
pub(super) fn parse<'a>(packet: &IpPacket<'a>) -> Option<(Key, Segment<'a>)> {
    let segment = Segment::parse(packet.payload)?;
    let key = Key {
        ours: (packet.destination, segment.destination).into(),
        guest: (packet.source, segment.source).into(),
    };
    Some((key, segment))
}
