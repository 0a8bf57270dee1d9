//! A request on its way through a back end.

use std::io;
use std::sync::Arc;

use smallvec::SmallVec;
use vm_memory::VolatileSlice;

use crate::GuestRam;
use crate::backend::block::Image;
use crate::sys::held::Held;
use crate::virtio::queue::{Reader, Writer};

/// A part of the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// What is to be done, with everything about it checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Read { offset: u64 },
    Write { offset: u64, durable: bool },
    Flush,
    Discard(SmallVec<[Span; 2]>),
    WriteZeroes { span: Span, unmap: bool },
}

impl Op {
    /// The operation as a message says it.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Flush => "flush",
            Self::Discard(_) => "discard",
            Self::WriteZeroes { .. } => "write zeroes",
        }
    }
}

/// One request: what to do with which of the guest's buffers, and where to answer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) queue: u16,
    pub(super) head: u16,
    /// The bytes that the driver is told of as written.
    pub(super) written: u32,
    pub(super) op: Op,
    /// Bytes of the data that were read or written already.
    pub(super) done: usize,
    /// The data, then the byte of the status.
    buffers: Held,
}

impl Job {
    /// A request over `data`, in buffers of `mem`; `None` if they are not.
    pub(super) fn new(
        mem: &Arc<GuestRam>,
        op: Op,
        data: &[VolatileSlice<'_>],
        status: &Writer<'_>,
        mut buffers: Held,
    ) -> Option<Self> {
        let all = data.iter().chain(status.slices().first()).copied();
        buffers.fill(mem, all).then_some(Self {
            queue: 0,
            head: 0,
            written: 0,
            op,
            done: 0,
            buffers,
        })
    }

    /// The buffers of the data.
    pub(super) fn data(&self) -> &[VolatileSlice<'_>] {
        let (_, data) = self.buffers.slices().split_last().unzip();
        data.unwrap_or_default()
    }

    /// Tells the driver how it went.
    pub(super) fn answer(&self, status: u8) {
        if let Some(place) = self.buffers.slices().last() {
            place.copy_from(&[status]);
        }
    }

    /// Gives the room for buffers back, for the next request.
    pub(super) fn into_buffers(mut self) -> Held {
        self.buffers.release();
        self.buffers
    }

    /// Does what is left of it.
    pub(super) fn carry_out(&self, image: &dyn Image) -> io::Result<()> {
        let done = self.done;
        match &self.op {
            Op::Read { offset } => {
                let mut to = Writer::over(self.data());
                to.advance(done);
                image.read(&mut to, offset + done as u64)
            }
            Op::Write { offset, durable } => {
                let mut from = Reader::over(self.data());
                from.advance(done);
                image.write(&mut from, offset + done as u64)?;
                if *durable { image.flush() } else { Ok(()) }
            }
            Op::Flush => image.flush(),
            Op::Discard(spans) => spans
                .iter()
                .try_for_each(|span| image.discard(span.offset, span.len)),
            Op::WriteZeroes { span, unmap } => image.write_zeroes(span.offset, span.len, *unmap),
        }
    }
}

impl AsRef<Held> for Job {
    fn as_ref(&self) -> &Held {
        &self.buffers
    }
}

/// A request that was carried out.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) job: Job,
    pub(super) result: io::Result<()>,
}
