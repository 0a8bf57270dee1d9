//! Content keys: equal recipes have equal keys, so that results of earlier builds are found again.

use std::fmt::Write;

/// FNV-1a over 128 bits: the keys tell recipes apart, nobody attacks them.
/// (The FNV Non-Cryptographic Hash Algorithm, draft-eastlake-fnv-17.)
#[derive(Clone, Debug)]
pub(crate) struct Key(u128);

const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = (1 << 88) + (1 << 8) + 0x3b;

impl Key {
    /// The key of nothing.
    pub(crate) fn new() -> Self {
        Self(BASIS)
    }

    /// Adds one part, told apart from its neighbours by its length.
    #[must_use]
    pub(crate) fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        self.bytes(&(part.len() as u64).to_le_bytes());
        self.bytes(part);
        self
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// The key as text for file names.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:032x}", self.0);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut key = Key::new();
        key.bytes(b"a");
        assert_eq!(key.text(), "d228cb696f1a8caf78912b704e4a8964");
    }

    #[test]
    fn parts_are_told_apart() {
        let (ab_c, a_bc) = (
            Key::new().with("ab").with("c"),
            Key::new().with("a").with("bc"),
        );
        assert_ne!(ab_c.text(), a_bc.text());
        assert_eq!(ab_c.text(), Key::new().with("ab").with("c").text());
    }
}
