//! The command's streams, carried to the host and back.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use crate::sys::poll::readable;
use crate::sys::vsock;

/// Bytes carried at a time: what a pipe holds.
const PIECE: usize = 64 << 10;

/// The threads that carry what the command puts out.
pub(super) struct Relay {
    carriers: Vec<JoinHandle<()>>,
    /// Its end tells them that the command has ended.
    over: PipeWriter,
}

impl Relay {
    /// Carries the command's input from the host's connection, and its outputs to theirs.
    pub(super) fn pipes(
        (host, input): (File, PipeWriter),
        outputs: Vec<(PipeReader, File)>,
    ) -> io::Result<Self> {
        let (over, writer) = io::pipe()?;
        // Not waited for: the host may keep its side open.
        thread::spawn(move || carry(host, input));
        let mut carriers = Vec::new();
        for (pipe, stream) in outputs {
            let over = over.try_clone()?;
            let pipe = File::from(OwnedFd::from(pipe));
            carriers.push(thread::spawn(move || drain(pipe, &stream, &over)));
        }
        Ok(Self {
            carriers,
            over: writer,
        })
    }

    /// Carries a terminal to the host's connection, and back.
    pub(super) fn terminal(master: &File, stream: File) -> io::Result<Self> {
        let (over, writer) = io::pipe()?;
        let (keys, screen) = (stream.try_clone()?, stream);
        let (to, from) = (master.try_clone()?, master.try_clone()?);
        thread::spawn(move || carry(keys, to));
        let carrier = thread::spawn(move || {
            drain(from, &screen, &over);
            // The keys have it too.
            vsock::end(&screen);
        });
        Ok(Self {
            carriers: vec![carrier],
            over: writer,
        })
    }

    /// Waits until all that was put out so far is carried.
    pub(super) fn finish(self) {
        drop(self.over);
        for carrier in self.carriers {
            let _ = carrier.join();
        }
    }
}

/// Carries everything until one of the two ends.
fn carry(mut from: impl Read, mut to: impl Write) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}

/// Carries what the command puts out, until it ends, or until the command is `over` and nothing is left: a process
/// that it left behind may hold the pipe for ever. A host that takes no more closes the pipe, as a reader does.
fn drain(mut from: File, mut to: &File, over: &PipeReader) {
    let mut piece = vec![0; PIECE];
    let mut is_over = false;
    loop {
        let Ok([has_more, ended]) = readable(&from, over, !is_over) else {
            return;
        };
        if has_more {
            match from.read(&mut piece) {
                Ok(count @ 1..) if to.write_all(&piece[..count]).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        } else if is_over {
            return;
        }
        is_over |= ended;
    }
}
