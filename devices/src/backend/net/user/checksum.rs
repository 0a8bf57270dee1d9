//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// The sum of `bytes` in 16-bit words, not complemented; an odd last byte counts as a word's first.
pub(super) fn data(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(sum))
}

/// The sum of sums.
pub(super) fn combine(sums: &[u16]) -> u16 {
    fold(sums.iter().map(|&sum| u64::from(sum)).sum())
}

fn fold(mut sum: u64) -> u16 {
    sum = (sum >> 32) + (sum & 0xffff_ffff);
    for _ in 0..3 {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The sum over the pseudo-header of a TCP segment, a UDP datagram or an `ICMPv6` message (RFC 793
/// §3.1, RFC 8200 §8.1), not complemented: what a partial checksum holds.
pub(super) fn pseudo_header(protocol: u8, source: IpAddr, to: IpAddr, length: u16) -> u16 {
    let address = |address| match address {
        IpAddr::V4(v4) => data(&v4.octets()),
        IpAddr::V6(v6) => data(&v6.octets()),
    };
    combine(&[address(source), address(to), protocol.into(), length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_another_implementation() {
        use smoltcp::wire::checksum;
        let bytes: Vec<u8> = (0..5000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        for len in [0, 1, 2, 3, 4, 5, 20, 1459, 1460, 5000] {
            assert_eq!(data(&bytes[..len]), checksum::data(&bytes[..len]), "{len}");
        }
        assert_eq!(data(&[0xff; 70_000]), 0xffff);
        let (a, b) = ([10, 0, 2, 15].into(), [10, 0, 2, 2].into());
        assert_eq!(
            pseudo_header(6, IpAddr::V4(a), IpAddr::V4(b), 1000),
            checksum::pseudo_header_v4(&a, &b, 6.into(), 1000)
        );
    }
}
