//! The socket device (VIRTIO 1.3 §5.10): streams between a guest and Unix sockets of the host.
//!
//! A client on the host connects to the device's socket, writes `CONNECT PORT` and an end of line,
//! and reads `OK HOSTPORT` and an end of line once the guest has taken the connection on. A guest
//! that connects to port P of the host (context 2) reaches the Unix socket at the path with `_P` at
//! its end. Runs on the io loop.
//!
//! What the device keeps is bounded whatever the guest does: it takes packets only as long as its
//! own answers and the data that waits for clients stay within limits.

mod connection;
mod host;
mod kernel;
mod packet;
mod receive;
mod spec;
mod table;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::connection::Phase;
use self::host::Host;
pub use self::kernel::{VhostVsock, VhostVsockError, is_cid_taken};
use self::packet::{Ends, HOST_CID, Header, Op};
pub use self::spec::VsockSpec;
use self::table::Table;
use super::device::{
    ActiveIo, ConfigSpace, ConstConfig, DeviceError, DeviceInfo, EventLoop, Registry, Token,
    VirtioDevice,
};
use super::queue::Reader;
use crate::backend::unix_socket::SocketPlace;
use crate::persist::{Payload, PersistError};

const DEVICE_ID: u32 = 19;

// Virtqueues (VIRTIO 1.3 §5.10.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const EVENT: u16 = 2;
const QUEUE_SIZE: u16 = 256;

/// Stream sockets (VIRTIO 1.3 §5.10.3).
const F_STREAM: u64 = 1 << 0;
/// The event that ends all connections (VIRTIO 1.3 §5.10.6.7).
const EVENT_TRANSPORT_RESET: u32 = 0;

/// Packets in one turn; then the other devices of the loop have theirs.
const TURN: u32 = 64;
/// Answers that may wait for receive buffers; a guest that takes none is heard no further.
const MAX_ANSWERS: usize = 1024;
/// Data of all connections that may wait for clients; beyond it the guest is heard no further.
const MAX_KEPT: usize = 16 << 20;
const STATE_KIND: &str = "virtio-vsock";

/// A socket device.
#[derive(Debug)]
pub struct Vsock {
    cid: u64,
    host: Host,
    table: Table,
    /// Packets without data for the guest.
    answers: VecDeque<Header>,
    /// The connections that have data for the guest, in turn.
    line: VecDeque<usize>,
    /// Bytes that wait for clients.
    kept: usize,
    /// Packets of the guest's wait for room.
    transmit_waits: bool,
    /// The guest is to hear that all its connections are gone.
    reset_due: bool,
}

impl Vsock {
    /// Makes the device of guest `cid` and listens at `socket`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn new(cid: u32, socket: &Path) -> io::Result<Self> {
        Ok(Self {
            cid: cid.into(),
            host: Host::bind(socket)?,
            table: Table::default(),
            answers: VecDeque::new(),
            line: VecDeque::new(),
            kept: 0,
            transmit_waits: false,
            reset_due: false,
        })
    }

    /// Where clients connect, for who ends the process without dropping the device.
    #[must_use]
    pub fn place(&self) -> Arc<SocketPlace> {
        Arc::clone(self.host.place())
    }

    fn say(&mut self, ends: Ends, op: Op) {
        self.answers.push_back(Header::to_guest(self.cid, ends, op));
    }

    /// Takes packets from the guest.
    fn take(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let mut taken = 0;
        loop {
            self.transmit_waits = self.answers.len() >= MAX_ANSWERS || self.kept >= MAX_KEPT;
            if self.transmit_waits {
                break;
            }
            if taken == TURN {
                io.call_again(TRANSMIT);
                break;
            }
            let Some(queue) = io.queues.get_mut(usize::from(TRANSMIT)) else {
                break;
            };
            let Some(mut chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            self.packet(&mut chain.reader, io.events)?;
            queue.add_used(io.mem, chain.head, 0)?;
            taken += 1;
        }
        if taken > 0 {
            io.notify_used(TRANSMIT)?;
        }
        Ok(())
    }

    fn packet(
        &mut self,
        from: &mut Reader<'_>,
        events: &mut dyn Registry,
    ) -> Result<(), DeviceError> {
        let header = Header::read(from);
        let header = header.ok_or(DeviceError::Request("packet is too short"))?;
        if header.src_cid.get() != self.cid || header.dst_cid.get() != HOST_CID {
            // There is nobody to answer for (VIRTIO 1.3 §5.10.6.4.1).
            return Ok(());
        }
        let ends = header.ends();
        let found = self.table.find(ends);
        let op = header.op().filter(|_| header.is_stream());
        let whole = header.len.get() as usize <= from.available();
        match (op, found) {
            (Some(Op::Reset), Some(index)) => self.forget(index, events),
            (Some(Op::Reset), None) => {}
            (Some(Op::Request), None) => self.connect(&header, events),
            (Some(op), Some(index)) if whole => {
                if !self.connected(op, index, &header, from) {
                    self.forget(index, events);
                    self.say(ends, Op::Reset);
                }
                self.settle(index, events)?;
            }
            (_, found) => {
                if let Some(index) = found {
                    self.forget(index, events);
                }
                self.say(ends, Op::Reset);
            }
        }
        Ok(())
    }

    /// The guest opens a connection.
    fn connect(&mut self, header: &Header, events: &mut dyn Registry) {
        let ends = header.ends();
        let opened = self.host.connect(ends.host_port);
        let index = opened.and_then(|socket| {
            let full = io::ErrorKind::StorageFull;
            self.table.add_open(socket, ends).ok_or(full.into())
        });
        match index {
            Ok(index) => {
                if let Some(connection) = self.table.get(index) {
                    connection.note_room(header);
                }
                self.say(ends, Op::Response);
                if self.settle(index, events).is_err() {
                    self.forget(index, events);
                    self.say(ends, Op::Reset);
                }
            }
            Err(error) => {
                let port = ends.host_port;
                log::debug!("vsock: guest cannot connect to port {port}: {error}");
                self.say(ends, Op::Reset);
            }
        }
    }

    /// A packet of a connection that is there; `false` ends it.
    fn connected(&mut self, op: Op, index: usize, header: &Header, from: &mut Reader<'_>) -> bool {
        let Some(connection) = self.table.get(index) else {
            return false;
        };
        connection.note_room(header);
        let ends = connection.ends;
        match (op, &connection.phase) {
            (Op::Response, Phase::Requested) => connection.open().is_ok(),
            (Op::Shutdown, Phase::Open) => {
                connection.shut_down(header.flags.get());
                !connection.is_over()
            }
            (Op::Data, Phase::Open) => {
                let before = connection.kept();
                let sent = connection.send(from, header.len.get());
                self.kept = self.kept + connection.kept() - before;
                sent.is_ok()
            }
            (Op::CreditUpdate, Phase::Open) => true,
            (Op::CreditRequest, Phase::Open) => {
                self.say(ends, Op::CreditUpdate);
                true
            }
            _ => false,
        }
    }

    /// After a change of a connection: tells the guest of room, watches the socket.
    fn settle(&mut self, index: usize, events: &mut dyn Registry) -> Result<(), DeviceError> {
        let Some(connection) = self.table.get(index) else {
            return Ok(());
        };
        let watched = connection.watch(events, Host::token(index));
        let (owes, ends) = (connection.owes_update(), connection.ends);
        if owes {
            let mut header = Header::to_guest(self.cid, ends, Op::CreditUpdate);
            // Told already, so that it is told once.
            connection.tell_room(&mut header);
            self.answers.push_back(header);
        }
        watched.map_err(|source| DeviceError::Backend {
            context: "watch a vsock client".to_owned(),
            source,
        })
    }

    /// Ends a connection and closes its socket.
    fn forget(&mut self, index: usize, events: &mut dyn Registry) {
        if let Some(mut connection) = self.table.remove(index) {
            connection.unwatch(events);
            self.kept -= connection.kept();
            self.line.retain(|&other| other != index);
            self.host.listen(events, !self.table.is_full());
        }
    }

    /// A client's socket is ready.
    fn client(&mut self, index: usize, events: &mut dyn Registry) -> Result<(), DeviceError> {
        let Some(connection) = self.table.get(index) else {
            return Ok(());
        };
        if let Phase::Greeting(_) = connection.phase {
            self.greeting(index, events);
            return self.settle(index, events);
        }
        let ends = connection.ends;
        let before = connection.kept();
        let flushed = connection.flush();
        let over = connection.is_over();
        if connection.receives() && connection.room() > 0 && !connection.in_line {
            connection.in_line = true;
            self.line.push_back(index);
        }
        self.kept = self.kept + connection.kept() - before;
        if flushed.is_err() || over {
            self.forget(index, events);
            self.say(ends, Op::Reset);
        }
        self.settle(index, events)
    }

    fn greeting(&mut self, index: usize, events: &mut dyn Registry) {
        use self::connection::Greeting;
        let greeting = self.table.get(index).map(|it| it.read_greeting());
        match greeting {
            Some(Greeting::Port(port)) => {
                if let Some(ends) = self.table.request(index, port) {
                    self.say(ends, Op::Request);
                }
            }
            Some(Greeting::Bad) => self.forget(index, events),
            Some(Greeting::Wait) | None => {}
        }
    }

    fn accept(&mut self, events: &mut dyn Registry) -> Result<(), DeviceError> {
        while let Some(socket) = self.host.accept(events) {
            let Some(index) = self.table.add_client(socket) else {
                break;
            };
            self.settle(index, events)?;
            if self.table.is_full() {
                self.host.listen(events, false);
            }
        }
        Ok(())
    }
}

impl VirtioDevice for Vsock {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: DEVICE_ID,
            features: F_STREAM,
            queue_sizes: vec![QUEUE_SIZE, QUEUE_SIZE, 8],
            runs_on: EventLoop::Shared,
        }
    }

    fn config(&self) -> Arc<dyn ConfigSpace> {
        Arc::new(ConstConfig(self.cid.to_le_bytes().to_vec()))
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.host.listen(io.events, !self.table.is_full());
        for (index, connection) in self.table.iter_mut() {
            let watched = connection.watch(io.events, Host::token(index));
            watched.map_err(|source| DeviceError::Backend {
                context: "watch a vsock client".to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        match index {
            TRANSMIT => self.take(io)?,
            EVENT => self.tell_reset(io)?,
            _ => {}
        }
        self.fill(io)
    }

    fn process_event(&mut self, io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        match Host::index(token) {
            None => self.accept(io.events)?,
            Some(index) => self.client(index, io.events)?,
        }
        self.fill(io)
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        self.host.listen(io.events, false);
        for (_, connection) in self.table.iter_mut() {
            connection.unwatch(io.events);
        }
    }

    fn reset(&mut self) {
        self.table.clear();
        self.answers.clear();
        self.line.clear();
        self.kept = 0;
        self.transmit_waits = false;
        self.reset_due = false;
    }

    /// Connections do not outlive their process: the guest is told so when it is taken back.
    fn save(&self) -> Result<Option<Payload>, PersistError> {
        Payload::pack(STATE_KIND, 1, &VsockStateV1 {}).map(Some)
    }

    fn restore(&mut self, state: Payload) -> Result<(), PersistError> {
        let VsockStateV1 {} = state.unpack(STATE_KIND, 1)?;
        self.reset_due = true;
        Ok(())
    }
}

/// Version 1 of a socket device's saved state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VsockStateV1 {}

#[cfg(test)]
mod tests;
