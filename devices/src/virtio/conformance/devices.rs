//! The devices under test, each with a request that it answers.

use std::any::Any;
use std::sync::{Arc, Mutex};

use crate::backend::block::{BlkSpec, Disk};
use crate::backend::console::{Console, ConsoleSpec};
use crate::backend::fs::FsSpec;
use crate::backend::net::{NetBackendSpec, NetSpec, UserSpec};
use crate::virtio::balloon::{Balloon, BalloonSpec};
use crate::virtio::blk::VirtioBlk;
use crate::virtio::console::VirtioConsole;
use crate::virtio::device::VirtioDevice;
use crate::virtio::fs::Fs;
use crate::virtio::net::Net;
use crate::virtio::p9::P9;
use crate::virtio::rng::Rng;
use crate::virtio::testing::{Echo, TransportDriver};
use crate::virtio::vsock::Vsock;

/// A device and what is known of it.
pub(super) struct Subject {
    make: Box<dyn Fn() -> Box<dyn VirtioDevice>>,
    /// The queue of the request below.
    pub(super) queue: u16,
    /// What the device is sent.
    pub(super) readable: Vec<Vec<u8>>,
    /// The room for its answer.
    pub(super) writable: Vec<u32>,
    /// Whether an answer is right.
    right: fn(&[u8]) -> bool,
    /// The queues whose chains are looked at as soon as they are available.
    pub(super) eager: Vec<u16>,
    /// What the device works on.
    _kept: Option<Box<dyn Any>>,
}

impl Subject {
    /// The device.
    pub(super) fn device(&self) -> Box<dyn VirtioDevice> {
        (self.make)()
    }

    /// The number of its queues.
    pub(super) fn queues(&self) -> u16 {
        u16::try_from(self.device().info().queue_sizes.len()).unwrap()
    }

    /// The request's readable buffers.
    pub(super) fn parts(&self) -> Vec<&[u8]> {
        self.readable.iter().map(Vec::as_slice).collect()
    }

    /// Checks an answer to the request.
    pub(super) fn check(&self, answer: &[u8]) {
        assert!((self.right)(answer), "{answer:?}");
    }

    /// Sends the request to a running device and checks the answer.
    pub(super) fn probe<T: TransportDriver>(&self, driver: &mut T) {
        let answer = driver.answer(self.queue, &self.parts(), &self.writable);
        self.check(&answer);
    }
}

fn subject(queue: u16, readable: &[&[u8]], writable: &[u32], right: fn(&[u8]) -> bool) -> Subject {
    Subject {
        make: Box::new(|| Box::<Echo>::default()),
        queue,
        readable: readable.iter().map(|part| part.to_vec()).collect(),
        writable: writable.to_vec(),
        right,
        eager: vec![queue],
        _kept: None,
    }
}

/// All of them.
pub(super) fn all() -> Vec<Subject> {
    vec![
        echo(),
        rng(),
        console(),
        blk(),
        net(),
        fs(),
        p9(),
        vsock(),
        balloon(),
    ]
}

pub(super) fn echo() -> Subject {
    let device = Echo {
        config: Arc::new(Mutex::new(vec![1, 2, 3, 4])),
        ..Echo::default()
    };
    Subject {
        make: Box::new(move || Box::new(device.clone())),
        eager: vec![0, 1],
        ..subject(1, &[b"he", b"llo"], &[3, 5], |answer| answer == b"hello")
    }
}

pub(super) fn rng() -> Subject {
    Subject {
        make: Box::new(|| Box::new(Rng)),
        ..subject(0, &[], &[16, 16], |answer| answer.len() == 32)
    }
}

pub(super) fn console() -> Subject {
    let (handle, pump) = Console::open("hvc0", &ConsoleSpec::None).unwrap();
    Subject {
        make: Box::new(move || Box::new(VirtioConsole::new(handle.clone()).unwrap())),
        _kept: Some(Box::new(pump)),
        ..subject(1, &[b"some ", b"output"], &[], <[u8]>::is_empty)
    }
}

pub(super) fn blk() -> Subject {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let spec = BlkSpec::new(file.path());
    let disk = Disk::open(&spec).unwrap();
    // Reads the first sector.
    Subject {
        make: Box::new(move || Box::new(VirtioBlk::new(0, disk.clone(), 2).unwrap())),
        _kept: Some(Box::new(file)),
        eager: vec![0, 1],
        ..subject(0, &[&[0; 16]], &[512, 1], |answer| answer == [0; 513])
    }
}

pub(super) fn net() -> Subject {
    let spec = NetSpec {
        mac: [2, 0, 0, 10, 0xcb, 1],
        mtu: None,
        backend: NetBackendSpec::User(UserSpec {
            restrict: true,
            ..UserSpec::default()
        }),
    };
    // A frame to nobody.
    Subject {
        make: Box::new(move || Box::new(Net::new(&spec).unwrap())),
        eager: vec![1, 2],
        ..subject(1, &[&[0; 12], &[0x55; 60]], &[], <[u8]>::is_empty)
    }
}

pub(super) fn fs() -> Subject {
    const INIT: u32 = 26;
    let folder = tempfile::tempdir().unwrap();
    let spec = FsSpec::new("share", folder.path());
    let words = [40 + 16, INIT, 1, 0, 0, 0, 0, 0, 0, 0, 7, 38, 0, 0];
    let request: Vec<u8> = words
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    let (header, init) = request.split_at(40);
    let right = |answer: &[u8]| answer.len() >= 16 && answer[4..8] == [0; 4];
    Subject {
        make: Box::new(move || Box::new(Fs::new(0, &spec).unwrap())),
        _kept: Some(Box::new(folder)),
        eager: vec![0, 1],
        ..subject(1, &[header, init], &[16, 256], right)
    }
}

pub(super) fn p9() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let spec = FsSpec::new("share", folder.path());
    // Tversion, which Rversion answers.
    let request = b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\x009P2000.L";
    let right = |answer: &[u8]| answer.get(4) == Some(&101) && answer.ends_with(b"9P2000.L");
    Subject {
        make: Box::new(move || Box::new(P9::new(0, &spec).unwrap())),
        _kept: Some(Box::new(folder)),
        ..subject(0, &[request], &[64], right)
    }
}

pub(super) fn vsock() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let path = folder.path().to_owned();
    let make = move || -> Box<dyn VirtioDevice> {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::new(Vsock::new(3, &path.join(number.to_string())).unwrap())
    };
    // A packet of no known operation.
    Subject {
        make: Box::new(make),
        _kept: Some(Box::new(folder)),
        ..subject(1, &[&[0; 44]], &[], <[u8]>::is_empty)
    }
}

pub(super) fn balloon() -> Subject {
    // The first page of all is taken back, which changes nothing.
    Subject {
        make: Box::new(|| Box::new(Balloon::new(&BalloonSpec::default()).unwrap())),
        eager: vec![0, 1],
        ..subject(1, &[&[0; 4]], &[], <[u8]>::is_empty)
    }
}
