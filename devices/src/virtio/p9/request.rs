//! One message in a descriptor chain, and its answer.

use rustix::io::Errno;

use super::protocol::{Body, HEADER, Reply, kind};
use crate::virtio::device::DeviceError;
use crate::virtio::queue::{Reader, Writer};

/// Size, type and tag of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) size: u32,
    pub(super) kind: u8,
    pub(super) tag: u16,
}

/// How a request that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the reply gathered in [`Request::reply`].
    Reply,
    /// With an answer of so many bytes, in the guest's buffers already.
    Written(u32),
    /// Not yet: a lock is taken.
    Wait,
    /// By asking for another request to be given up.
    Flush(u16),
}

pub(super) type Answer = Result<Ended, Errno>;

/// A request being answered.
#[derive(Debug)]
pub(super) struct Request<'a, 'm> {
    /// What follows the header; of a write, what comes before the data.
    pub(super) body: Body<'a>,
    /// The data of a write.
    pub(super) input: &'a mut Reader<'m>,
    /// The room after the answer's header.
    pub(super) output: &'a mut Writer<'m>,
    /// The answer after its header.
    pub(super) reply: &'a mut Reply,
}

/// Takes a message's header.
pub(super) fn open(input: &mut Reader<'_>) -> Result<Header, DeviceError> {
    let mut bytes = [0; HEADER];
    if !input.read_exact(&mut bytes) {
        return Err(DeviceError::Request("buffer is too short for a 9p header"));
    }
    let [s0, s1, s2, s3, kind, t0, t1] = bytes;
    Ok(Header {
        size: u32::from_le_bytes([s0, s1, s2, s3]),
        kind,
        tag: u16::from_le_bytes([t0, t1]),
    })
}

/// Writes the header of the answer to `kind`, for a body of `len` bytes.
pub(super) fn close(
    head: &mut Writer<'_>,
    kind: u8,
    tag: u16,
    len: u32,
) -> Result<(), DeviceError> {
    let mut reply = Reply::default();
    let size = len.saturating_add(HEADER as u32);
    reply.u32(size).u8(kind).u16(tag);
    if head.write_all(&reply.0) {
        return Ok(());
    }
    Err(DeviceError::Request("no room for a 9p answer"))
}

/// Writes a whole error.
pub(super) fn refuse(output: &mut Writer<'_>, tag: u16, errno: Errno) -> Result<(), DeviceError> {
    close(output, kind::RLERROR, tag, 4)?;
    let code = errno.raw_os_error().cast_unsigned();
    if output.write_all(&code.to_le_bytes()) {
        return Ok(());
    }
    Err(DeviceError::Request("no room for a 9p answer"))
}
