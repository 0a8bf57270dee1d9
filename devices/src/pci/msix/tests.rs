use super::*;
use crate::pci::config::{BarKind, PciIds};
use crate::virtio::testing::FakePlatform;

const ADDRESS: u64 = 0xfee0_1000;

struct Fixture {
    config: PciConfig,
    msix: Msix,
    platform: FakePlatform,
}

fn fixture(count: u16) -> Fixture {
    let platform = FakePlatform::default();
    let mut config = PciConfig::new(&PciIds {
        id: (1, 2),
        subsystem: (3, 4),
        class: 0,
        revision: 0,
    });
    config.add_bar(0, 0x8000, BarKind::Memory32);
    let msix = Msix::new(&mut config, count, 0, (0x4000, 0x5000), &platform).unwrap();
    Fixture {
        config,
        msix,
        platform,
    }
}

impl Fixture {
    fn control(&mut self, value: u16) {
        let at = self.msix.capability + 2;
        self.config.write(at, &value.to_le_bytes());
        self.msix.config_written(&self.config);
    }

    fn program(&mut self, index: u64, data: u32) {
        self.msix.write_table(16 * index, &ADDRESS.to_le_bytes());
        self.msix.write_table(16 * index + 8, &data.to_le_bytes());
    }

    fn mask(&mut self, index: u64, masked: bool) {
        let control = u32::from(masked);
        self.msix
            .write_table(16 * index + 12, &control.to_le_bytes());
    }

    fn sent(&self, data: u32) -> usize {
        self.platform.messages(ADDRESS, data)
    }

    fn pending(&self) -> u8 {
        let mut bits = [0];
        self.msix.read_pending(0, &mut bits);
        bits[0]
    }

    fn signal(&self, index: u16) {
        self.msix.vectors().signal(index);
    }
}

const ON: u16 = 0x8000;
const MASK_ALL: u16 = 0x4000;

#[test]
fn the_capability_names_the_table_and_the_pending_bits() {
    let f = fixture(3);
    let mut bytes = [0; 12];
    f.config.read(f.msix.capability, &mut bytes);
    assert_eq!(bytes, [0x11, 0, 2, 0, 0, 0x40, 0, 0, 0, 0x50, 0, 0]);
}

#[test]
fn a_bound_event_goes_past_us_only_while_its_vector_may_be_sent() {
    let mut f = fixture(2);
    let vectors = Arc::clone(f.msix.vectors());
    let event = Arc::new(EventFd::new(0).unwrap());
    vectors.bind(1, &event);
    f.program(1, 0x31);
    assert!(f.platform.bound().is_empty());
    f.control(ON);
    assert!(f.platform.bound().is_empty());
    f.mask(1, false);
    assert_eq!(f.platform.bound(), [0x31]);
    f.control(ON | MASK_ALL);
    assert!(f.platform.bound().is_empty());
    f.control(ON);
    f.program(1, 0x32);
    assert_eq!(f.platform.bound(), [0x32]);
    f.control(0);
    assert!(f.platform.bound().is_empty());
    f.control(ON);
    vectors.unbind(0, &event);
    assert_eq!(f.platform.bound(), [0x32]);
    vectors.unbind(1, &event);
    assert!(f.platform.bound().is_empty());
    vectors.bind(7, &event);
    f.mask(1, true);
    f.mask(1, false);
    assert!(f.platform.bound().is_empty());
}

#[test]
fn several_events_may_be_bound_to_a_vector() {
    let mut f = fixture(1);
    f.program(0, 0x31);
    f.mask(0, false);
    f.control(ON);
    let events = [(); 2].map(|()| Arc::new(EventFd::new(0).unwrap()));
    for event in &events {
        f.msix.vectors().bind(0, event);
    }
    assert_eq!(f.platform.bound(), [0x31, 0x31]);
    f.msix.vectors().unbind(0, &events[0]);
    assert_eq!(f.platform.bound(), [0x31]);
}

#[test]
fn an_unmasked_vector_sends_its_message() {
    let mut f = fixture(2);
    f.program(1, 0x31);
    f.mask(1, false);
    f.control(ON);
    f.signal(1);
    assert_eq!(f.sent(0x31), 1);
    assert_eq!(f.pending(), 0);
}

#[test]
fn nothing_is_sent_or_kept_while_msix_is_off() {
    let mut f = fixture(2);
    f.program(0, 0x30);
    f.mask(0, false);
    f.signal(0);
    f.control(ON);
    assert_eq!((f.sent(0x30), f.pending()), (0, 0));
    f.control(0);
    f.signal(0);
    f.control(ON);
    assert_eq!((f.sent(0x30), f.pending()), (0, 0));
}

#[test]
fn a_masked_vector_stays_pending_until_it_is_unmasked() {
    let mut f = fixture(2);
    f.program(1, 0x31);
    f.control(ON);
    f.signal(1);
    f.signal(1);
    assert_eq!((f.sent(0x31), f.pending()), (0, 0b10));
    f.mask(1, false);
    assert_eq!((f.sent(0x31), f.pending()), (1, 0));
}

#[test]
fn the_function_mask_holds_every_vector_back() {
    let mut f = fixture(2);
    for index in 0..2 {
        f.program(index, 0x30 + index as u32);
        f.mask(index, false);
    }
    f.control(ON | MASK_ALL);
    f.signal(0);
    f.signal(1);
    assert_eq!((f.platform.all_messages(), f.pending()), (0, 0b11));
    f.control(ON);
    assert_eq!((f.sent(0x30), f.sent(0x31), f.pending()), (1, 1, 0));
}

#[test]
fn a_message_rewritten_under_the_mask_counts_from_the_unmasking_on() {
    let mut f = fixture(1);
    f.program(0, 0x30);
    f.mask(0, false);
    f.control(ON);
    f.mask(0, true);
    f.program(0, 0x40);
    f.signal(0);
    f.mask(0, false);
    assert_eq!((f.sent(0x30), f.sent(0x40)), (0, 1));
}

#[test]
fn vectors_and_table_offsets_that_do_not_exist_are_harmless() {
    let mut f = fixture(2);
    f.control(ON);
    f.signal(2);
    f.signal(u16::MAX);
    f.msix.write_table(32, &[0xff; 8]);
    f.msix.write_table(u64::MAX, &[0xff; 8]);
    let mut data = [0xaa; 8];
    f.msix.read_table(32, &mut data);
    assert_eq!(data, [0; 8]);
    f.msix.read_pending(1, &mut data);
    assert_eq!(data, [0; 8]);
}

#[test]
fn table_writes_are_aligned_words_and_reads_are_anything() {
    let mut f = fixture(1);
    f.msix.write_table(1, &[1, 2, 3, 4]);
    f.msix.write_table(0, &[1, 2]);
    f.msix.write_table(4, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut entry = [0; 16];
    f.msix.read_table(0, &mut entry);
    assert_eq!(entry, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    f.msix.write_table(8, &[1, 2, 3, 4, 0xfe, 6, 7, 8]);
    let mut part = [0; 5];
    f.msix.read_table(9, &mut part);
    assert_eq!(part, [2, 3, 4, 0, 0]);
}

#[test]
fn no_signal_is_lost_while_the_driver_masks_and_unmasks() {
    let mut f = fixture(1);
    f.program(0, 0x30);
    f.mask(0, false);
    f.control(ON);
    let vectors = Arc::clone(f.msix.vectors());
    let sender = std::thread::spawn(move || {
        for _ in 0..20_000 {
            vectors.signal(0);
        }
    });
    while !sender.is_finished() {
        f.mask(0, true);
        f.mask(0, false);
    }
    sender.join().unwrap();
    f.mask(0, true);
    let before = f.sent(0x30);
    f.signal(0);
    f.mask(0, false);
    assert_eq!((f.sent(0x30), f.pending()), (before + 1, 0));
}

#[test]
fn state_survives_a_round_trip() {
    let mut f = fixture(2);
    f.program(0, 0x30);
    f.program(1, 0x31);
    f.mask(0, false);
    f.control(ON);
    f.signal(1);
    let (state, config) = (f.msix.save(), f.config.save());
    let mut other = fixture(2);
    other.config.restore(&config).unwrap();
    other.msix.restore(&state, &other.config).unwrap();
    assert_eq!(other.msix.save(), state);
    assert_eq!(other.pending(), 0b10);
    other.signal(0);
    other.mask(1, false);
    assert_eq!((other.sent(0x30), other.sent(0x31)), (1, 1));
    assert!(fixture(3).msix.restore(&state, &other.config).is_err());
}
