//! A number for a text that is the same on every machine and in every version of the program.

/// FNV-1a (RFC 9923), 64 bits, of `parts` one after the other. It keeps apart what meets by chance, nothing that is made to
/// meet.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    parts
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_standards() {
        assert_eq!(digest([&b"a"[..]]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(digest([&b"foo"[..], b"bar"]), 0x8594_4171_f739_67e8);
    }
}
