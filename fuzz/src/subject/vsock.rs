//! A socket device with clients and servers on the host.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use devices::virtio::testing::Driver;
use devices::virtio::vsock::Vsock;

use super::Subject;
use crate::ground::Folder;
use crate::input::Input;

const CID: u32 = 3;
const HEADER: usize = 44;
/// The port that a server on the host listens on.
const SERVED: u32 = 1024;
/// The most streams on the host at a time.
const STREAMS: usize = 8;

/// A socket device and its peers.
#[derive(Debug, Default)]
pub struct Sockets {
    folder: Folder,
    server: Option<UnixListener>,
    streams: Vec<UnixStream>,
    /// The host's port of the last packet to the guest.
    host_port: u32,
}

impl Sockets {
    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn keep(&mut self, stream: UnixStream) {
        if self.streams.len() < STREAMS && stream.set_nonblocking(true).is_ok() {
            self.streams.push(stream);
        }
    }

    fn stream(&mut self, number: u8) -> Option<&mut UnixStream> {
        let count = self.streams.len().max(1);
        self.streams.get_mut(usize::from(number) % count)
    }
}

impl Subject for Sockets {
    type Device = Vsock;

    fn device(&mut self, _choice: u8) -> Vsock {
        let path = self.folder.path().join(format!("socket_{SERVED}"));
        let server = UnixListener::bind(path).expect("a listener");
        server.set_nonblocking(true).expect("a listener");
        self.server = Some(server);
        Vsock::new(CID, &self.socket()).expect("the socket")
    }

    /// Puts in what the input left at zero: addresses, the type, the length, the host's port.
    fn mend(&mut self, queue: u16, request: &mut Vec<u8>) {
        if queue != 1 || request.len() < HEADER {
            return;
        }
        let len = u32::try_from(request.len() - HEADER).unwrap_or(u32::MAX);
        let mut fill = |at: usize, value: &[u8]| {
            let field = &mut request[at..at + value.len()];
            if field.iter().all(|&byte| byte == 0) {
                field.copy_from_slice(value);
            }
        };
        fill(0, &u64::from(CID).to_le_bytes());
        fill(8, &2_u64.to_le_bytes());
        fill(20, &self.host_port.to_le_bytes());
        fill(24, &len.to_le_bytes());
        fill(28, &1_u16.to_le_bytes());
    }

    fn learn(&mut self, queue: u16, answer: &[u8]) {
        if queue == 0
            && let Some(port) = answer.get(16..20)
        {
            self.host_port = u32::from_le_bytes(port.try_into().unwrap_or_default());
        }
    }

    fn act(&mut self, _driver: &mut Driver<Vsock>, input: &mut Input<'_>) {
        match input.u8() % 6 {
            0 => {
                if let Ok(mut stream) = UnixStream::connect(self.socket()) {
                    let _ = stream.write_all(input.string());
                    self.keep(stream);
                }
            }
            1 => {
                let accepted = self.server.as_ref().map(UnixListener::accept);
                if let Some(Ok((stream, _))) = accepted {
                    self.keep(stream);
                }
            }
            2 => {
                let number = input.u8();
                let data = input.string();
                if let Some(stream) = self.stream(number) {
                    let _ = stream.write(data);
                }
            }
            3 => {
                let number = input.u8();
                if let Some(stream) = self.stream(number) {
                    let _ = stream.read(&mut [0; 4096]);
                }
            }
            4 => {
                let number = input.u8();
                if let Some(stream) = self.stream(number) {
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
            }
            _ => {
                let number = usize::from(input.u8());
                if number < self.streams.len() {
                    self.streams.swap_remove(number);
                }
            }
        }
    }

    fn is_success(&self, queue: u16, answer: &[u8]) -> bool {
        // Anything but a reset.
        queue == 0 && answer.get(30).is_some_and(|&op| op != 3)
    }
}
