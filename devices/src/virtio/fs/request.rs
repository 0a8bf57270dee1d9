//! One FUSE request in a descriptor chain, and its answer.

use std::ffi::CStr;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::protocol::{InHeader, OutHeader};
use crate::backend::fs::{HandleId, NodeId};
use crate::virtio::device::DeviceError;
use crate::virtio::queue::{Reader, Writer};

/// How a request that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the answer written so far.
    Answer,
    /// Without an answer: FUSE knows none for it.
    Silence,
    /// Not yet: a lock is taken.
    Wait,
    /// By asking for another request to be interrupted.
    Interrupt(u64),
}

pub(super) type Answer = Result<Ended, Errno>;

/// A request being answered.
#[derive(Debug)]
pub(super) struct Request<'a, 'm> {
    /// Who asks what of which file.
    pub(super) header: InHeader,
    /// What follows the header.
    pub(super) input: &'a mut Reader<'m>,
    /// The room after the answer's header.
    pub(super) output: Writer<'m>,
    /// Names and values, copied out of guest memory before they are looked at.
    pub(super) text: &'a mut Vec<u8>,
}

impl Request<'_, '_> {
    pub(super) fn node(&self) -> NodeId {
        NodeId::from_raw(self.header.nodeid)
    }

    /// The request's fixed part.
    pub(super) fn args<T: FromBytes + IntoBytes>(&mut self) -> Result<T, Errno> {
        take(self.input).ok_or(Errno::INVAL)
    }

    /// Copies all that is left of the request, at most `limit` bytes, to [`Request::text`].
    pub(super) fn read_text(&mut self, limit: usize) -> Result<(), Errno> {
        let len = self.input.available();
        if len > limit {
            return Err(Errno::NAMETOOLONG);
        }
        self.text.clear();
        self.text.resize(len, 0);
        self.input.read(self.text);
        Ok(())
    }

    /// Writes (a part of) the answer.
    pub(super) fn put<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<(), Errno> {
        self.put_bytes(value.as_bytes())
    }

    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let fits = self.output.write_all(bytes);
        if fits { Ok(()) } else { Err(Errno::OVERFLOW) }
    }

    /// Writes the whole answer.
    pub(super) fn answer<T: IntoBytes + Immutable>(&mut self, value: &T) -> Answer {
        self.put(value)?;
        Ok(Ended::Answer)
    }
}

/// The handle behind a number on the wire, if the guest opened one.
pub(super) fn handle(fh: u64) -> Option<HandleId> {
    (fh != 0).then(|| HandleId::from_raw(fh))
}

/// Reads a plain value.
pub(super) fn take<T: FromBytes + IntoBytes>(input: &mut Reader<'_>) -> Option<T> {
    let mut value = T::new_zeroed();
    input.read_exact(value.as_mut_bytes()).then_some(value)
}

/// The text up to the first NUL, and what follows it.
pub(super) fn split_name(text: &[u8]) -> Result<(&CStr, &[u8]), Errno> {
    let name = CStr::from_bytes_until_nul(text).map_err(|_| Errno::INVAL)?;
    let rest = text.get(name.to_bytes_with_nul().len()..);
    Ok((name, rest.unwrap_or_default()))
}

/// Takes the header of a request and limits `input` to the length it states.
pub(super) fn open(input: &mut Reader<'_>) -> Result<(InHeader, Result<(), Errno>), DeviceError> {
    let header: InHeader = take(input).ok_or(DeviceError::Request(
        "buffer is too short for a FUSE header",
    ))?;
    let len = (header.len as usize).checked_sub(size_of::<InHeader>());
    let fits = len.is_some_and(|len| len <= input.available());
    if let Some(len) = len.filter(|_| fits) {
        let _ = input.split_off(len);
    }
    Ok((header, if fits { Ok(()) } else { Err(Errno::INVAL) }))
}

/// Writes the answer's header for a body of `len` bytes, or for an error.
pub(super) fn close(
    head: &mut Writer<'_>,
    unique: u64,
    result: Result<u32, Errno>,
) -> Result<(), DeviceError> {
    let size = size_of::<OutHeader>() as u32;
    let (len, error) = match result {
        Ok(len) => (size.saturating_add(len), 0),
        Err(errno) => (size, -errno.raw_os_error()),
    };
    let header = OutHeader { len, error, unique };
    if head.write_all(header.as_bytes()) {
        return Ok(());
    }
    Err(DeviceError::Request("no room for a FUSE answer"))
}
