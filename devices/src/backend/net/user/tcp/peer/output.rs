//! What the guest's peer sends.

use std::time::Instant;

use super::{PATIENCE, Peer, SCALE, Send, State, len32};
use crate::backend::net::user::tcp::ahead::before;
use crate::backend::net::user::tcp::buffer::Buffer;
use crate::backend::net::user::tcp::segment::{ACK, FIN, Offer, PSH, RST, Reply, SACKS_MAX, SYN};

impl Peer {
    fn reply(&mut self, flags: u8, space: usize) -> Reply {
        let seq = self.nxt;
        let mut reply = Reply {
            flags,
            seq,
            ack: self.rcv,
            window: 0,
            offer: None,
            sacks: [(0, 0); SACKS_MAX],
        };
        if self.selective {
            let parts = self.ahead.parts();
            for (sack, part) in reply.sacks.iter_mut().zip(parts) {
                *sack = *part;
            }
        }
        let scale = if self.scaled && flags & SYN == 0 {
            SCALE
        } else {
            0
        };
        reply.window = u16::try_from(space >> scale).unwrap_or(u16::MAX);
        self.edge = self.rcv.wrapping_add(u32::from(reply.window) << scale);
        self.gaps = self.gaps.saturating_sub(1);
        self.ack_now = self.gaps > 0;
        reply
    }

    /// The reset that ends the connection.
    pub(in super::super) fn reset(&mut self) -> Reply {
        let flags = if self.state == State::SynSent {
            RST
        } else {
            RST | ACK
        };
        let mut reply = self.reply(flags, 0);
        if self.window == 0 && self.state == State::Open {
            // What was sent to ask for room was not taken.
            reply.seq = self.una;
        }
        reply
    }

    /// The next segment to be sent, if there is one, with at most `most` bytes of data. `space` is
    /// what the host's side takes, `mss` the link's largest segment.
    pub(in super::super) fn next(
        &mut self,
        out: &Buffer,
        space: usize,
        most: usize,
        mss: u16,
        now: Instant,
    ) -> Option<Send> {
        let sent = self.nxt.wrapping_sub(self.una);
        if self.state != State::Open {
            if sent != 0 {
                return None;
            }
            let asking = self.state == State::SynSent;
            let mut reply = self.reply(if asking { SYN } else { SYN | ACK }, space);
            if asking {
                reply.ack = 0;
            }
            reply.offer = Some(Offer {
                mss,
                scale: (asking || self.scaled).then_some(SCALE),
                selective: asking || self.selective,
            });
            self.count(1, now);
            return Some(Send {
                reply,
                offset: 0,
                len: 0,
            });
        }
        if std::mem::take(&mut self.repeat_first)
            && let Some(send) = self.repeat(out, space, most)
        {
            return Some(send);
        }
        let offset = (sent as usize).min(out.len());
        let waiting = out.len() - offset;
        let room = self.window.saturating_sub(sent) as usize;
        let mut len = waiting.min(room).min(most);
        // Wait for room for a whole segment, while something is under way (RFC 9293 §3.8.6.2.1).
        if len < waiting && len < usize::from(self.mss) && sent > 0 {
            len = 0;
        }
        if len == 0 && waiting > 0 && sent == 0 {
            if self.probe {
                len = 1;
            } else if self.timer.is_none() {
                self.timer = Some(now + PATIENCE * (1 << self.doublings));
            }
        }
        self.probe = false;
        let last = len == waiting;
        let end = last && self.ending && !self.end_acked && sent as usize == offset;
        if len == 0 && !end && !self.ack_now {
            if sent > 0 && self.timer.is_none() {
                self.timer = Some(now + PATIENCE * (1 << self.doublings));
            }
            return None;
        }
        let push = if last && len > 0 { PSH } else { 0 };
        let reply = self.reply(ACK | push | if end { FIN } else { 0 }, space);
        self.count(len32(len) + u32::from(end), now);
        Some(Send { reply, offset, len })
    }

    /// The first segment of what was sent once more, with our end if that was sent.
    fn repeat(&mut self, out: &Buffer, space: usize, most: usize) -> Option<Send> {
        let sent = self.max.wrapping_sub(self.una) as usize;
        let len = out.len().min(sent).min(most).min(self.window as usize);
        let end = self.ending && !self.end_acked && sent > out.len() && len == out.len();
        if len == 0 && !end {
            return None;
        }
        let nxt = std::mem::replace(&mut self.nxt, self.una);
        let reply = self.reply(ACK | if end { FIN } else { 0 }, space);
        self.nxt = nxt;
        Some(Send {
            reply,
            offset: 0,
            len,
        })
    }

    /// Counts `n` sequence numbers as sent.
    fn count(&mut self, n: u32, now: Instant) {
        self.nxt = self.nxt.wrapping_add(n);
        if before(self.max, self.nxt) {
            self.max = self.nxt;
        }
        if n > 0 && self.timer.is_none() {
            self.timer = Some(now + PATIENCE * (1 << self.doublings));
        }
    }
}
