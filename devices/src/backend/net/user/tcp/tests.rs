//! The guest's peer without a guest: loss, windows, and segments that make no sense.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::buffer::{Buffer, MAX};
use super::peer::{Meaning, Peer, State};
use super::segment::{ACK, FIN, RST, SYN, Segment};

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
        let mut test = Self {
            peer: Peer::accept(&syn, ISS, MSS),
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
        test.give(&segment(ACK, seq.wrapping_add(9), ack, b"late")),
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
        assert_eq!(test.give(&late), Meaning::Data(0..0));
    }
    // As many as tell of a loss, however many came in one burst.
    for _ in 0..3 {
        let send = test.peer.next(&test.out, MAX, 1000, MSS, test.now).unwrap();
        assert_eq!((send.reply.ack, send.len), (seq, 0));
    }
    assert_eq!(test.sent(), None);
    assert_eq!(
        test.give(&segment(ACK, seq, at(0), &[7; 100])),
        Meaning::Data(0..100)
    );
    assert_eq!(test.sent(), Some((ACK, at(0), 0)));
    assert_eq!(test.sent(), None);
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
