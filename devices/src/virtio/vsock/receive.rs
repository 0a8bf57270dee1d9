//! What the guest receives: answers, data of its connections, the event of a reset.

use std::io;

use zerocopy::IntoBytes;

use super::super::device::{ActiveIo, DeviceError, Registry};
use super::super::queue::Chain;
use super::connection::Received;
use super::packet::{HEADER_LEN, Header, Op, SHUTDOWN_SEND};
use super::{EVENT, EVENT_TRANSPORT_RESET, MAX_ANSWERS, MAX_KEPT, RECEIVE, TRANSMIT, TURN, Vsock};

impl Vsock {
    /// Gives the guest answers and data, as it has buffers.
    pub(super) fn fill(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let mut given = 0;
        while !self.answers.is_empty() || !self.line.is_empty() {
            if given == TURN {
                io.call_again(RECEIVE);
                break;
            }
            let Some(queue) = io.queues.get_mut(usize::from(RECEIVE)) else {
                break;
            };
            let Some(chain) = queue.pop(io.mem)? else {
                if queue.enable_notification(io.mem)? {
                    continue;
                }
                break;
            };
            let head = chain.head;
            match self.give(chain, io.events)? {
                Some(written) => {
                    queue.add_used(io.mem, head, written)?;
                    given += 1;
                }
                None => queue.push_back(),
            }
        }
        if given > 0 {
            io.notify_used(RECEIVE)?;
        }
        if self.transmit_waits && self.answers.len() < MAX_ANSWERS && self.kept < MAX_KEPT {
            self.transmit_waits = false;
            io.call_again(TRANSMIT);
        }
        Ok(())
    }

    /// Fills one receive buffer; `None` if there was nothing for it after all.
    fn give(
        &mut self,
        chain: Chain<'_>,
        events: &mut dyn Registry,
    ) -> Result<Option<u32>, DeviceError> {
        let mut header_room = chain.writer;
        if header_room.available() <= HEADER_LEN {
            return Err(DeviceError::Request("receive buffer is too small"));
        }
        let mut data_room = header_room.split_off(HEADER_LEN);
        if let Some(mut header) = self.answers.pop_front() {
            let index = self.table.find(header.ends_to_guest());
            if let Some(connection) = index.and_then(|index| self.table.get(index)) {
                connection.tell_room(&mut header);
            }
            header_room.write(header.as_bytes());
            return Ok(Some(HEADER_LEN as u32));
        }
        let Some(index) = self.line.pop_front() else {
            return Ok(None);
        };
        let Some(connection) = self.table.get(index) else {
            return Ok(None);
        };
        let ends = connection.ends;
        let received = connection.receive(&data_room);
        if let Ok(Received::Data(len)) = received {
            let mut header = Header::to_guest(self.cid, ends, Op::Data);
            header.len = len.into();
            connection.tell_room(&mut header);
            header_room.write(header.as_bytes());
            data_room.advance(len as usize);
            self.line.push_back(index);
            return Ok(Some(HEADER_LEN as u32 + len));
        }
        connection.in_line = false;
        self.stopped(index, received, events)?;
        Ok(None)
    }

    /// A connection has no more data for the guest, for now or for good.
    fn stopped(
        &mut self,
        index: usize,
        why: io::Result<Received>,
        events: &mut dyn Registry,
    ) -> Result<(), DeviceError> {
        let Some(connection) = self.table.get(index) else {
            return Ok(());
        };
        let ends = connection.ends;
        let over = connection.is_over();
        match why {
            Ok(_) if over => {}
            Ok(Received::End) => {
                let mut header = Header::to_guest(self.cid, ends, Op::Shutdown);
                header.flags = SHUTDOWN_SEND.into();
                self.answers.push_back(header);
                return self.settle(index, events);
            }
            Ok(_) => {
                if connection.room() == 0 && !connection.asked {
                    connection.asked = true;
                    self.say(ends, Op::CreditRequest);
                }
                return self.settle(index, events);
            }
            Err(error) => log::debug!("vsock: a client's connection broke: {error}"),
        }
        self.forget(index, events);
        self.say(ends, Op::Reset);
        Ok(())
    }

    pub(super) fn tell_reset(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        let Some(queue) = io.queues.get_mut(usize::from(EVENT)) else {
            return Ok(());
        };
        if !self.reset_due {
            return Ok(());
        }
        let Some(mut chain) = queue.pop(io.mem)? else {
            return Ok(());
        };
        if !chain.writer.write_obj(EVENT_TRANSPORT_RESET.to_le()) {
            return Err(DeviceError::Request("event buffer is too small"));
        }
        queue.add_used(io.mem, chain.head, chain.writer.written())?;
        self.reset_due = false;
        io.notify_used(EVENT)
    }
}
