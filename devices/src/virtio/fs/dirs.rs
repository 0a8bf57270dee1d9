//! Requests about open directories.

use rustix::fs::FileType;
use rustix::io::Errno;

use super::Cache;
use super::protocol::{Dirent, EntryOut, InitFlags, OpenOut, ReadIn, fopen, padded};
use super::request::{Answer, Ended, Request, handle};
use super::server::Server;
use crate::backend::fs::Listing;

impl Server {
    pub(super) fn opendir(&mut self, request: &mut Request<'_, '_>) -> Answer {
        if self.agreed(InitFlags::NO_OPENDIR_SUPPORT) {
            return Err(Errno::NOSYS);
        }
        let handle = self.share.open_dir_handle(request.node())?;
        let open_flags = match self.cache {
            Cache::Always => fopen::CACHE_DIR | fopen::KEEP_CACHE,
            Cache::Auto | Cache::Never => 0,
        };
        let answer = request.answer(&OpenOut {
            fh: handle.raw(),
            open_flags,
            padding: 0,
        });
        if answer.is_err() {
            self.share.close_handle(handle)?;
        }
        answer
    }

    pub(super) fn readdir(&mut self, request: &mut Request<'_, '_>, plus: bool) -> Answer {
        let args: ReadIn = request.args()?;
        let (node, handle) = (request.node(), handle(args.fh));
        let mut room = (args.size as usize).min(request.output.available());
        let mut listing = self.share.listing(node, handle, args.offset)?;
        let mut answer = Ok(Ended::Answer);
        loop {
            match self.put_entry(request, &mut listing, plus, room) {
                Ok(0) => break,
                Ok(len) => room -= len,
                // What was written so far is told first; the error comes next time.
                Err(_) if request.output.written() > 0 => break,
                Err(errno) => {
                    answer = Err(errno);
                    break;
                }
            }
        }
        self.share.put_back(listing);
        answer
    }

    /// Writes the current entry of `listing` and moves past it; its length, 0 at the end or if
    /// there is no room.
    fn put_entry(
        &mut self,
        request: &mut Request<'_, '_>,
        listing: &mut Listing,
        plus: bool,
        room: usize,
    ) -> Result<usize, Errno> {
        let Some(entry) = listing.peek(&self.share)? else {
            return Ok(0);
        };
        let name = entry.name.to_bytes();
        let plain = size_of::<Dirent>() + name.len();
        let len = padded(if plus {
            plain + size_of::<EntryOut>()
        } else {
            plain
        });
        if len > room {
            return Ok(0);
        }
        let dirent = Dirent {
            ino: entry.ino,
            off: entry.next,
            namelen: name.len() as u32,
            kind: dirent_kind(entry.kind),
        };
        if plus {
            let found = listing.lookup(&mut self.share)?;
            let out = found.map_or_else(EntryOut::default, |found| self.entry(&found));
            request.put(&out)?;
        }
        request.put(&dirent)?;
        let padding = [0; 8];
        if let Some(entry) = listing.peek(&self.share)? {
            request.put_bytes(entry.name.to_bytes())?;
        }
        request.put_bytes(padding.get(..padded(plain) - plain).unwrap_or_default())?;
        listing.advance();
        Ok(len)
    }
}

/// The type of an entry as `getdents(2)` gives it (`DT_*`): that of the mode, shifted.
fn dirent_kind(kind: FileType) -> u32 {
    match kind {
        FileType::Unknown => 0,
        kind => kind.as_raw_mode() >> 12,
    }
}
