//! A hypervisor that is not there: it counts messages and rings doorbells on request.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::EventFd;

use crate::bus::Space;
use crate::lock;
use crate::platform::{DoorbellPlace, Msi, Platform};

/// Address and data, where there is a message.
type Message = Arc<Mutex<Option<(u64, u32)>>>;
/// Events that send messages.
type Bound = Arc<Mutex<Vec<(RawFd, Message)>>>;

/// A hypervisor without a guest.
#[derive(Debug, Default)]
pub struct FakePlatform {
    doorbells: Mutex<BTreeMap<DoorbellPlace, EventFd>>,
    messages: Arc<Mutex<BTreeMap<(u64, u32), usize>>>,
    bound: Bound,
}

#[derive(Debug)]
struct FakeMsi {
    message: Message,
    messages: Arc<Mutex<BTreeMap<(u64, u32), usize>>>,
    bound: Bound,
}

impl Msi for FakeMsi {
    fn configure(&self, address: u64, data: u32, masked: bool) -> io::Result<()> {
        *lock(&self.message) = (!masked).then_some((address, data));
        Ok(())
    }

    fn trigger(&self) -> io::Result<()> {
        let message = *lock(&self.message);
        let message = message.ok_or(io::ErrorKind::NotConnected)?;
        *lock(&self.messages).entry(message).or_default() += 1;
        Ok(())
    }

    fn bind(&self, event: &EventFd) -> io::Result<()> {
        let mut bound = lock(&self.bound);
        if bound.iter().any(|&(fd, _)| fd == event.as_raw_fd()) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        bound.push((event.as_raw_fd(), Arc::clone(&self.message)));
        Ok(())
    }

    fn unbind(&self, event: &EventFd) -> io::Result<()> {
        let mut bound = lock(&self.bound);
        let mine = |(fd, message): &(_, _)| {
            *fd == event.as_raw_fd() && Arc::ptr_eq(message, &self.message)
        };
        let place = bound.iter().position(mine).ok_or(io::ErrorKind::NotFound)?;
        bound.remove(place);
        Ok(())
    }
}

impl Platform for FakePlatform {
    fn allocate_msi(&self) -> io::Result<Box<dyn Msi>> {
        Ok(Box::new(FakeMsi {
            message: Arc::default(),
            messages: Arc::clone(&self.messages),
            bound: Arc::clone(&self.bound),
        }))
    }

    fn add_doorbell(&self, at: DoorbellPlace, doorbell: &EventFd) -> io::Result<()> {
        let mut doorbells = lock(&self.doorbells);
        if doorbells.contains_key(&at) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        doorbells.insert(at, doorbell.try_clone()?);
        Ok(())
    }

    fn remove_doorbell(&self, at: DoorbellPlace, _doorbell: &EventFd) -> io::Result<()> {
        let removed = lock(&self.doorbells).remove(&at);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl FakePlatform {
    /// How often the message `data` was sent to `address`.
    #[must_use]
    pub fn messages(&self, address: u64, data: u32) -> usize {
        let messages = lock(&self.messages);
        messages.get(&(address, data)).copied().unwrap_or_default()
    }

    /// How many messages were sent in all.
    #[must_use]
    pub fn all_messages(&self) -> usize {
        lock(&self.messages).values().sum()
    }

    /// The data of the messages that events send by themselves, one for each event.
    #[must_use]
    pub fn bound(&self) -> Vec<u32> {
        let bound = lock(&self.bound);
        let data = |message: &Message| lock(message).map(|(_, data)| data);
        bound
            .iter()
            .filter_map(|(_, message)| data(message))
            .collect()
    }

    /// The addresses and ports that have a doorbell.
    #[must_use]
    pub fn doorbells(&self) -> Vec<(Space, u64)> {
        let doorbells = lock(&self.doorbells);
        doorbells.keys().map(|at| (at.space, at.address)).collect()
    }

    /// A guest's write of the 32 bits `value` to `address` of `space`: `true` if a doorbell took it.
    pub fn ring(&self, (space, address): (Space, u64), value: u32) -> bool {
        let doorbells = lock(&self.doorbells);
        let at = |value| {
            doorbells.get(&DoorbellPlace {
                space,
                address,
                value,
            })
        };
        let doorbell = at(Some(value)).or_else(|| at(None));
        doorbell.is_some_and(|doorbell| doorbell.write(1).is_ok())
    }
}
