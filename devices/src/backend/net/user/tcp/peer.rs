//! The guest's peer in one TCP connection (RFC 9293): a state machine that knows of no socket.
//!
//! The link loses nothing by itself: what is lost, the guest's own kernel dropped. So there is no
//! congestion control, and a segment that comes out of order is dropped and asked for again.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::segment::{ACK, FIN, PSH, RST, Reply, SYN, Segment};

/// How long an acknowledgement is waited for; doubled with each repetition.
const PATIENCE: Duration = Duration::from_millis(400);
const DOUBLINGS_MAX: u32 = 5;
/// The scale of our window.
const SCALE: u8 = 3;
/// What a guest takes that does not say (RFC 9293 §3.7.1).
const MSS_DEFAULT: u16 = 536;
/// Less than this is not believed: it would cost more in headers than in data.
const MSS_MIN: u16 = 64;
/// Acknowledgements of the same data that mean loss (RFC 5681 §3.2).
const REPEATS: u8 = 3;

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// We asked the guest for a connection.
    SynSent,
    /// The guest asked us.
    SynReceived,
    /// Both sides agreed; one or both may have ended since.
    Open,
}

/// What a segment means for the flow.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// These bytes of its payload are new and in order.
    Data(Range<usize>),
    /// The guest reset the connection.
    Reset,
    /// It belongs to no connection that we know of: to be answered with a reset.
    Stray,
}

/// Nothing of interest to the flow.
const NOTHING: Meaning = Meaning::Data(0..0);

/// A segment to be sent: its header, and which of the buffered bytes go with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Send {
    /// The header.
    pub(super) reply: Reply,
    /// Where its data begin in the buffer.
    pub(super) offset: usize,
    /// How long they are.
    pub(super) len: usize,
}

/// The guest's peer.
#[derive(Debug)]
pub(super) struct Peer {
    state: State,
    /// The first sequence number that the guest has not acknowledged.
    una: u32,
    /// The next to be sent.
    nxt: u32,
    /// One more than the highest ever sent.
    max: u32,
    /// What the guest takes from `una` on.
    window: u32,
    scale: u8,
    mss: u16,
    /// What we expect next.
    rcv: u32,
    /// The end of the window that the guest knows.
    edge: u32,
    scaled: bool,
    guest_ended: bool,
    ending: bool,
    end_acked: bool,
    ack_now: bool,
    /// Acknowledgements to be repeated for segments that came out of order.
    gaps: u8,
    repeats: u8,
    repeat_first: bool,
    probe: bool,
    doublings: u32,
    timer: Option<Instant>,
}

/// Whether `a` comes before `b`.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn len32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Peer {
    fn new(state: State, iss: u32) -> Self {
        Self {
            state,
            una: iss,
            nxt: iss,
            max: iss,
            window: 0,
            scale: 0,
            mss: MSS_DEFAULT,
            rcv: 0,
            edge: 0,
            scaled: false,
            guest_ended: false,
            ending: false,
            end_acked: false,
            ack_now: false,
            gaps: 0,
            repeats: 0,
            repeat_first: false,
            probe: false,
            doublings: 0,
            timer: None,
        }
    }

    /// Asks the guest for a connection, beginning with `iss`.
    pub(super) fn connect(iss: u32) -> Self {
        Self::new(State::SynSent, iss)
    }

    /// Answers the guest's `syn`, beginning with `iss`. `mss` is the link's.
    pub(super) fn accept(syn: &Segment<'_>, iss: u32, mss: u16) -> Self {
        let mut peer = Self::new(State::SynReceived, iss);
        peer.meet(syn, mss);
        peer
    }

    fn meet(&mut self, syn: &Segment<'_>, mss: u16) {
        self.rcv = syn.seq.wrapping_add(1);
        self.edge = self.rcv;
        self.window = syn.window.into();
        self.scaled = syn.scale.is_some();
        self.scale = syn.scale.unwrap_or(0);
        self.mss = syn.mss.unwrap_or(MSS_DEFAULT).max(MSS_MIN).min(mss);
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The largest segment.
    pub(super) fn mss(&self) -> u16 {
        self.mss
    }

    /// Whether the guest said that it will send no more.
    pub(super) fn guest_ended(&self) -> bool {
        self.guest_ended
    }

    /// Whether both sides ended the connection and know it.
    pub(super) fn is_over(&self) -> bool {
        self.guest_ended && self.end_acked && !self.ack_now
    }

    /// What the guest takes beyond what is in `out`.
    pub(super) fn appetite(&self, out: &Buffer) -> usize {
        (self.window as usize).saturating_sub(out.len())
    }

    /// Ends our side when all of the buffer is sent.
    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    /// When [`Peer::timeout`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timer
    }

    /// The deadline is over: sends again what was not acknowledged, or asks for room.
    pub(super) fn timeout(&mut self) {
        self.timer = None;
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        if self.nxt == self.una {
            self.probe = true;
        } else {
            self.nxt = self.una;
            self.repeats = 0;
        }
    }

    /// Where `seq` is in the buffer, unless the guest has acknowledged it already.
    pub(super) fn offset(&self, seq: u32) -> Option<usize> {
        let offset = seq.wrapping_sub(self.una);
        (offset as i32 >= 0).then_some(offset as usize)
    }

    /// Takes a segment. `out` is what waits for the guest's acknowledgement; `space` is what the
    /// host's side takes.
    pub(super) fn receive(
        &mut self,
        segment: &Segment<'_>,
        out: &mut Buffer,
        space: usize,
        mss: u16,
    ) -> Meaning {
        if self.state == State::SynSent {
            return self.receive_answer(segment, mss);
        }
        let window = len32(space);
        let end = segment.seq.wrapping_add(segment.len());
        if segment.flags & RST != 0 {
            // RFC 5961 §3.2.
            if segment.seq == self.rcv {
                return Meaning::Reset;
            }
            self.ack_now |= segment.seq.wrapping_sub(self.rcv) < window;
            return NOTHING;
        }
        if segment.flags & SYN != 0 {
            // A repeated one, or one of a guest that forgot: RFC 5961 §4.2.
            if self.state == State::SynReceived && segment.seq.wrapping_add(1) == self.rcv {
                self.nxt = self.una;
            } else {
                self.ack_now = true;
            }
            return NOTHING;
        }
        if segment.flags & ACK == 0 {
            return NOTHING;
        }
        if before(self.max, segment.ack) {
            if self.state == State::SynReceived {
                return Meaning::Stray;
            }
            self.ack_now = true;
            return NOTHING;
        }
        if self.state == State::SynReceived {
            if segment.ack != self.una.wrapping_add(1) {
                return Meaning::Stray;
            }
            self.una = segment.ack;
            self.opened();
        }
        let stale = before(end, self.rcv) || before(self.rcv.wrapping_add(window), segment.seq);
        if stale {
            self.ack_now = true;
        } else {
            self.acknowledged(segment, out);
        }
        self.accept_payload(segment, window)
    }

    /// A segment that should answer our SYN.
    fn receive_answer(&mut self, segment: &Segment<'_>, mss: u16) -> Meaning {
        let acked = segment.flags & ACK != 0;
        if acked && segment.ack != self.una.wrapping_add(1) {
            return Meaning::Stray;
        }
        match (segment.flags & RST != 0, segment.flags & SYN != 0) {
            (true, _) if acked => Meaning::Reset,
            (false, true) if acked => {
                self.meet(segment, mss);
                self.una = segment.ack;
                self.opened();
                self.ack_now = true;
                NOTHING
            }
            _ => NOTHING,
        }
    }

    fn opened(&mut self) {
        self.state = State::Open;
        self.nxt = self.una;
        self.max = self.una;
        self.doublings = 0;
        self.timer = None;
    }

    /// Takes the guest's acknowledgement and window.
    fn acknowledged(&mut self, segment: &Segment<'_>, out: &mut Buffer) {
        let window = u32::from(segment.window) << self.scale;
        let acked = segment.ack.wrapping_sub(self.una);
        if before(segment.ack, self.una) {
            return;
        }
        if acked > 0 {
            let data = (acked as usize).min(out.len());
            // The number after the data is that of our FIN.
            self.end_acked |= acked as usize > data;
            out.consume(data);
            self.una = segment.ack;
            if before(self.nxt, self.una) {
                self.nxt = self.una;
            }
            self.doublings = 0;
            self.repeats = 0;
            self.repeat_first = false;
            self.timer = None;
        } else if self.nxt != self.una && segment.len() == 0 && window == self.window {
            self.repeats = self.repeats.saturating_add(1);
            self.repeat_first |= self.repeats == REPEATS;
        }
        if self.window == 0 && window > 0 {
            // What was sent to ask for room was not taken.
            self.nxt = self.una;
            self.timer = None;
            self.doublings = 0;
        }
        self.window = window;
    }

    /// Which bytes of the payload are new, in order and within the window.
    fn accept_payload(&mut self, segment: &Segment<'_>, window: u32) -> Meaning {
        if segment.len() == 0 {
            return NOTHING;
        }
        self.ack_now = true;
        let known = self.rcv.wrapping_sub(segment.seq);
        let len = len32(segment.payload.len());
        if !self.guest_ended && known as i32 <= -1 {
            // Each is to be acknowledged by itself (RFC 5681 §4.2): so the guest hears of a loss.
            self.gaps = self.gaps.saturating_add(1).min(REPEATS);
            return NOTHING;
        }
        if self.guest_ended || known > len {
            return NOTHING;
        }
        let take = (len - known).min(window);
        self.rcv = self.rcv.wrapping_add(take);
        if segment.flags & FIN != 0 && known + take == len {
            self.rcv = self.rcv.wrapping_add(1);
            self.guest_ended = true;
        }
        Meaning::Data(known as usize..(known + take) as usize)
    }

    /// The host's side takes `space` bytes now: tells the guest if that is much more than it knows.
    pub(super) fn offer(&mut self, space: usize) {
        let known = self.edge.wrapping_sub(self.rcv);
        let more = len32(space).saturating_sub(known);
        if self.state == State::Open && !self.guest_ended && more as usize > super::buffer::MAX / 2
        {
            self.ack_now = true;
        }
    }

    fn reply(&mut self, flags: u8, space: usize) -> Reply {
        let seq = self.nxt;
        let mut reply = Reply {
            flags,
            seq,
            ack: self.rcv,
            window: 0,
            offer: None,
        };
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
    pub(super) fn reset(&mut self) -> Reply {
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
    pub(super) fn next(
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
            reply.offer = Some((mss, (asking || self.scaled).then_some(SCALE)));
            self.count(1, now);
            return Some(Send {
                reply,
                offset: 0,
                len: 0,
            });
        }
        if self.repeat_first {
            self.repeat_first = false;
            let nxt = std::mem::replace(&mut self.nxt, self.una);
            let len = out.len().min(most).min(self.window as usize);
            let reply = self.reply(ACK, space);
            self.nxt = nxt;
            if len > 0 {
                return Some(Send {
                    reply,
                    offset: 0,
                    len,
                });
            }
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
