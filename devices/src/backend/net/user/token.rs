//! What the network's event tokens mean: a kind and an index.

use crate::virtio::device::Token;

const INDEX_BITS: u32 = 24;

/// The largest index.
pub(super) const INDEX_MAX: u32 = (1 << INDEX_BITS) - 1;

/// Whose descriptor a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// The timer.
    Timer = 0,
    /// A forward's listener.
    Forward = 1,
    /// A TCP flow's host socket.
    Tcp = 2,
    /// A UDP flow's host socket.
    Udp = 3,
    /// What tells of changed forwards.
    Changes = 4,
}

/// The token for the `index`th of `kind`.
pub(super) fn token(kind: Kind, index: u32) -> Token {
    Token((kind as u32) << INDEX_BITS | index & INDEX_MAX)
}

/// What [`token`] made it from.
pub(super) fn parse(token: Token) -> Option<(Kind, u32)> {
    let kind = match token.0 >> INDEX_BITS {
        0 => Kind::Timer,
        1 => Kind::Forward,
        2 => Kind::Tcp,
        3 => Kind::Udp,
        4 => Kind::Changes,
        _ => return None,
    };
    Some((kind, token.0 & INDEX_MAX))
}
