//! A vhost-user back end that answers what the input says: it speaks the protocol as far as that takes to be asked for
//! more.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use devices::backend::net::{NetBackendSpec, NetSpec};
use devices::virtio::device::VirtioDevice;
use devices::virtio::net::Net;
use devices::virtio::testing::Driver;

use crate::ground::Folder;
use crate::input::Input;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Request, flags, and the length of what follows.
const HEADER: usize = 12;
/// The longest request that a front end has a reason for.
const BODY_MAX: u32 = 4096;
/// The version of the protocol, and the flags of an answer and of the wish for one.
const VERSION: u32 = 1;
const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;
// Requests that are questions (docs/interop/vhost-user.rst of QEMU, "Front-end message types").
const GET_FEATURES: u32 = 1;
const GET_VRING_BASE: u32 = 11;
const GET_PROTOCOL_FEATURES: u32 = 15;

/// Connects a card to the back end that `data` makes, and starts and stops it twice; whether it was started each time.
///
/// # Panics
/// A stopped card still watches a descriptor.
#[must_use]
pub fn run(data: &[u8]) -> bool {
    let folder = Folder::new();
    let socket = folder.path().join("peer");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let answers = data.to_vec();
    let back_end = thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            // A front end that went away is its own affair.
            let _ = answer(stream, &mut Input(&answers));
        }
    });
    let spec = NetSpec {
        mac: MAC,
        mtu: None,
        backend: NetBackendSpec::VhostUser { socket },
    };
    let started = Net::new(&spec).is_ok_and(use_twice);
    back_end.join().expect("the back end");
    started
}

fn use_twice(card: Net) -> bool {
    let mut driver = Driver::idle(card, u64::MAX);
    let mut started = true;
    for _ in 0..2 {
        started &= driver.activate().is_ok();
        driver.add(0, &[], &[2000]);
        driver.add(1, &[&[0; 60]], &[]);
        let _ = driver.kick(0).and_then(|()| driver.kick(1));
        let _ = driver.poll(Duration::ZERO);
        driver.quiesce();
        // Doorbells are the framework's.
        let doorbells: Vec<_> = driver.doorbells.iter().map(AsRawFd::as_raw_fd).collect();
        let mut watched = driver.events.watched().keys();
        assert!(
            watched.all(|fd| doorbells.contains(fd)),
            "a stopped card watches"
        );
        driver.device.reset();
        driver.set_up_queues();
    }
    started
}

/// Answers requests until the input says otherwise or the front end goes. Behind the input's end everything is as it
/// should be.
fn answer(mut stream: UnixStream, input: &mut Input<'_>) -> std::io::Result<()> {
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header)?;
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_ne_bytes(bytes)
        };
        let (request, flags, length) = (word(0), word(4), word(8));
        assert!(length <= BODY_MAX, "a request of {length} bytes");
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        let honest = input.is_empty();
        match if honest { u8::MAX } else { input.u8() % 16 } {
            // Half a word and no more: who waits for the rest must hear of the end.
            0 => {
                stream.write_all(input.string())?;
                return stream.shutdown(Shutdown::Write);
            }
            1 => return Ok(()),
            2 => send(&mut stream, input.u32(), input.u32(), input.u64())?,
            3 => send(&mut stream, request, VERSION | REPLY, input.u64())?,
            _ => {}
        }
        let value = match request {
            GET_FEATURES | GET_PROTOCOL_FEATURES if honest => u64::MAX,
            GET_FEATURES => !input.u64(),
            GET_PROTOCOL_FEATURES => !u64::from(input.u16()),
            GET_VRING_BASE => u64::from(input.u32()) << 32,
            _ if flags & NEED_REPLY != 0 => u64::from(input.u8() == 1),
            _ => continue,
        };
        send(&mut stream, request, VERSION | REPLY, value)?;
    }
}

fn send(stream: &mut UnixStream, request: u32, flags: u32, value: u64) -> std::io::Result<()> {
    let header = [request, flags, 8].map(u32::to_ne_bytes).concat();
    stream.write_all(&header)?;
    stream.write_all(&value.to_ne_bytes())
}
