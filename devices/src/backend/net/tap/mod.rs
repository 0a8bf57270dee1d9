//! A TAP: the kernel's end of the guest's network card (Linux Documentation/networking/tuntap.rst).
//!
//! The kernel takes and gives frames with the driver's own header before them, so offloads pass
//! through as they are. Each pair of the card's queues has a descriptor of its own.

mod error;
mod link;
mod open;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smallvec::SmallVec;
use vm_memory::VolatileSlice;

pub use self::error::TapError;
use self::link::LinkMonitor;
use super::spec::{TapSource, TapSpec, VhostChoice};
use super::vhost::{self, VhostNet};
use super::{FRAME_MAX, GUEST_OFFLOADS, HEADER_LEN, NetBackend, Packet, PacketHeader, TakesOver};
use crate::sys;
use crate::virtio::device::{Interest, Registry, Token};
use crate::virtio::queue::Reader;

/// Every IPv4 host takes packets of this size (RFC 791 §3.1).
const MTU_MIN: u16 = 576;

/// The frames waiting for the guest.
const FRAMES: Token = Token(0);
/// News of the interface.
const LINK: Token = Token(1);

/// One queue of a TAP.
#[derive(Debug)]
pub struct Tap {
    file: File,
    first: bool,
    features: u64,
    mtu: u16,
    /// Of the first queue, if the interface can be watched.
    monitor: Option<LinkMonitor>,
    buffer: Box<[u8]>,
    /// The length of the frame in the buffer, with its header; 0 if there is none.
    len: usize,
    /// Whether the kernel may have a frame.
    readable: bool,
    /// Whether we are woken for frames.
    watched: bool,
    /// The interface was deleted.
    gone: bool,
    /// The kernel's way past us.
    vhost: Option<VhostNet>,
}

impl Tap {
    /// Opens the TAP that `spec` names, one back end for each of its queues; `mtu` is what the user
    /// wants.
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn open(spec: &TapSpec, mtu: Option<u16>) -> Result<Vec<Self>, TapError> {
        let opened = open::open(spec, mtu)?;
        let mut monitor = LinkMonitor::open(opened.name)
            .inspect_err(|error| log::debug!("{}: link is not watched: {error}", opened.name))
            .ok();
        let mut vhost = open_vhost(spec.vhost, &opened.queues)?.into_iter();
        let queue = |(number, fd): (usize, _)| Self {
            file: File::from(fd),
            first: number == 0,
            features: opened.features,
            mtu: opened.mtu,
            monitor: monitor.take(),
            buffer: vec![0; HEADER_LEN + FRAME_MAX].into_boxed_slice(),
            len: 0,
            readable: false,
            watched: false,
            gone: false,
            vhost: vhost.next(),
        };
        Ok(opened.queues.into_iter().enumerate().map(queue).collect())
    }

    /// The next frame of the kernel's, into the buffer; whether there is one.
    fn read(&mut self, events: &mut dyn Registry) -> bool {
        while self.readable {
            match self.file.read(&mut self.buffer) {
                Ok(len) if len > HEADER_LEN => {
                    self.len = len;
                    return true;
                }
                Ok(_) => {}
                Err(error) => {
                    self.readable = error.raw_os_error() == Some(libc::EINTR);
                    if error.raw_os_error() == Some(libc::EBADFD) {
                        self.lose(events);
                    }
                }
            }
        }
        false
    }

    /// Whether the descriptor will never work again.
    fn has_failed(&self) -> bool {
        let mut fds = [PollFd::new(&self.file, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        let [fd] = &fds;
        polled.is_ok() && fd.revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// The interface is no more: nothing will come or go.
    fn lose(&mut self, events: &mut dyn Registry) {
        if !std::mem::replace(&mut self.gone, true) {
            log::warn!("the guest's TAP was deleted");
            let _ = events.remove(self.file.as_raw_fd());
        }
    }

    fn watch(&mut self, on: bool, events: &mut dyn Registry) {
        if self.watched == on || self.gone {
            return;
        }
        let interest = if on { Interest::Read } else { Interest::None };
        match events.modify(self.file.as_raw_fd(), FRAMES, interest) {
            Ok(()) => self.watched = on,
            Err(error) => log::debug!("cannot watch the TAP: {error}"),
        }
    }
}

/// The kernel's side of a TAP's queues, if it is wanted and can be had.
fn open_vhost(wanted: VhostChoice, queues: &[OwnedFd]) -> Result<Vec<VhostNet>, TapError> {
    if wanted == VhostChoice::Off {
        return Ok(Vec::new());
    }
    let all: io::Result<Vec<_>> = queues
        .iter()
        .map(|queue| VhostNet::open(queue.try_clone()?))
        .collect();
    match all {
        Err(error) if wanted == VhostChoice::Auto => {
            log::debug!(
                "packets pass through this process: {}: {error}",
                vhost::DEVICE
            );
            Ok(Vec::new())
        }
        all => all.map_err(TapError::Vhost),
    }
}

impl NetBackend for Tap {
    fn features(&self) -> u64 {
        self.features
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn start(&mut self, features: u64, events: &mut dyn Registry) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        if self.first {
            // The kernel keeps one set for all queues.
            self.set_offloads(features & GUEST_OFFLOADS)?;
        } else {
            sys::net::set_tap_queue(self.file.as_fd(), true)?;
        }
        // With vhost the frames wake the kernel; we hear of the interface's end.
        let frames = if self.vhost.is_none() {
            Interest::Read
        } else {
            Interest::None
        };
        events.add(self.file.as_raw_fd(), FRAMES, frames)?;
        self.watched = self.vhost.is_none();
        self.readable = true;
        if let Some(monitor) = &mut self.monitor {
            events.add(monitor.fd(), LINK, Interest::Read)?;
            monitor.look();
        }
        Ok(())
    }

    fn set_offloads(&mut self, offloads: u64) -> io::Result<()> {
        if !self.first || self.gone {
            return Ok(());
        }
        sys::net::set_tap_offload(self.file.as_fd(), open::offload(offloads))
    }

    fn link_is_up(&self) -> bool {
        !self.gone && self.monitor.as_ref().is_none_or(LinkMonitor::is_up)
    }

    fn stop(&mut self, events: &mut dyn Registry) {
        if let Some(monitor) = &self.monitor {
            let _ = events.remove(monitor.fd());
        }
        if self.gone {
            return;
        }
        let _ = events.remove(self.file.as_raw_fd());
        self.watched = false;
        // Frames for a queue that nobody reads would be lost; the first one's wait.
        if !self.first && sys::net::set_tap_queue(self.file.as_fd(), false).is_err() {
            log::debug!("a queue of the TAP stays in use");
        }
    }

    fn reset(&mut self) {
        self.len = 0;
    }

    fn send(&mut self, header: PacketHeader, frame: &mut Reader<'_>, _: &mut dyn Registry) {
        let mut header = header.to_bytes(0);
        let mut slices: SmallVec<[VolatileSlice<'_>; 24]> = SmallVec::new();
        slices.push(VolatileSlice::from(header.as_mut_slice()));
        slices.extend_from_slice(frame.slices());
        // What the kernel does not take is lost, as on a wire: an interface that is down, a frame
        // that is none, a queue that is full.
        let _ = sys::write_vectored(self.file.as_fd(), &slices, usize::MAX, None);
    }

    fn flush(&mut self, _: &mut dyn Registry) {}

    fn event(&mut self, token: Token, events: &mut dyn Registry) {
        match token {
            LINK => {
                if let Some(monitor) = &mut self.monitor {
                    monitor.ready();
                    if !monitor.exists() {
                        self.lose(events);
                    }
                }
            }
            _ if self.watched => self.readable = true,
            // A call from before we stopped, or the error that is told unasked.
            _ if self.has_failed() => self.lose(events),
            _ => {}
        }
    }

    fn receive(&mut self, events: &mut dyn Registry) -> Option<Packet<'_>> {
        if self.gone {
            return None;
        }
        if !self.watched {
            self.watch(true, events);
            self.readable = true;
        }
        if self.len == 0 && !self.read(events) {
            return None;
        }
        let (header, frame) = self.buffer.get(..self.len)?.split_first_chunk()?;
        Some(Packet {
            header: PacketHeader::from_bytes(*header),
            frame,
            body: [&[], &[]],
        })
    }

    fn received(&mut self) {
        self.len = 0;
    }

    fn takes_over(&mut self) -> Option<&mut dyn TakesOver> {
        let vhost = self.vhost.as_mut()?;
        Some(vhost)
    }

    fn hold(&mut self, events: &mut dyn Registry) {
        self.watch(false, events);
    }
}
