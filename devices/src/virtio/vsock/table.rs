//! The connections of a guest, by number and by their ports.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use super::connection::{Connection, Phase};
use super::packet::Ends;

/// The most connections at a time.
pub(super) const MAX: usize = 1024;
/// The first port of connections that the host opens.
const FIRST_HOST_PORT: u32 = 1 << 30;

/// The connections.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    by_ends: HashMap<Ends, usize>,
    /// Added to the first port for the next connection from the host.
    next_port: u32,
}

impl Table {
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= MAX
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&mut Connection> {
        self.slots.get_mut(index)?.as_mut()
    }

    pub(super) fn find(&self, ends: Ends) -> Option<usize> {
        self.by_ends.get(&ends).copied()
    }

    /// Adds a client, whose port in the guest is not known yet; `None` if there are too many.
    pub(super) fn add_client(&mut self, socket: OwnedFd) -> Option<usize> {
        let ends = Ends {
            guest_port: 0,
            host_port: 0,
        };
        let phase = Phase::Greeting(Vec::new());
        self.insert(Connection::new(socket, ends, phase))
    }

    /// Adds a connection that the guest opens; `None` if there are too many.
    pub(super) fn add_open(&mut self, socket: OwnedFd, ends: Ends) -> Option<usize> {
        let index = self.insert(Connection::new(socket, ends, Phase::Open))?;
        self.by_ends.insert(ends, index);
        Some(index)
    }

    /// A client asks for `guest_port`: its connection gets a port of the host; what it is now.
    pub(super) fn request(&mut self, index: usize, guest_port: u32) -> Option<Ends> {
        let ends = self.free_port(guest_port);
        let connection = self.slots.get_mut(index)?.as_mut()?;
        connection.ends = ends;
        connection.phase = Phase::Requested;
        self.by_ends.insert(ends, index);
        Some(ends)
    }

    /// There are far more ports than connections.
    fn free_port(&mut self, guest_port: u32) -> Ends {
        loop {
            let ends = Ends {
                guest_port,
                host_port: FIRST_HOST_PORT + self.next_port,
            };
            self.next_port = (self.next_port + 1) % FIRST_HOST_PORT;
            if !self.by_ends.contains_key(&ends) {
                return ends;
            }
        }
    }

    fn insert(&mut self, connection: Connection) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        let index = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(index) {
            Some(slot) => *slot = Some(connection),
            None => self.slots.push(Some(connection)),
        }
        Some(index)
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(index)?.take()?;
        self.free.push(index);
        if self.find(connection.ends) == Some(index) {
            self.by_ends.remove(&connection.ends);
        }
        Some(connection)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Connection)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| slot.as_mut().map(|connection| (index, connection)))
    }

    /// Forgets all; their sockets must not be watched.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
        self.by_ends.clear();
    }
}
