use super::*;
use crate::virtio::testing::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, Ring, enable, ram};

fn queue(size: u16) -> (GuestRam, Ring, VirtQueue) {
    let mem = ram(1 << 20);
    let ring = Ring::new(&mem, size, 0x1000, 1 << 20);
    let mut queue = VirtQueue::new(size).unwrap();
    enable(queue.ring(), &ring, true);
    (mem, ring, queue)
}

#[test]
fn a_chain_is_split_into_what_is_read_and_what_is_written() {
    let (mem, mut ring, mut queue) = queue(8);
    let head = ring.add(&[b"hello ", b"world"], &[4, 4]);
    let mut chain = queue.pop(&mem).unwrap().unwrap();
    assert_eq!(chain.head, head);
    assert_eq!(chain.reader.available(), 11);
    let mut data = [0; 16];
    assert_eq!(chain.reader.read(&mut data), 11);
    assert_eq!(&data[..11], b"hello world");
    assert!(chain.writer.write_all(b"answer"));
    assert!(!chain.writer.write_all(b"too much"));
    let written = chain.writer.written();
    queue.add_used(&mem, chain.head, written).unwrap();
    assert_eq!(ring.pop_used().unwrap().data, b"answer");
    assert!(queue.pop(&mem).unwrap().is_none());
}

#[test]
fn an_indirect_table_is_followed() {
    let (mem, mut ring, mut queue) = queue(2);
    ring.add_indirect(&[b"a", b"b", b"c"], &[1, 1]);
    let mut chain = queue.pop(&mem).unwrap().unwrap();
    let mut data = [0; 3];
    assert!(chain.reader.read_exact(&mut data));
    assert_eq!(&data, b"abc");
    assert_eq!(chain.writer.available(), 2);
}

#[test]
fn an_indirect_table_may_be_longer_than_the_queue_but_not_loop() {
    let (mem, mut ring, mut queue) = queue(2);
    let table = ring.alloc(64);
    ring.set_descriptor(0, table, 32, DESC_F_INDIRECT, 0);
    for i in 0..2_u64 {
        let mut entry = Vec::new();
        entry.extend(0x8000_u64.to_le_bytes());
        entry.extend(16_u32.to_le_bytes());
        entry.extend(DESC_F_NEXT.to_le_bytes());
        entry.extend(u16::try_from(1 - i).unwrap().to_le_bytes());
        ring.write(table + 16 * i, &entry);
    }
    ring.push(0);
    let error = queue.pop(&mem).unwrap_err();
    assert!(matches!(error, QueueError::Loop { head: 0 }), "{error}");
}

#[test]
fn a_nested_or_odd_indirect_table_is_malformed() {
    for (len, flags) in [
        (32, DESC_F_INDIRECT | DESC_F_NEXT),
        (0, DESC_F_INDIRECT),
        (17, DESC_F_INDIRECT),
    ] {
        let (mem, mut ring, mut queue) = queue(4);
        let table = ring.alloc(64);
        ring.set_descriptor(0, table, len, flags, 1);
        ring.push(0);
        let error = queue.pop(&mem).unwrap_err();
        assert!(matches!(error, QueueError::Indirect), "{len} {flags}");
    }
    let (mem, mut ring, mut queue) = queue(4);
    // The table lies in the descriptor table itself: its entry is an indirect descriptor.
    ring.set_descriptor(0, ring.desc, 16, DESC_F_INDIRECT, 0);
    ring.push(0);
    assert!(matches!(queue.pop(&mem), Err(QueueError::Indirect)));
}

#[test]
fn a_looping_chain_is_an_error() {
    let (mem, mut ring, mut queue) = queue(4);
    ring.set_descriptor(0, 0x8000, 16, DESC_F_NEXT, 1);
    ring.set_descriptor(1, 0x8000, 16, DESC_F_NEXT, 0);
    ring.push(0);
    let error = queue.pop(&mem).unwrap_err();
    assert!(matches!(error, QueueError::Loop { head: 0 }), "{error}");
}

#[test]
fn a_chain_may_use_every_descriptor() {
    let (mem, mut ring, mut queue) = queue(4);
    ring.add(&[b"a", b"b", b"c"], &[1]);
    assert_eq!(queue.pop(&mem).unwrap().unwrap().reader.available(), 3);
}

#[test]
fn a_buffer_outside_ram_is_an_error() {
    for (address, len) in [
        (1 << 20, 1),
        ((1 << 20) - 1, 2),
        (u64::MAX, 1),
        (u64::MAX, 16),
    ] {
        let (mem, mut ring, mut queue) = queue(4);
        ring.set_descriptor(0, address, len, DESC_F_WRITE, 0);
        ring.push(0);
        let error = queue.pop(&mem).unwrap_err();
        assert!(matches!(error, QueueError::Address { .. }), "{error}");
    }
}

#[test]
fn an_index_past_the_table_is_an_error() {
    let (mem, mut ring, mut queue) = queue(4);
    ring.push(4);
    assert!(matches!(
        queue.pop(&mem),
        Err(QueueError::Index { index: 4, size: 4 })
    ));
    ring.set_descriptor(0, 0x8000, 1, DESC_F_NEXT, 9);
    ring.push(0);
    assert!(matches!(
        queue.pop(&mem),
        Err(QueueError::Index { index: 9, size: 4 })
    ));
}

#[test]
fn a_readable_buffer_after_a_writable_one_is_an_error() {
    let (mem, mut ring, mut queue) = queue(4);
    ring.set_descriptor(0, 0x8000, 4, DESC_F_WRITE | DESC_F_NEXT, 1);
    ring.set_descriptor(1, 0x8000, 4, 0, 0);
    ring.push(0);
    assert!(matches!(queue.pop(&mem), Err(QueueError::Order)));
}

#[test]
fn an_available_index_too_far_ahead_is_an_error() {
    let (mem, mut ring, mut queue) = queue(4);
    ring.set_avail_idx(5);
    assert!(matches!(queue.pop(&mem), Err(QueueError::Ring(_))));
}

#[test]
fn a_chain_of_4_gib_is_an_error() {
    // The buffers overlap: RAM itself need not be that large.
    let mem = ram(1 << 24);
    let mut ring = Ring::new(&mem, 1024, 0x1000, 1 << 20);
    let mut queue = VirtQueue::new(1024).unwrap();
    enable(queue.ring(), &ring, false);
    for i in 0..512 {
        ring.set_descriptor(i, 0, 1 << 23, DESC_F_NEXT, i + 1);
    }
    ring.set_descriptor(512, 0, 1, 0, 0);
    ring.push(0);
    assert!(matches!(queue.pop(&mem), Err(QueueError::Length)));
}

#[test]
fn an_unpopped_chain_comes_again() {
    let (mem, mut ring, mut queue) = queue(4);
    let head = ring.add(&[b"x"], &[]);
    assert_eq!(queue.pop(&mem).unwrap().unwrap().head, head);
    queue.unpop();
    assert!(queue.has_available(&mem).unwrap());
    assert_eq!(queue.pop(&mem).unwrap().unwrap().head, head);
    assert!(!queue.has_available(&mem).unwrap());
}

#[test]
fn split_off_cuts_inside_and_between_buffers() {
    let (mem, mut ring, mut queue) = queue(8);
    for at in 0..=7 {
        ring.add(&[b"abc", b"defg"], &[3, 4]);
        let mut chain = queue.pop(&mem).unwrap().unwrap();
        let mut tail = chain.reader.split_off(at);
        let (mut front, mut back) = (vec![0; at], vec![0; 7 - at]);
        assert!(chain.reader.read_exact(&mut front) && tail.read_exact(&mut back));
        assert_eq!([front, back].concat(), b"abcdefg");
        assert_eq!((chain.reader.available(), tail.available()), (0, 0));
        let room = chain.writer.split_off(at);
        assert_eq!((chain.writer.available(), room.available()), (at, 7 - at));
        queue.add_used(&mem, chain.head, 0).unwrap();
        ring.pop_used().unwrap();
    }
}

#[test]
fn split_off_after_a_partial_write_keeps_the_count() {
    let (mem, mut ring, mut queue) = queue(8);
    ring.add(&[], &[4, 4]);
    let mut chain = queue.pop(&mem).unwrap().unwrap();
    assert!(chain.writer.write_all(b"ab"));
    let mut tail = chain.writer.split_off(3);
    assert!(chain.writer.write_all(b"cde") && tail.write_all(b"fgh"));
    assert_eq!((chain.writer.written(), tail.written()), (5, 3));
    queue.add_used(&mem, chain.head, 8).unwrap();
    assert_eq!(ring.pop_used().unwrap().data, b"abcdefgh");
}

#[test]
fn a_queue_that_is_not_ready_yields_nothing() {
    let (mem, mut ring, mut queue) = queue(4);
    ring.add(&[b"x"], &[]);
    queue.ring().set_ready(false);
    assert!(queue.pop(&mem).unwrap().is_none());
    assert!(!queue.has_available(&mem).unwrap());
    assert!(!queue.needs_notification(&mem).unwrap());
}

#[test]
fn a_driver_without_event_indices_can_refuse_notifications_by_flag() {
    let (mem, mut ring, mut queue) = queue(4);
    queue.ring().set_event_idx(false);
    let mut use_one = |queue: &mut VirtQueue| {
        ring.add(&[b"x"], &[]);
        let head = queue.pop(&mem).unwrap().unwrap().head;
        queue.add_used(&mem, head, 0).unwrap();
        ring.avail
    };
    assert!(!queue.needs_notification(&mem).unwrap(), "nothing was used");
    let avail = use_one(&mut queue);
    assert!(queue.needs_notification(&mem).unwrap());
    assert!(!queue.needs_notification(&mem).unwrap(), "nothing more");
    mem.write_obj(1_u16, GuestAddress(avail)).unwrap();
    use_one(&mut queue);
    assert!(!queue.needs_notification(&mem).unwrap());
}
