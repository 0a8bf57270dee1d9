use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;

const WAIT: Duration = Duration::from_secs(10);

fn eventfd() -> EventFd {
    EventFd::new(EFD_NONBLOCK).unwrap()
}

/// Reports every event, and does `action` at the first.
struct Probe<F> {
    fd: EventFd,
    events: Sender<u32>,
    action: Option<F>,
}

impl<F: FnOnce(&mut dyn Registry) + Send> Pollable for Probe<F> {
    fn register(&mut self, events: &mut dyn Registry) -> io::Result<()> {
        events.add(self.fd.as_raw_fd(), Token(7), Interest::Read)
    }

    fn ready(&mut self, events: &mut dyn Registry, token: Token) {
        if token == Token(7) {
            self.fd.read().unwrap();
        }
        self.events.send(token.0).unwrap();
        if let Some(action) = self.action.take() {
            action(events);
        }
    }
}

type Action = fn(&mut dyn Registry);

fn probe(events: &EventLoopHandle) -> (EventFd, Receiver<u32>) {
    let (sender, receiver) = channel();
    let fd = eventfd();
    let probe = Probe {
        fd: fd.try_clone().unwrap(),
        events: sender,
        action: None::<Action>,
    };
    events.add(Box::new(probe)).unwrap();
    (fd, receiver)
}

#[test]
fn a_ready_descriptor_reaches_its_owner_with_its_token() {
    let events = EventLoop::spawn("test").unwrap();
    let (fd, seen) = probe(&events.handle());
    let (other, other_seen) = probe(&events.handle());
    fd.write(1).unwrap();
    assert_eq!(seen.recv_timeout(WAIT).unwrap(), 7);
    other.write(1).unwrap();
    assert_eq!(other_seen.recv_timeout(WAIT).unwrap(), 7);
    assert!(seen.try_recv().is_err());
}

#[test]
fn what_is_there_before_the_thread_is_served_once_it_begins() {
    let events = EventLoop::spawn("test").unwrap();
    let (sender, seen) = channel();
    let fd = eventfd();
    let probe = Probe {
        fd: fd.try_clone().unwrap(),
        events: sender,
        action: None::<Action>,
    };
    fd.write(1).unwrap();
    events.prepare(Box::new(probe)).unwrap();
    assert!(seen.recv_timeout(Duration::from_millis(50)).is_err());
    events.begin().unwrap();
    assert_eq!(seen.recv_timeout(WAIT).unwrap(), 7);
}

#[test]
fn an_owner_may_exchange_its_descriptors_while_it_handles_one() {
    let events = EventLoop::spawn("test").unwrap();
    let (sender, seen) = channel();
    let (fd, second) = (eventfd(), eventfd());
    second.write(1).unwrap();
    let (old, new) = (fd.try_clone().unwrap(), second.try_clone().unwrap());
    let inner = fd.try_clone().unwrap();
    let inner_fd = inner.as_raw_fd();
    let probe = Probe {
        fd: inner,
        events: sender,
        action: Some(move |events: &mut dyn Registry| {
            events.remove(inner_fd).unwrap();
            events
                .add(new.as_raw_fd(), Token(9), Interest::Read)
                .unwrap();
            assert!(
                events
                    .add(new.as_raw_fd(), Token(9), Interest::Read)
                    .is_err()
            );
            new.read().unwrap();
            // The loop forgets a removed descriptor, even if it is ready again.
            old.write(1).unwrap();
        }),
    };
    events.handle().add(Box::new(probe)).unwrap();
    fd.write(1).unwrap();
    assert_eq!(seen.recv_timeout(WAIT).unwrap(), 7);
    assert!(seen.recv_timeout(Duration::from_millis(50)).is_err());
}

#[test]
fn a_failed_registration_is_reported_and_leaves_nothing_behind() {
    struct Bad(Sender<()>);
    impl Pollable for Bad {
        fn register(&mut self, events: &mut dyn Registry) -> io::Result<()> {
            let _keep = &self.0;
            events.add(-1, Token(0), Interest::Read)
        }
        fn ready(&mut self, _events: &mut dyn Registry, _token: Token) {}
    }
    let events = EventLoop::spawn("test").unwrap();
    let (sender, dropped) = channel();
    let error = events.handle().add(Box::new(Bad(sender))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(dropped.recv().is_err(), "the subscriber is gone");
}

#[test]
fn stopping_drops_what_ran_and_later_calls_fail() {
    let mut events = EventLoop::spawn("test").unwrap();
    let handle = events.handle();
    let (_fd, seen) = probe(&handle);
    events.stop();
    assert!(seen.recv().is_err(), "the subscriber is gone");
    assert!(handle.call(|_| ()).is_err());
    assert!(handle.post(|_| ()).is_err());
}

#[test]
fn a_loop_that_nobody_used_has_no_thread() {
    let events = EventLoop::spawn("test").unwrap();
    assert!(lock(&events.handle.thread).running.is_none());
    events.handle().call(|_| ()).unwrap();
    assert!(lock(&events.handle.thread).running.is_some());
}
