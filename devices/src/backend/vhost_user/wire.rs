//! The front end's end of a vhost-user connection: requests, and answers that come in time or not at all.
//!
//! The front end of the `vhost` crate waits for an answer as long as the back end likes, whatever time the socket
//! sets; here whoever is silent, or answers what was not asked, is an error.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use vhost::vhost_user::message::{
    FrontendReq as Request, VhostUserHeaderFlag, VhostUserProtocolFeatures,
};
use vhost::{
    Error, VhostBackend, VhostUserDirtyLogRegion, VhostUserMemoryRegionBase,
    VhostUserMemoryRegionInfo, VringConfigData,
};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// How long an answer may take: the device's loop waits for it, and the guest with it.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// Request, flags, and the length of what follows.
const HEADER: usize = 12;
const VERSION: u32 = 1;
const NO_DESCRIPTORS: &[RawFd] = &[];

/// A connection to a back end.
#[derive(Debug)]
pub(super) struct Wire {
    socket: UnixStream,
    /// The back end says of each request whether it could be done.
    acknowledges: bool,
}

impl Wire {
    /// # Errors
    /// The socket takes no time limit.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            acknowledges: false,
        })
    }

    fn send(&self, request: Request, flags: u32, body: &[u8], fds: &[RawFd]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut message = [request as u32, VERSION | flags, length]
            .map(u32::to_ne_bytes)
            .concat();
        message.extend(body);
        let sent = self.socket.send_with_fds(&[message.as_slice()], fds);
        match sent {
            Ok(sent) if sent == message.len() => Ok(()),
            Ok(_) => Err(ErrorKind::WriteZero.into()),
            Err(error) => Err(in_time(io::Error::from_raw_os_error(error.errno()))),
        }
    }

    fn receive(&self, mut answer: &mut [u8]) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !answer.is_empty() {
            if Instant::now() > end {
                return Err(ErrorKind::TimedOut.into());
            }
            match recv(&self.socket, &mut *answer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok((length, _)) => {
                    answer = answer.get_mut(length..).unwrap_or_default();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(in_time(error.into())),
            }
        }
        Ok(())
    }

    /// Reads the answer to `request`, which has `N` bytes after its header.
    fn answer<const N: usize>(&self, request: Request) -> io::Result<[u8; N]> {
        let mut header = [0_u8; HEADER];
        self.receive(&mut header)?;
        let word = |at: usize| {
            let bytes = header.get(at..at + 4).and_then(|b| b.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let wanted = VERSION | VhostUserHeaderFlag::REPLY.bits();
        let asked = (word(0), word(4) & 0b111, word(8)) == (request as u32, wanted, N as u32);
        if !asked {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut body = [0; N];
        self.receive(&mut body)?;
        Ok(body)
    }

    fn ask(&self, request: Request) -> io::Result<u64> {
        self.send(request, 0, &[], NO_DESCRIPTORS)?;
        self.answer(request).map(u64::from_ne_bytes)
    }

    /// Sends a request that has no answer of its own.
    fn tell(&self, request: Request, body: &[u8], fds: &[RawFd]) -> vhost::Result<()> {
        let flags = if self.acknowledges {
            VhostUserHeaderFlag::NEED_REPLY.bits()
        } else {
            0
        };
        let told = self.send(request, flags, body, fds).and_then(|()| {
            if !self.acknowledges {
                return Ok(());
            }
            match self.answer(request).map(u64::from_ne_bytes)? {
                0 => Ok(()),
                _ => Err(io::Error::other(format!(
                    "the back end refuses {request:?}"
                ))),
            }
        });
        told.map_err(Error::IOError)
    }

    /// A ring's index with a value.
    fn tell_ring(&self, request: Request, ring: usize, value: u32) -> vhost::Result<()> {
        self.tell(request, &ring_and(ring, value)?, NO_DESCRIPTORS)
    }

    /// A ring's index with a descriptor.
    fn tell_event(&self, request: Request, ring: usize, event: &EventFd) -> vhost::Result<()> {
        let ring = u8::try_from(ring).map_err(|_| Error::InvalidQueue)?;
        let body = u64::from(ring).to_ne_bytes();
        self.tell(request, &body, &[event.as_raw_fd()])
    }

    /// Agrees on those of `wanted` that the back end has too.
    pub(super) fn agree(&mut self, wanted: VhostUserProtocolFeatures) -> io::Result<()> {
        let offered = self.ask(Request::GET_PROTOCOL_FEATURES)?;
        let agreed = offered & wanted.bits();
        let body = agreed.to_ne_bytes();
        self.send(Request::SET_PROTOCOL_FEATURES, 0, &body, NO_DESCRIPTORS)?;
        self.acknowledges = agreed & VhostUserProtocolFeatures::REPLY_ACK.bits() != 0;
        Ok(())
    }

    pub(super) fn set_vring_enable(&self, ring: usize, on: bool) -> vhost::Result<()> {
        self.tell_ring(Request::SET_VRING_ENABLE, ring, on.into())
    }
}

/// A call that a time limit ended says that it would block.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

fn ring_and(ring: usize, value: u32) -> vhost::Result<[u8; 8]> {
    let ring = u32::try_from(ring).map_err(|_| Error::InvalidQueue)?;
    let value = u64::from(value) << 32 | u64::from(ring);
    Ok(value.to_le_bytes())
}

impl VhostBackend for Wire {
    fn get_features(&self) -> vhost::Result<u64> {
        self.ask(Request::GET_FEATURES).map_err(Error::IOError)
    }

    fn set_features(&self, features: u64) -> vhost::Result<()> {
        self.tell(
            Request::SET_FEATURES,
            &features.to_ne_bytes(),
            NO_DESCRIPTORS,
        )
    }

    fn set_owner(&self) -> vhost::Result<()> {
        self.tell(Request::SET_OWNER, &[], NO_DESCRIPTORS)
    }

    fn reset_owner(&self) -> vhost::Result<()> {
        Err(Error::InvalidOperation)
    }

    fn set_mem_table(
        &self,
        regions: &[VhostUserMemoryRegionInfo],
    ) -> vhost::Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let mut body = (regions.len() as u64).to_le_bytes().to_vec();
        for region in regions {
            let words = [
                region.guest_phys_addr,
                region.memory_size,
                region.userspace_addr,
                region.mmap_offset,
            ];
            body.extend(words.map(u64::to_ne_bytes).as_flattened());
        }
        let fds: Vec<_> = regions.iter().map(|region| region.mmap_handle).collect();
        if fds.iter().any(|&fd| fd < 0) {
            return Err(Error::InvalidGuestMemoryRegion);
        }
        self.tell(Request::SET_MEM_TABLE, &body, &fds)?;
        Ok(None)
    }

    fn set_log_base(&self, _: u64, _: Option<VhostUserDirtyLogRegion>) -> vhost::Result<()> {
        Err(Error::InvalidOperation)
    }

    fn set_log_fd(&self, _: RawFd) -> vhost::Result<()> {
        Err(Error::InvalidOperation)
    }

    fn set_vring_num(&self, ring: usize, num: u16) -> vhost::Result<()> {
        self.tell_ring(Request::SET_VRING_NUM, ring, num.into())
    }

    fn set_vring_addr(&self, ring: usize, config: &VringConfigData) -> vhost::Result<()> {
        let mut body = ring_and(ring, config.flags)?.to_vec();
        let words = [
            config.desc_table_addr,
            config.used_ring_addr,
            config.avail_ring_addr,
            config.log_addr.unwrap_or(0),
        ];
        body.extend(words.map(u64::to_ne_bytes).as_flattened());
        self.tell(Request::SET_VRING_ADDR, &body, NO_DESCRIPTORS)
    }

    fn set_vring_base(&self, ring: usize, base: u16) -> vhost::Result<()> {
        self.tell_ring(Request::SET_VRING_BASE, ring, base.into())
    }

    fn get_vring_base(&self, ring: usize) -> vhost::Result<u32> {
        let request = Request::GET_VRING_BASE;
        let body = ring_and(ring, 0)?;
        let answer = self
            .send(request, 0, &body, NO_DESCRIPTORS)
            .and_then(|()| self.answer(request));
        let answer = u64::from_le_bytes(answer.map_err(Error::IOError)?);
        Ok((answer >> 32) as u32)
    }

    fn set_vring_call(&self, ring: usize, event: &EventFd) -> vhost::Result<()> {
        self.tell_event(Request::SET_VRING_CALL, ring, event)
    }

    fn set_vring_kick(&self, ring: usize, event: &EventFd) -> vhost::Result<()> {
        self.tell_event(Request::SET_VRING_KICK, ring, event)
    }

    fn set_vring_err(&self, _: usize, _: &EventFd) -> vhost::Result<()> {
        Err(Error::InvalidOperation)
    }
}
