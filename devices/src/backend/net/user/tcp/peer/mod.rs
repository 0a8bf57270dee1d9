//! The guest's peer in one TCP connection (RFC 9293): a state machine that knows of no socket.
//!
//! The link loses nothing by itself: what is lost, the guest's own kernel dropped. So there is no
//! congestion control. What comes early is kept, and the guest is told of it (RFC 2018).

mod output;

use std::ops::Range;
use std::time::{Duration, Instant};

use super::ahead::{Ahead, before};
use super::buffer::Buffer;
use super::segment::{ACK, FIN, RST, Reply, SYN, Segment};

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
    /// So are these, and behind them as many as that which came early.
    Joined(Range<usize>, usize),
    /// These bytes of its payload belong that far behind those that came in order.
    Early(Range<usize>, usize),
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
    /// Whether the guest takes selective acknowledgements.
    selective: bool,
    /// What came early.
    ahead: Ahead,
    /// Where the guest said that it ends.
    fin: Option<u32>,
    guest_ended: bool,
    ending: bool,
    end_acked: bool,
    ack_now: bool,
    /// Acknowledgements to be repeated for segments that came out of order.
    gaps: u8,
    repeats: u8,
    repeat_first: bool,
    /// What was sent when a loss was found: until it is acknowledged, each gap is filled at once.
    recover: Option<u32>,
    probe: bool,
    doublings: u32,
    timer: Option<Instant>,
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
            selective: false,
            ahead: Ahead::default(),
            fin: None,
            guest_ended: false,
            ending: false,
            end_acked: false,
            ack_now: false,
            gaps: 0,
            repeats: 0,
            repeat_first: false,
            recover: None,
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
        self.selective = syn.selective;
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
            self.repeat_first = false;
            self.recover = None;
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
            self.timer = None;
            // Another gap among what was under way (RFC 6582 §3.2).
            self.recover = self.recover.filter(|&all| before(self.una, all));
            self.repeat_first = self.recover.is_some();
        } else if self.nxt != self.una && segment.len() == 0 && window == self.window {
            self.repeats = self.repeats.saturating_add(1);
            if self.repeats == REPEATS && self.recover.is_none() {
                self.repeat_first = true;
                self.recover = Some(self.max);
            }
        }
        if self.window == 0 && window > 0 {
            // What was sent to ask for room was not taken.
            self.nxt = self.una;
            self.timer = None;
            self.doublings = 0;
        }
        self.window = window;
    }

    /// Which bytes of the payload are new and within the window.
    fn accept_payload(&mut self, segment: &Segment<'_>, window: u32) -> Meaning {
        if segment.len() == 0 {
            return NOTHING;
        }
        self.ack_now = true;
        if self.guest_ended {
            return NOTHING;
        }
        let known = self.rcv.wrapping_sub(segment.seq);
        let len = len32(segment.payload.len());
        if known as i32 <= -1 {
            return self.keep(segment, window);
        }
        if known > len {
            return NOTHING;
        }
        let take = (len - known).min(window);
        let next = self.rcv.wrapping_add(take);
        if segment.flags & FIN != 0 && known + take == len {
            self.fin = Some(next);
        }
        self.rcv = self.ahead.join(next);
        let joined = self.rcv.wrapping_sub(next) as usize;
        if self.fin == Some(self.rcv) {
            self.rcv = self.rcv.wrapping_add(1);
            self.guest_ended = true;
            self.ahead.clear();
        }
        let range = known as usize..(known + take) as usize;
        if joined > 0 {
            Meaning::Joined(range, joined)
        } else {
            Meaning::Data(range)
        }
    }

    /// Takes a segment behind a gap, as far as it is within the window and there is room for it.
    fn keep(&mut self, segment: &Segment<'_>, window: u32) -> Meaning {
        // Each is to be acknowledged by itself (RFC 5681 §4.2): so the guest hears of a loss.
        self.gaps = self.gaps.saturating_add(1).min(REPEATS);
        let offset = segment.seq.wrapping_sub(self.rcv);
        let len = len32(segment.payload.len());
        if offset > window {
            return NOTHING;
        }
        let take = len.min(window - offset);
        let end = segment.seq.wrapping_add(take);
        if segment.flags & FIN != 0 && take == len {
            self.fin = Some(end);
        }
        if !self.ahead.insert(segment.seq, end) {
            return NOTHING;
        }
        Meaning::Early(0..take as usize, offset as usize)
    }

    /// How much more the guest may send by what it knows.
    pub(super) fn promised(&self) -> usize {
        if before(self.rcv, self.edge) {
            self.edge.wrapping_sub(self.rcv) as usize
        } else {
            0
        }
    }

    /// The host's side takes `space` of at most `most` bytes now: tells the guest if that is much
    /// more than it knows.
    pub(super) fn offer(&mut self, space: usize, most: usize) {
        let known = self.edge.wrapping_sub(self.rcv);
        let more = len32(space).saturating_sub(known);
        let much = more as usize > most / 2;
        if self.state == State::Open && !self.guest_ended && much {
            self.ack_now = true;
        }
    }
}
