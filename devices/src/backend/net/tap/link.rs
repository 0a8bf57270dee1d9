//! Whether a TAP's interface is up, told by the kernel when it changes (rtnetlink(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use crate::sys::net::{self as sys, InterfaceName};

/// The group of messages on interfaces (`RTMGRP_LINK`).
const GROUP_LINK: u32 = 1;
/// Messages taken before others on the loop get their turn.
const BURST: usize = 64;

/// Watches one interface.
#[derive(Debug)]
pub(super) struct LinkMonitor {
    messages: OwnedFd,
    questions: OwnedFd,
    name: InterfaceName,
    up: bool,
    exists: bool,
}

impl LinkMonitor {
    pub(super) fn open(name: InterfaceName) -> io::Result<Self> {
        let messages = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            // NETLINK_ROUTE, which is 0.
            None,
        )?;
        rustix::net::bind(&messages, &SocketAddrNetlink::new(0, GROUP_LINK))?;
        let questions = question_socket()?;
        let up = sys::interface_is_up(questions.as_fd(), name)?;
        Ok(Self {
            messages,
            questions,
            name,
            up,
            exists: true,
        })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.messages.as_raw_fd()
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// Whether the interface is there at all.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    /// Some interface changed: looks at ours.
    pub(super) fn ready(&mut self) {
        let mut message = [0_u8; 256];
        for _ in 0..BURST {
            match rustix::net::recv(&self.messages, &mut message, RecvFlags::DONTWAIT) {
                // Messages were lost: the look below makes up for them.
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.look();
    }

    /// Asks the kernel.
    pub(super) fn look(&mut self) {
        let state = sys::interface_is_up(self.questions.as_fd(), self.name);
        self.exists = state.is_ok();
        self.up = state.unwrap_or(false);
    }
}

/// A socket to ask about interfaces by.
pub(super) fn question_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    Ok(socket)
}
