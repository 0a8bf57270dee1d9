//! The guest's peer without a guest: loss, windows, and segments that make no sense.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::buffer::{Buffer, MAX};
use super::flow::{Flow, Phase};
use super::peer::{Meaning, Peer, State};
use super::segment::{ACK, FIN, Link, RST, SYN, Segment};
use crate::backend::net::user::outbox::Outbox;
use crate::backend::net::user::token::{Kind, token};
use crate::backend::net::user::{GATEWAY, GUEST, Key};

const MSS: u16 = 1000;
const ISS: u32 = u32::MAX - 500;
const GUEST_ISS: u32 = u32::MAX - 5;

fn segment(flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Segment<'_> {
    Segment {
        source: 1,
        destination: 2,
        seq,
        ack,
        flags,
        window: 5000,
        mss: None,
        scale: None,
        selective: false,
        payload,
    }
}

struct Test {
    peer: Peer,
    out: Buffer,
    now: Instant,
    /// What the guest sends next.
    seq: u32,
}

impl Test {
    /// A connection that the guest opened.
    fn open() -> Self {
        let mut syn = segment(SYN, GUEST_ISS, 0, &[]);
        syn.mss = Some(MSS);
        Self::accept(&syn)
    }

    /// A connection that the guest opened with `syn`.
    fn accept(syn: &Segment<'_>) -> Self {
        let mut test = Self {
            peer: Peer::accept(syn, ISS, MSS),
            out: Buffer::default(),
            now: Instant::now(),
            seq: GUEST_ISS.wrapping_add(1),
        };
        let (flags, seq, _) = test.sent().unwrap();
        assert_eq!((flags, seq), (SYN | ACK, ISS));
        let ack = segment(ACK, test.seq, ISS.wrapping_add(1), &[]);
        assert_eq!(test.give(&ack), Meaning::Data(0..0));
        assert_eq!(test.peer.state(), State::Open);
        assert_eq!(test.sent(), None);
        test
    }

    fn give(&mut self, segment: &Segment<'_>) -> Meaning {
        self.peer.receive(segment, &mut self.out, MAX, MSS)
    }

    /// Acknowledges what was sent up to `offset` of the data.
    fn acknowledge(&mut self, offset: u32, window: u16) {
        let mut ack = segment(ACK, self.seq, at(offset), &[]);
        ack.window = window;
        assert_eq!(self.give(&ack), Meaning::Data(0..0));
    }

    /// Flags, sequence number and length of the next segment.
    fn sent(&mut self) -> Option<(u8, u32, usize)> {
        let most = usize::from(MSS);
        let send = self.peer.next(&self.out, MAX, most, MSS, self.now)?;
        Some((send.reply.flags & !8, send.reply.seq, send.len))
    }

    fn all_sent(&mut self) -> Vec<(u32, usize)> {
        std::iter::from_fn(|| self.sent())
            .map(|(_, seq, len)| (seq.wrapping_sub(at(0)), len))
            .collect()
    }

    /// Waits for the deadline.
    fn expire(&mut self) -> Duration {
        let deadline = self.peer.deadline().unwrap();
        let wait = deadline - self.now;
        self.now = deadline;
        self.peer.timeout();
        wait
    }
}

/// The sequence number of the byte at `offset`.
fn at(offset: u32) -> u32 {
    ISS.wrapping_add(1).wrapping_add(offset)
}

#[test]
fn what_is_not_acknowledged_is_sent_again_and_later_each_time() {
    let mut test = Test::open();
    test.out.write(&[7; 2500]);
    assert_eq!(test.all_sent(), [(0, 1000), (1000, 1000), (2000, 500)]);
    test.acknowledge(1000, 5000);
    assert_eq!(test.all_sent(), []);
    let first = test.expire();
    assert_eq!(test.all_sent(), [(1000, 1000), (2000, 500)]);
    assert_eq!(test.expire(), first * 2);
    assert_eq!(test.all_sent(), [(1000, 1000), (2000, 500)]);
    test.acknowledge(2500, 5000);
    assert_eq!(test.peer.deadline(), None);
    assert!(test.out.is_empty());
    test.out.write(&[7; 1]);
    assert_eq!(test.all_sent(), [(2500, 1)]);
    assert_eq!(test.expire(), first);
}

#[test]
fn repeated_acknowledgements_bring_the_first_segment_again_at_once() {
    let mut test = Test::open();
    test.out.write(&[7; 4000]);
    assert_eq!(test.all_sent().len(), 4);
    for _ in 0..2 {
        test.acknowledge(0, 5000);
    }
    assert_eq!(test.all_sent(), []);
    test.acknowledge(0, 5000);
    assert_eq!(test.all_sent(), [(0, 1000)]);
    test.acknowledge(0, 5000);
    assert_eq!(test.all_sent(), []);
    test.acknowledge(4000, 5000);
    assert_eq!(test.peer.deadline(), None);
}

#[test]
fn a_closed_window_is_probed_and_an_open_one_is_filled() {
    let mut test = Test::open();
    test.out.write(&[7; 9000]);
    assert_eq!(test.all_sent().iter().map(|it| it.1).sum::<usize>(), 5000);
    test.acknowledge(5000, 0);
    assert_eq!(test.all_sent(), []);
    // Each time a single byte that the guest does not take.
    for _ in 0..2 {
        test.expire();
        assert_eq!(test.all_sent(), [(5000, 1)]);
        test.acknowledge(5000, 0);
        assert_eq!(test.all_sent(), []);
        test.expire();
        assert_eq!(test.all_sent(), []);
    }
    // Room for less than a segment is used when nothing is under way.
    test.acknowledge(5000, 300);
    assert_eq!(test.all_sent(), [(5000, 300)]);
    test.acknowledge(5300, 4000);
    assert_eq!(
        test.all_sent(),
        [(5300, 1000), (6300, 1000), (7300, 1000), (8300, 700)]
    );
}

#[test]
fn payload_is_taken_once_and_in_order() {
    let mut test = Test::open();
    let seq = test.seq;
    let ack = at(0);
    assert_eq!(
        test.give(&segment(ACK, seq, ack, b"abcd")),
        Meaning::Data(0..4)
    );
    assert_eq!(
        test.give(&segment(ACK, seq, ack, b"abcd")),
        Meaning::Data(4..4)
    );
    assert_eq!(
        test.give(&segment(ACK, seq.wrapping_add(2), ack, b"cdef")),
        Meaning::Data(2..4)
    );
    assert_eq!(
        test.give(&segment(ACK, seq.wrapping_add(7), ack, b"")),
        Meaning::Data(0..0)
    );
    let send = test.peer.next(&test.out, MAX, 1000, MSS, test.now).unwrap();
    assert_eq!(send.reply.ack, seq.wrapping_add(6));
    // What is beyond the window waits with the guest, and so does its end.
    let meaning = test.peer.receive(
        &segment(ACK | FIN, seq.wrapping_add(6), ack, b"0123"),
        &mut test.out,
        3,
        MSS,
    );
    assert_eq!(meaning, Meaning::Data(0..3));
    assert!(!test.peer.guest_ended());
    assert_eq!(
        test.give(&segment(ACK | FIN, seq.wrapping_add(6), ack, b"0123")),
        Meaning::Data(3..4)
    );
    assert!(test.peer.guest_ended());
    assert_eq!(
        test.give(&segment(ACK, seq.wrapping_add(11), ack, b"more")),
        Meaning::Data(0..0)
    );
}

#[test]
fn each_segment_behind_a_gap_repeats_the_acknowledgement() {
    let mut test = Test::open();
    let seq = test.seq;
    for ahead in [100, 200, 300, 400, 500] {
        let late = segment(ACK, seq.wrapping_add(ahead), at(0), &[7; 100]);
        assert_eq!(test.give(&late), Meaning::Early(0..100, ahead as usize));
    }
    // As many as tell of a loss, however many came in one burst.
    for _ in 0..3 {
        let send = test.peer.next(&test.out, MAX, 1000, MSS, test.now).unwrap();
        assert_eq!((send.reply.ack, send.len), (seq, 0));
    }
    assert_eq!(test.sent(), None);
    assert_eq!(
        test.give(&segment(ACK, seq, at(0), &[7; 100])),
        Meaning::Joined(0..100, 500)
    );
    let send = test.peer.next(&test.out, MAX, 1000, MSS, test.now).unwrap();
    assert_eq!(send.reply.ack, seq.wrapping_add(600));
    assert_eq!(test.sent(), None);
}

#[test]
fn repeated_acknowledgements_bring_nothing_that_was_not_sent_before() {
    let mut test = Test::open();
    // A window of one segment: the second waits.
    test.acknowledge(0, 1000);
    test.out.write(&[7; 3000]);
    assert_eq!(test.all_sent(), [(0, 1000)]);
    for _ in 0..3 {
        test.acknowledge(0, 1000);
    }
    test.out.write(&[7; 5000]);
    let large = 50_000;
    let send = test
        .peer
        .next(&test.out, MAX, large, MSS, test.now)
        .unwrap();
    assert_eq!((send.reply.seq, send.offset, send.len), (at(0), 0, 1000));
    // So the guest's answer is one that can be: it is heeded.
    test.acknowledge(1000, 5000);
    assert_eq!(test.all_sent()[0], (1000, 1000));
}

#[test]
fn repeated_acknowledgements_bring_our_end_again() {
    let mut test = Test::open();
    test.out.write(&[7; 10]);
    assert_eq!(test.sent(), Some((ACK, at(0), 10)));
    test.acknowledge(10, 5000);
    test.peer.end();
    assert_eq!(test.sent(), Some((ACK | FIN, at(10), 0)));
    for _ in 0..3 {
        test.acknowledge(10, 5000);
    }
    assert_eq!(test.sent(), Some((ACK | FIN, at(10), 0)));
    assert_eq!(test.sent(), None);
}

#[test]
fn each_further_gap_is_filled_as_soon_as_it_shows() {
    let mut test = Test::open();
    test.out.write(&[7; 5000]);
    assert_eq!(test.all_sent().len(), 5);
    for _ in 0..3 {
        test.acknowledge(0, 5000);
    }
    assert_eq!(test.all_sent(), [(0, 1000)]);
    // The third was lost as well.
    test.acknowledge(2000, 5000);
    assert_eq!(test.all_sent(), [(2000, 1000)]);
    test.acknowledge(5000, 5000);
    assert_eq!(test.all_sent(), []);
    assert_eq!(test.peer.deadline(), None);
    // That was all; the next loss is found anew.
    test.out.write(&[7; 2000]);
    assert_eq!(test.all_sent().len(), 2);
    test.acknowledge(6000, 5000);
    assert_eq!(test.all_sent(), []);
}

#[test]
fn the_guest_is_told_what_came_early_if_it_wants_to_know() {
    for selective in [true, false] {
        let mut syn = segment(SYN, GUEST_ISS, 0, &[]);
        syn.selective = selective;
        let mut test = Test::accept(&syn);
        let seq = test.seq;
        for start in [100, 300, 200, 700, 900] {
            test.give(&segment(ACK, seq.wrapping_add(start), at(0), &[7; 100]));
        }
        let send = test.peer.next(&test.out, MAX, 1000, MSS, test.now).unwrap();
        let told: Vec<_> = send
            .reply
            .sacks
            .iter()
            .filter(|part| part.0 != part.1)
            .map(|part| (part.0.wrapping_sub(seq), part.1.wrapping_sub(seq)))
            .collect();
        let parts = [(900, 1000), (700, 800), (100, 400)];
        assert_eq!(told, if selective { &parts[..] } else { &[] });
    }
}

#[test]
fn an_end_that_comes_early_counts_when_all_before_it_is_there() {
    let mut test = Test::open();
    let seq = test.seq;
    let early = segment(ACK | FIN, seq.wrapping_add(3), at(0), b"def");
    assert_eq!(test.give(&early), Meaning::Early(0..3, 3));
    assert!(!test.peer.guest_ended());
    assert_eq!(
        test.give(&segment(ACK, seq, at(0), b"abc")),
        Meaning::Joined(0..3, 3)
    );
    assert!(test.peer.guest_ended());
    let send = test.peer.next(&test.out, MAX, 1000, MSS, test.now).unwrap();
    assert_eq!(send.reply.ack, seq.wrapping_add(7));
    // One of which a part is beyond the window does not count.
    let mut test = Test::open();
    let early = segment(ACK | FIN, seq.wrapping_add(3), at(0), b"def");
    let meaning = test.peer.receive(&early, &mut test.out, 5, MSS);
    assert_eq!(meaning, Meaning::Early(0..2, 3));
    assert_eq!(
        test.give(&segment(ACK, seq, at(0), b"abc")),
        Meaning::Joined(0..3, 2)
    );
    assert!(!test.peer.guest_ended());
}

#[test]
fn a_reset_must_have_the_number_that_is_expected() {
    let mut test = Test::open();
    let seq = test.seq;
    assert_eq!(
        test.give(&segment(RST, seq.wrapping_sub(1), 0, &[])),
        Meaning::Data(0..0)
    );
    assert_eq!(test.sent(), None);
    assert_eq!(
        test.give(&segment(RST, seq.wrapping_add(1), 0, &[])),
        Meaning::Data(0..0)
    );
    assert_eq!(test.sent(), Some((ACK, at(0), 0)));
    // So is a new SYN answered: a guest that forgot the connection then resets it.
    assert_eq!(test.give(&segment(SYN, 77, 0, &[])), Meaning::Data(0..0));
    assert_eq!(test.sent(), Some((ACK, at(0), 0)));
    assert_eq!(test.give(&segment(RST, seq, 0, &[])), Meaning::Reset);
}

#[test]
fn both_ends_are_acknowledged_before_the_connection_is_over() {
    let mut test = Test::open();
    test.out.write(&[7; 10]);
    test.peer.end();
    assert_eq!(test.sent(), Some((ACK | FIN, at(0), 10)));
    test.expire();
    assert_eq!(test.sent(), Some((ACK | FIN, at(0), 10)));
    test.acknowledge(11, 5000);
    assert_eq!(test.peer.deadline(), None);
    assert!(!test.peer.is_over());
    test.give(&segment(ACK | FIN, test.seq, at(11), &[]));
    assert!(!test.peer.is_over());
    assert_eq!(test.sent(), Some((ACK, at(11), 0)));
    assert!(test.peer.is_over());
}

proptest! {
    #[test]
    fn no_segment_moves_the_peer_beyond_what_was_sent(
        steps in proptest::collection::vec((any::<u8>(), -5000..5000_i32, -5000..5000_i32, 0..2000_usize, any::<u16>()), 1..100)
    ) {
        let mut test = Test::open();
        let payload = [7; 2000];
        let mut taken = 0_usize;
        for (flags, seq, ack, len, window) in steps {
            if len % 3 == 0 {
                test.out.write(&payload[..len]);
            }
            let before = test.out.len();
            let mut hostile = segment(flags, test.seq.wrapping_add_signed(seq), at(0).wrapping_add_signed(ack), &payload[..len]);
            hostile.window = window;
            match test.give(&hostile) {
                Meaning::Data(range) => {
                    prop_assert!(range.end <= len && range.start <= range.end);
                    taken += range.len();
                }
                Meaning::Joined(range, more) => {
                    prop_assert!(range.end <= len && range.start <= range.end && more <= MAX);
                    taken += range.len() + more;
                }
                Meaning::Early(range, offset) => {
                    prop_assert!(range.end <= len && range.start < range.end);
                    prop_assert!(offset > 0 && offset + range.len() <= MAX);
                }
                Meaning::Reset => break,
                Meaning::Stray => {}
            }
            prop_assert!(test.out.len() <= before);
            for _ in 0..50 {
                let Some((_, _, len)) = test.sent() else { break };
                prop_assert!(len <= MSS.into());
            }
            if len % 7 == 0 && test.peer.deadline().is_some() {
                test.expire();
            }
        }
        prop_assert!(taken <= 100 * 2000);
    }
}

/// A flow of the guest's to a socket of this process.
fn flow() -> (Flow, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let key = Key {
        ours: (GATEWAY, 80).into(),
        guest: (GUEST, 40000).into(),
    };
    let syn = segment(SYN, GUEST_ISS, 0, &[]);
    let peer = Peer::accept(&syn, ISS, MSS);
    let host = (ours.into(), token(Kind::Tcp, 0));
    let mut flow = Flow::new(key, Phase::Open, peer, host, Instant::now());
    let link = Link {
        mtu: 1500,
        large_v4: false,
        large_v6: false,
    };
    assert!(flow.emit(0, link, &mut Outbox::new([2; 6]), Instant::now()));
    let first = GUEST_ISS.wrapping_add(1);
    flow.receive(&segment(ACK, first, at(0), &[]), MSS).unwrap();
    (flow, theirs)
}

/// The byte at `offset` of what the guest sends.
fn byte(offset: u32) -> u8 {
    (offset.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_comes_early_late_twice_or_in_parts_arrives_once_and_in_order(
        size in 1..700_000_u32,
        steps in proptest::collection::vec((-120_000..300_000_i32, 1..66_000_u32, 0..8_u8), 0..120),
        held in any::<bool>(),
    ) {
        let (mut flow, mut host) = flow();
        flow.limit(if held { 4096 } else { MAX });
        let first = GUEST_ISS.wrapping_add(1);
        let stream: Vec<u8> = (0..size).map(byte).collect();
        let mut got = Vec::new();
        let mut read = |host: &mut UnixStream| {
            let mut buffer = [0; 1 << 16];
            let mut ended = false;
            while let Ok(n) = host.read(&mut buffer) {
                got.extend_from_slice(&buffer[..n]);
                ended = n == 0;
                if ended {
                    break;
                }
            }
            (got.len() as u32, ended, got.clone())
        };
        let mut sent = 0;
        let mut steps = steps.into_iter();
        for round in 0.. {
            prop_assert!(round < 5000, "it makes no progress");
            // Hostile at first, then what a guest repeats from where the host is.
            let (from, len, what) = match steps.next() {
                Some((jump, len, what)) => (sent as i32 + jump, len, what),
                None => (sent as i32, 1400, 0),
            };
            let from = from.clamp(0, size as i32) as u32;
            let to = (from + len).min(size);
            let end = if to == size { FIN } else { 0 };
            let it = segment(ACK | end, first.wrapping_add(from), at(0), &stream[from as usize..to as usize]);
            prop_assert!(flow.receive(&it, MSS).is_ok());
            prop_assert!(flow.memory() <= 2 * MAX);
            flow.limit(if held { 4096 } else { MAX });
            if what < 6 {
                prop_assert!(flow.relay().is_ok());
                let (all, ended, got) = read(&mut host);
                sent = all;
                prop_assert!(got == stream[..all as usize], "it differs");
                if ended {
                    prop_assert_eq!(all, size);
                    break;
                }
            }
        }
    }
}

#[test]
fn a_guest_that_leaves_gaps_everywhere_gets_no_more_memory_than_a_buffer() {
    let (mut flow, mut host) = flow();
    let first = GUEST_ISS.wrapping_add(1);
    for round in 0..3_u32 {
        for i in 0..4000 {
            let start = first.wrapping_add(2 + i * 97 + round);
            let _ = flow
                .receive(&segment(ACK, start, at(0), &[7; 64]), MSS)
                .unwrap();
            flow.relay().unwrap();
        }
    }
    assert!(flow.memory() <= MAX);
    assert_eq!(
        host.read(&mut [0]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}
