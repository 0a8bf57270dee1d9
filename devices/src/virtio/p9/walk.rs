//! Requests that make fids: attach and walk.

use rustix::io::Errno;

use super::fid::{Fid, Open};
use super::protocol::{NOFID, Qid, WALK_MAX, c_string};
use super::request::{Answer, Ended, Request};
use super::server::Server;
use crate::backend::fs::{Found, NodeId};

impl Server {
    pub(super) fn attach(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let auth = request.body.u32()?;
        let _user = request.body.text()?;
        let folder = request.body.text()?;
        let uid = request.body.u32()?;
        if auth != NOFID {
            return Err(Errno::OPNOTSUPP);
        }
        self.fids.check_new(number)?;
        let mut at = Found {
            node: NodeId::ROOT,
            stat: self.share.attributes(NodeId::ROOT)?,
        };
        // A folder of the share may be mounted in its place.
        for name in folder.split(|byte| *byte == b'/') {
            if !name.is_empty() {
                at = self.step(at, name)?;
            }
        }
        let qid = self.qid(&at.stat);
        self.add(number, at.node, uid);
        request.reply.qid(qid);
        Ok(Ended::Reply)
    }

    pub(super) fn walk(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let number = request.body.u32()?;
        let new = request.body.u32()?;
        let count = usize::from(request.body.u16()?);
        if count > WALK_MAX {
            return Err(Errno::INVAL);
        }
        let from = self.fids.get(number)?;
        let (node, uid, again) = (from.node, from.uid, number == new);
        if again {
            from.not_open()?;
        } else {
            self.fids.check_new(new)?;
        }
        let mut qids = [None; WALK_MAX];
        let end = self.walk_names(node, count, request, &mut qids)?;
        let walked = qids.iter().flatten();
        request.reply.u16(walked.clone().count() as u16);
        for qid in walked {
            request.reply.qid(*qid);
        }
        // Only a whole walk makes a fid.
        if let Some(end) = end {
            self.add(new, end, uid);
        }
        Ok(Ended::Reply)
    }

    /// Follows `count` names from `node`, as far as there are files; the qids of those found, and
    /// the last one if it is the end.
    fn walk_names(
        &mut self,
        node: NodeId,
        count: usize,
        request: &mut Request<'_, '_>,
        qids: &mut [Option<Qid>; WALK_MAX],
    ) -> Result<Option<NodeId>, Errno> {
        self.share.remember(node)?;
        let mut at = node;
        for (index, qid) in qids.iter_mut().take(count).enumerate() {
            let next = match request.body.text() {
                Ok(name) => self.child(at, name),
                Err(errno) => Err(errno),
            };
            self.share.forget(at, 1);
            match next {
                Ok(found) => {
                    *qid = Some(self.qid(&found.stat));
                    at = found.node;
                }
                Err(errno) if index == 0 => return Err(errno),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// One step of a path, taking back the look-up of where it began.
    fn step(&mut self, from: Found, name: &[u8]) -> Result<Found, Errno> {
        let found = self.child(from.node, name);
        self.share.forget(from.node, 1);
        found
    }

    fn child(&mut self, parent: NodeId, name: &[u8]) -> Result<Found, Errno> {
        match name {
            b".." => self.share.parent(parent),
            name => self.share.lookup(parent, &c_string(name)?),
        }
    }

    /// Puts a fid of `node`, looked up once for it, under `number`.
    pub(super) fn add(&mut self, number: u32, node: NodeId, uid: u32) {
        let open = Open::No;
        if let Some(before) = self.fids.insert(number, Fid { node, uid, open }) {
            self.let_go(number, &before);
        }
    }
}
