use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::virtio::device::DeviceInfo;
use crate::virtio::testing::{FakeInterrupt, Ring, enable, ram};

const WAIT: Duration = Duration::from_secs(10);

/// What a scripted device saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Activate,
    Queue(u16),
    Event(u32),
    Quiesce,
}

struct Scripted {
    seen: Sender<Seen>,
    fd: EventFd,
    fail_activate: bool,
    fail_queue: bool,
    own_loop: bool,
    again: u32,
    token: u32,
    thread: Arc<AtomicUsize>,
}

impl VirtioDevice for Scripted {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: 1,
            features: 0,
            queue_sizes: vec![4, 4],
            runs_on: if self.own_loop {
                RunsOn::Own("own0")
            } else {
                RunsOn::Shared
            },
        }
    }

    fn activate(&mut self, io: &mut ActiveIo<'_>) -> Result<(), DeviceError> {
        self.seen.send(Seen::Activate).unwrap();
        let own_loop = std::thread::current().name() == Some("own0");
        self.thread.store(usize::from(own_loop), Ordering::SeqCst);
        if self.fail_activate {
            return Err(DeviceError::Request("scripted"));
        }
        let fd = self.fd.as_raw_fd();
        // Any token is the device's to use, that of a doorbell too.
        io.events.add(fd, Token(1), Interest::Read).unwrap();
        io.events
            .modify(fd, Token(self.token), Interest::Read)
            .unwrap();
        Ok(())
    }

    fn process_queue(&mut self, io: &mut ActiveIo<'_>, index: u16) -> Result<(), DeviceError> {
        if self.again > 0 {
            self.again -= 1;
            io.call_again(index);
        }
        self.seen.send(Seen::Queue(index)).unwrap();
        if self.fail_queue {
            return Err(DeviceError::Request("scripted"));
        }
        Ok(())
    }

    fn process_event(&mut self, _io: &mut ActiveIo<'_>, token: Token) -> Result<(), DeviceError> {
        self.fd.read().unwrap();
        self.seen.send(Seen::Event(token.0)).unwrap();
        Ok(())
    }

    fn quiesce(&mut self, io: &mut ActiveIo<'_>) {
        assert!(io.events.remove(self.fd.as_raw_fd()).is_ok());
        self.seen.send(Seen::Quiesce).unwrap();
    }
}

struct Fixture {
    around: Surroundings,
    interrupt: Arc<FakeInterrupt>,
    events: EventLoop,
    seen: Receiver<Seen>,
    fd: EventFd,
    thread: Arc<AtomicUsize>,
}

fn fixture(script: impl FnOnce(&mut Scripted)) -> (Fixture, Parts) {
    let mem = ram(1 << 20);
    let ring = Ring::new(&mem, 4, 0x1000, 1 << 20);
    let mut queues = vec![VirtQueue::new(4).unwrap(), VirtQueue::new(4).unwrap()];
    enable(queues[1].ring(), &ring, false);
    let interrupt = Arc::new(FakeInterrupt::default());
    let (sender, seen) = channel();
    let fd = EventFd::new(EFD_NONBLOCK).unwrap();
    let thread = Arc::new(AtomicUsize::new(9));
    let mut device = Scripted {
        seen: sender,
        fd: fd.try_clone().unwrap(),
        fail_activate: false,
        fail_queue: false,
        own_loop: false,
        again: 0,
        token: 1,
        thread: thread.clone(),
    };
    script(&mut device);
    let around = Surroundings {
        mem,
        interrupt: interrupt.clone(),
        health: Arc::new(Health::new("test", interrupt.clone())),
    };
    let fixture = Fixture {
        around,
        interrupt,
        events: EventLoop::spawn("io").unwrap(),
        seen,
        fd,
        thread,
    };
    let device = Box::new(device);
    (fixture, Parts { device, queues })
}

impl Fixture {
    fn start(&self, parts: Parts, resumed: bool) -> Active {
        let around = self.around.clone();
        let started = Active::start(parts, 0, around, &self.events.handle(), resumed);
        started.map_err(|(_, error)| error).unwrap()
    }

    fn expect(&self, wanted: &[Seen]) {
        for wanted in wanted {
            assert_eq!(&self.seen.recv_timeout(WAIT).unwrap(), wanted);
        }
    }

    fn expect_nothing(&self) {
        let got = self.seen.recv_timeout(Duration::from_millis(50));
        assert!(got.is_err(), "{got:?}");
    }
}

#[test]
fn a_device_goes_to_the_loop_and_comes_back() {
    let (f, parts) = fixture(|_| ());
    let active = f.start(parts, false);
    // Queue 0 is not enabled: it is never processed.
    f.expect(&[Seen::Activate, Seen::Queue(1)]);
    active.doorbells()[0].write(1).unwrap();
    active.doorbells()[1].write(1).unwrap();
    f.expect(&[Seen::Queue(1)]);
    f.fd.write(1).unwrap();
    f.expect(&[Seen::Event(1)]);
    assert_eq!(f.thread.load(Ordering::SeqCst), 0);
    assert_eq!(f.interrupt.queue_count(1), 0);
    let parts = active.stop().unwrap();
    f.expect(&[Seen::Quiesce]);
    // Nothing of it is left on the loop: its descriptors can be registered again.
    let active = f.start(parts, true);
    f.expect(&[Seen::Activate, Seen::Queue(1)]);
    assert_eq!(
        f.interrupt.queue_count(1),
        1,
        "due interrupts are made up for"
    );
    assert_eq!(f.interrupt.queue_count(0), 0);
    active.stop().unwrap();
}

#[test]
fn a_device_may_have_a_loop_of_its_own() {
    let (f, parts) = fixture(|device| device.own_loop = true);
    let active = f.start(parts, false);
    f.expect(&[Seen::Activate, Seen::Queue(1)]);
    assert_eq!(f.thread.load(Ordering::SeqCst), 1);
    active.stop().unwrap();
    f.expect(&[Seen::Quiesce]);
}

#[test]
fn a_device_that_cannot_start_needs_a_reset_and_still_comes_back() {
    let (f, parts) = fixture(|device| device.fail_activate = true);
    let active = f.start(parts, false);
    f.expect(&[Seen::Activate]);
    active.doorbells()[1].write(1).unwrap();
    f.expect_nothing();
    assert!(f.around.health.needs_reset());
    assert_eq!(f.interrupt.config_count(), 1);
    assert!(active.stop().is_ok());
}

#[test]
fn a_broken_queue_stops_the_device_and_nothing_else() {
    let (f, parts) = fixture(|device| device.fail_queue = true);
    let (g, healthy) = fixture(|_| ());
    let active = f.start(parts, false);
    f.expect(&[Seen::Activate, Seen::Queue(1)]);
    active.doorbells()[1].write(1).unwrap();
    f.fd.write(1).unwrap();
    f.expect_nothing();
    assert!(f.around.health.needs_reset());
    assert_eq!(f.interrupt.config_count(), 1);
    let around = g.around.clone();
    let other = Active::start(healthy, 0, around, &f.events.handle(), false);
    g.expect(&[Seen::Activate, Seen::Queue(1)]);
    drop(other);
    active.stop().unwrap();
    f.expect(&[Seen::Quiesce]);
}

#[test]
fn a_loop_that_ended_is_an_error_not_a_hang() {
    let (mut f, parts) = fixture(|_| ());
    let active = f.start(parts, false);
    f.expect(&[Seen::Activate]);
    f.events.stop();
    assert!(active.stop().is_err());
}

#[test]
fn a_device_that_asks_for_it_is_called_again() {
    let (f, parts) = fixture(|device| device.again = 3);
    let active = f.start(parts, false);
    f.expect(&[Seen::Activate, Seen::Queue(1), Seen::Queue(1)]);
    f.expect(&[Seen::Queue(1), Seen::Queue(1)]);
    f.expect_nothing();
    active.stop().unwrap();
}

#[test]
fn a_device_may_use_any_token() {
    for token in [0, 1, 1 << 31, u32::MAX] {
        let (f, parts) = fixture(|device| device.token = token);
        let active = f.start(parts, false);
        f.expect(&[Seen::Activate, Seen::Queue(1)]);
        f.fd.write(1).unwrap();
        f.expect(&[Seen::Event(token)]);
        active.doorbells()[1].write(1).unwrap();
        f.expect(&[Seen::Queue(1)]);
        active.stop().unwrap();
    }
}
