//! Packets between a guest's sockets and the host (VIRTIO 1.3 §5.10.6).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::virtio::queue::Reader;

/// The context identifier of the host (VIRTIO 1.3 §5.10.4).
pub(super) const HOST_CID: u64 = 2;
/// The type of a stream socket.
pub(super) const TYPE_STREAM: u16 = 1;
/// The bytes of a header.
pub(super) const HEADER_LEN: usize = size_of::<Header>();

/// Flags of [`Op::Shutdown`]: who sends it receives no more, sends no more.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;
pub(super) const SHUTDOWN_SEND: u32 = 2;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// Opens a connection.
    Request,
    /// Takes a connection on.
    Response,
    /// There is no such connection, or it is over.
    Reset,
    /// One or both directions are over.
    Shutdown,
    /// Carries data.
    Data,
    /// Tells of room.
    CreditUpdate,
    /// Asks to be told of room.
    CreditRequest,
}

impl Op {
    fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::Data,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            _ => return None,
        })
    }

    fn code(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Reset => 3,
            Self::Shutdown => 4,
            Self::Data => 5,
            Self::CreditUpdate => 6,
            Self::CreditRequest => 7,
        }
    }
}

/// `struct virtio_vsock_hdr`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) src_cid: U64,
    pub(super) dst_cid: U64,
    pub(super) src_port: U32,
    pub(super) dst_port: U32,
    pub(super) len: U32,
    kind: U16,
    op: U16,
    pub(super) flags: U32,
    pub(super) buf_alloc: U32,
    pub(super) fwd_cnt: U32,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) guest_port: u32,
    pub(super) host_port: u32,
}

impl Header {
    /// Reads the header of a packet from the guest; `None` if it is cut short.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut header = Self::default();
        from.read_exact(header.as_mut_bytes()).then_some(header)
    }

    /// A packet to the guest `cid`, without data.
    pub(super) fn to_guest(cid: u64, ends: Ends, op: Op) -> Self {
        Self {
            src_cid: HOST_CID.into(),
            dst_cid: cid.into(),
            src_port: ends.host_port.into(),
            dst_port: ends.guest_port.into(),
            kind: TYPE_STREAM.into(),
            op: op.code().into(),
            ..Self::default()
        }
    }

    /// The connection of a packet from the guest.
    pub(super) fn ends(&self) -> Ends {
        Ends {
            guest_port: self.src_port.get(),
            host_port: self.dst_port.get(),
        }
    }

    /// The connection of a packet to the guest.
    pub(super) fn ends_to_guest(&self) -> Ends {
        Ends {
            guest_port: self.dst_port.get(),
            host_port: self.src_port.get(),
        }
    }

    /// What the packet is for; `None` if nobody knows.
    pub(super) fn op(&self) -> Option<Op> {
        Op::from_code(self.op.get())
    }

    /// Whether it belongs to a stream socket.
    pub(super) fn is_stream(&self) -> bool {
        self.kind.get() == TYPE_STREAM
    }
}

#[cfg(test)]
impl Header {
    /// A packet from the guest `cid`.
    pub(super) fn from_guest(cid: u64, ends: Ends, op: Op) -> Self {
        Self {
            src_cid: cid.into(),
            dst_cid: HOST_CID.into(),
            src_port: ends.guest_port.into(),
            dst_port: ends.host_port.into(),
            buf_alloc: (1 << 16).into(),
            ..Self::to_guest(cid, ends, op)
        }
    }

    /// The same packet with another operation or type, known or not.
    pub(super) fn with_codes(self, kind: u16, op: u16) -> Self {
        let (kind, op) = (kind.into(), op.into());
        Self { kind, op, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_44_bytes_in_the_order_of_the_specification() {
        let ends = Ends {
            guest_port: 0x0102,
            host_port: 0x0304,
        };
        let mut header = Header::to_guest(3, ends, Op::Shutdown);
        header.flags = 3.into();
        let bytes = header.as_bytes();
        assert_eq!(bytes.len(), 44);
        assert_eq!((bytes[0], bytes[8], bytes[16], bytes[17]), (2, 3, 4, 3));
        assert_eq!((bytes[20], bytes[28], bytes[30], bytes[32]), (2, 1, 4, 3));
    }

    #[test]
    fn every_operation_has_its_code() {
        for code in 1..=7 {
            assert_eq!(Op::from_code(code).map(Op::code), Some(code));
        }
        assert!(Op::from_code(0).is_none() && Op::from_code(8).is_none());
    }
}
