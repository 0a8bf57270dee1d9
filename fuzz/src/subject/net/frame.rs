//! Ethernet frames, as far as the guest's half of a connection must understand them.

use std::ops::Range;

/// An Ethernet frame.
#[derive(Debug)]
pub(super) struct Frame<'a>(pub(super) &'a mut [u8]);

/// The ports of a TCP segment and the IP version: enough to tell connections apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    v6: bool,
    from: u16,
    to: u16,
}

impl Ends {
    /// The other direction.
    pub(super) fn swapped(self) -> Self {
        Self {
            v6: self.v6,
            from: self.to,
            to: self.from,
        }
    }
}

/// What a segment says of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// The number behind it.
    pub(super) next: u32,
    /// The number that its sender expects.
    pub(super) ack: u32,
}

/// Where a transport header begins, and of what protocol it is.
struct Transport {
    v6: bool,
    protocol: u8,
    at: usize,
    /// The addresses.
    pseudo: Range<usize>,
}

const ETHERNET: usize = 14;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

impl Frame<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.0.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from(self.u16(at)?) << 16 | u32::from(self.u16(at + 2)?))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.0.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }

    fn transport(&self) -> Option<Transport> {
        match self.u16(12)? {
            0x0800 => {
                let words = usize::from(*self.0.get(ETHERNET)? & 15);
                Some(Transport {
                    v6: false,
                    protocol: *self.0.get(ETHERNET + 9)?,
                    at: ETHERNET + 4 * words,
                    pseudo: ETHERNET + 12..ETHERNET + 20,
                })
            }
            0x86dd => Some(Transport {
                v6: true,
                protocol: *self.0.get(ETHERNET + 6)?,
                at: ETHERNET + 40,
                pseudo: ETHERNET + 8..ETHERNET + 40,
            }),
            _ => None,
        }
    }

    /// The ends of a TCP segment; `None` for anything else.
    pub(super) fn tcp(&self) -> Option<Ends> {
        let it = self.transport().filter(|it| it.protocol == TCP)?;
        Some(Ends {
            v6: it.v6,
            from: self.u16(it.at)?,
            to: self.u16(it.at + 2)?,
        })
    }

    /// What a TCP segment says.
    pub(super) fn tcp_state(&self) -> Option<State> {
        let at = self.transport()?.at;
        let (offset, flags) = (self.0.get(at + 12)? >> 4, *self.0.get(at + 13)?);
        let start = at + 4 * usize::from(offset);
        let data = self.0.len().saturating_sub(start);
        let marks = u32::from(flags & 1) + u32::from(flags >> 1 & 1);
        let len = u32::try_from(data).unwrap_or_default() + marks;
        Some(State {
            next: self.u32(at + 4)?.wrapping_add(len),
            ack: self.u32(at + 8)?,
        })
    }

    /// Adds to both numbers of a TCP segment.
    pub(super) fn shift_tcp(&mut self, seq: u32, ack: u32) {
        let Some(at) = self.transport().map(|it| it.at) else {
            return;
        };
        for (at, by) in [(at + 4, seq), (at + 8, ack)] {
            if let Some(number) = self.u32(at) {
                self.put(at, &number.wrapping_add(by).to_be_bytes());
            }
        }
    }

    /// Puts the right checksums into the headers of IP and of what it carries.
    pub(super) fn put_checksums(&mut self) {
        let Some(it) = self.transport() else { return };
        if !it.v6 {
            self.put(ETHERNET + 10, &[0; 2]);
            let header = self.0.get(ETHERNET..it.at.min(self.0.len()));
            let sum = !fold(add(0, header.unwrap_or_default()));
            self.put(ETHERNET + 10, &sum.to_be_bytes());
        }
        let place = match it.protocol {
            ICMP if !it.v6 => 2,
            ICMPV6 if it.v6 => 2,
            TCP => 16,
            UDP => 6,
            _ => return,
        };
        // The packet may end before the frame does.
        let end = if it.v6 {
            self.u16(ETHERNET + 4).map(|len| it.at + usize::from(len))
        } else {
            self.u16(ETHERNET + 2)
                .map(|len| ETHERNET + usize::from(len))
        };
        let end = end.unwrap_or_default().min(self.0.len());
        if end < it.at + place + 2 {
            return;
        }
        self.put(it.at + place, &[0; 2]);
        let body = &self.0[it.at..end];
        let mut sum = add(0, body);
        if it.protocol != ICMP {
            // A header that says it is shorter than it is may leave no room for addresses.
            let Some(addresses) = self.0.get(it.pseudo) else {
                return;
            };
            sum = add(sum, addresses);
            sum += u64::from(it.protocol) + body.len() as u64;
        }
        self.put(it.at + place, &(!fold(sum)).to_be_bytes());
    }
}

/// Adds up 16-bit words (RFC 1071 §1).
fn add(sum: u64, bytes: &[u8]) -> u64 {
    bytes.chunks(2).fold(sum, |sum, pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        sum + u64::from(u16::from_be_bytes([pair[0], low]))
    })
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
