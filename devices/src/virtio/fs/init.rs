//! INIT: what guest and server agree on.

use rustix::io::Errno;

use super::Cache;
use super::protocol::{InitFlags, InitIn, InitInExt, InitOut, MAJOR, MINOR, MINOR_MIN};
use super::request::{Answer, Request, take};
use super::server::{Server, Session};

/// The longest WRITE, and READ: 256 pages, which is what Linux allows by default.
const MAX_PAGES: u16 = 256;
const PAGE: u32 = 4096;

impl Server {
    pub(super) fn init(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: InitIn = request.args()?;
        if args.major > MAJOR {
            // The guest asks again in our version.
            let ours = InitOut {
                major: MAJOR,
                minor: MINOR,
                ..InitOut::default()
            };
            return request.answer(&ours);
        }
        if args.major < MAJOR || args.minor < MINOR_MIN {
            return Err(Errno::PROTO);
        }
        let mut offered = u64::from(args.flags);
        if offered & InitFlags::INIT_EXT.bits() != 0 {
            let more: InitInExt = take(request.input).ok_or(Errno::INVAL)?;
            offered |= u64::from(more.flags2) << 32;
        }
        // A new mount of the same device starts over.
        self.clear();
        let flags = self.wanted() & InitFlags::from_bits_truncate(offered);
        self.session = Some(Session {
            flags: flags.bits(),
        });
        request.answer(&InitOut {
            major: MAJOR,
            minor: MINOR,
            max_readahead: args.max_readahead,
            flags: flags.bits() as u32,
            max_background: u16::MAX,
            congestion_threshold: u16::MAX / 4 * 3,
            max_write: u32::from(MAX_PAGES) * PAGE,
            time_gran: 1,
            max_pages: MAX_PAGES,
            flags2: (flags.bits() >> 32) as u32,
            ..InitOut::default()
        })
    }

    fn wanted(&self) -> InitFlags {
        let mut flags = InitFlags::ASYNC_READ
            | InitFlags::BIG_WRITES
            | InitFlags::DO_READDIRPLUS
            | InitFlags::READDIRPLUS_AUTO
            | InitFlags::ASYNC_DIO
            | InitFlags::PARALLEL_DIROPS
            | InitFlags::MAX_PAGES
            | InitFlags::HANDLE_KILLPRIV_V2
            | InitFlags::SETXATTR_EXT
            | InitFlags::INIT_EXT;
        let locks = InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS;
        match (self.cache, self.share.read_only()) {
            (Cache::Always, true) => {
                // Nothing changes: files are read without being opened, and locks concern the
                // guest alone.
                flags |= InitFlags::NO_OPEN_SUPPORT
                    | InitFlags::NO_OPENDIR_SUPPORT
                    | InitFlags::CACHE_SYMLINKS;
            }
            (Cache::Always, false) => {
                flags |= locks
                    | InitFlags::ATOMIC_O_TRUNC
                    | InitFlags::WRITEBACK_CACHE
                    | InitFlags::CACHE_SYMLINKS;
            }
            (Cache::Auto, _) => {
                flags |= locks
                    | InitFlags::ATOMIC_O_TRUNC
                    | InitFlags::AUTO_INVAL_DATA
                    | InitFlags::CACHE_SYMLINKS;
            }
            (Cache::Never, _) => {
                flags |= locks | InitFlags::ATOMIC_O_TRUNC | InitFlags::DIRECT_IO_ALLOW_MMAP;
            }
        }
        flags
    }
}
