//! Requests about extended attributes.

use rustix::io::Errno;

use super::fid::{Fid, Open, XattrWrite};
use super::request::{Answer, Ended, Request};
use super::server::Server;
use crate::backend::fs::NodeId;
use crate::virtio::queue::Reader;

/// The longest value, and the longest list of names (Linux `XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const VALUE_MAX: usize = 64 << 10;
/// The most bytes of values that a session may hold at once.
const WEIGHT_MAX: usize = 4 << 20;
/// `XATTR_REPLACE`.
const REPLACE: u32 = 2;

impl XattrWrite {
    /// Takes the next `count` bytes of the value.
    pub(super) fn take(
        &mut self,
        input: &mut Reader<'_>,
        offset: u64,
        count: usize,
    ) -> Result<usize, Errno> {
        let at = self.value.len();
        if offset != at as u64 || count > self.size - at {
            return Err(Errno::INVAL);
        }
        self.value.resize(at + count, 0);
        let rest = self.value.get_mut(at..).ok_or(Errno::INVAL)?;
        Ok(input.read(rest))
    }
}

impl Server {
    pub(super) fn xattrwalk(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let new = request.body.u32()?;
        let name = request.body.name()?;
        let fid = self.fids.get(number)?;
        let (node, uid) = (fid.node, fid.uid);
        self.fids.check_new(new)?;
        let mut get = |buffer: &mut [u8]| {
            if name.is_empty() {
                self.share.list_xattrs(node, buffer)
            } else {
                self.share.get_xattr(node, &name, buffer)
            }
        };
        let len = get(&mut [])?;
        let mut value = vec![0; len.min(VALUE_MAX)];
        let len = if value.is_empty() {
            0
        } else {
            get(&mut value)?
        };
        value.truncate(len);
        self.make_room(len)?;
        self.share.remember(node)?;
        let open = Open::XattrRead(value.into_boxed_slice());
        self.fids.insert(new, Fid { node, uid, open });
        request.reply.u64(len as u64);
        Ok(Ended::Reply)
    }

    pub(super) fn xattrcreate(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let name = request.body.name()?;
        let size = request.body.u64()?;
        let flags = request.body.u32()?;
        self.fids.get(number)?.not_open()?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > VALUE_MAX {
            return Err(Errno::TOOBIG);
        }
        self.make_room(size)?;
        self.fids.get_mut(number)?.open = Open::XattrWrite(Box::new(XattrWrite {
            name,
            size,
            flags,
            value: Vec::new(),
        }));
        Ok(Ended::Reply)
    }

    /// Counts `bytes` more, if there is room for them.
    fn make_room(&mut self, bytes: usize) -> Result<(), Errno> {
        if self.weight + bytes > WEIGHT_MAX {
            return Err(Errno::NOMEM);
        }
        self.weight += bytes;
        Ok(())
    }

    /// Sets or removes the attribute that a clunked fid was for.
    pub(super) fn finish_xattr(&mut self, fid: &Fid) -> Result<(), Errno> {
        match &fid.open {
            Open::XattrWrite(write) => self.set_xattr(fid.node, write),
            _ => Ok(()),
        }
    }

    fn set_xattr(&mut self, node: NodeId, write: &XattrWrite) -> Result<(), Errno> {
        if write.value.len() != write.size {
            return Err(Errno::INVAL);
        }
        // So Linux asks for one to be removed.
        if write.size == 0 && write.flags == REPLACE {
            return self.share.remove_xattr(node, &write.name);
        }
        self.share
            .set_xattr(node, &write.name, &write.value, write.flags)
    }
}
