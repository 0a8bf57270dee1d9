//! Sessions of a FUSE client (Linux `include/uapi/linux/fuse.h`).

use super::Seed;
use super::bytes::Bytes;
use crate::script::Script;

const QUEUE: u8 = 1;
/// Room for an answer's header and 4 KiB, by number.
const ROOM: u8 = 6;
const ROOT: u64 = 1;
/// Stands for the first file's number that the server gave; handles count from 0.
const FIRST: u64 = 2;

#[derive(Default)]
struct Session {
    script: Script,
    unique: u64,
    requests: usize,
}

impl Session {
    /// A client that has said INIT. `choice` is how the share is configured.
    fn new(choice: u8) -> Self {
        let script = Script::default().raw(&[choice]);
        let this = Self {
            script,
            ..Self::default()
        };
        let init = Bytes::new().words(&[7, 38, 0x2_0000, 0xffff_ffff, 0x0fff_ffff]);
        this.ask(26, 0, init.raw(&[0; 44]))
    }

    fn ask(mut self, opcode: u32, node: u64, body: Bytes) -> Self {
        self.unique += 2;
        self.requests += 1;
        let header = Bytes::new().u32(0).u32(opcode).u64(self.unique).u64(node);
        let request = header.words(&[0, 0, 42, 0]).then(body);
        self.script = self.script.request_with(QUEUE, 2 << 4, ROOM, &request.0);
        self
    }

    fn lookup(self, node: u64, name: &str) -> Self {
        self.ask(1, node, Bytes::new().zero(name))
    }

    fn open(self, opcode: u32, node: u64, flags: u32) -> Self {
        self.ask(opcode, node, Bytes::new().words(&[flags, 0]))
    }

    fn release(self, opcode: u32, node: u64, handle: u64) -> Self {
        self.ask(opcode, node, Bytes::new().u64(handle).words(&[0; 4]))
    }

    fn seed(self, name: &'static str, successful: usize) -> Seed {
        Seed {
            target: "fs",
            name,
            bytes: self.script.0,
            successful,
        }
    }
}

fn io(handle: u64, offset: u64, size: u32) -> Bytes {
    Bytes::new()
        .u64(handle)
        .u64(offset)
        .words(&[size, 0, 0, 0, 0, 0])
}

fn lock(handle: u64, kind: u32) -> Bytes {
    let lock = Bytes::new().u64(handle).u64(7).u64(0).u64(99);
    lock.words(&[kind, 42, 0, 0])
}

/// What a session says of names.
fn names() -> Session {
    Session::new(0)
        .ask(9, ROOT, Bytes::new().words(&[0o755, 0o22]).zero("new"))
        .ask(
            8,
            ROOT,
            Bytes::new().words(&[0o10_0644, 0, 0o22, 0]).zero("node"),
        )
        .ask(
            8,
            ROOT,
            Bytes::new().words(&[0o1_0644, 0, 0o22, 0]).zero("fifo"),
        )
        .ask(6, ROOT, Bytes::new().zero("symbolic").zero("file"))
        .ask(5, FIRST + 3, Bytes::new())
        .ask(13, ROOT, Bytes::new().u64(FIRST + 1).zero("hard"))
        .ask(12, ROOT, Bytes::new().u64(FIRST).zero("hard").zero("moved"))
        .ask(
            45,
            ROOT,
            Bytes::new()
                .u64(ROOT)
                .words(&[2, 0])
                .zero("node")
                .zero("fifo"),
        )
        .ask(10, ROOT, Bytes::new().zero("fifo"))
        .ask(10, FIRST, Bytes::new().zero("moved"))
        .ask(11, ROOT, Bytes::new().zero("new"))
        .ask(17, ROOT, Bytes::new())
        .ask(34, ROOT, Bytes::new().words(&[7, 0]))
}

/// What a session changes in a new file.
fn writing() -> Session {
    let create = Bytes::new().words(&[2, 0o644, 0o22, 0]).zero("created");
    let (file, handle) = (FIRST, 0);
    let setattr = Bytes::new().words(&[1 | 8 | 16 | 32, 0]).u64(0).u64(2);
    let setattr = setattr.u64(0).u64(1).u64(2).u64(3);
    Session::new(0)
        .ask(35, ROOT, create)
        .ask(16, file, io(handle, 0, 5).raw(b"hello"))
        .ask(16, file, io(handle, 3, 3).raw(b"lo!"))
        .ask(20, file, Bytes::new().u64(handle).words(&[1, 0]))
        .ask(46, file, Bytes::new().u64(handle).u64(0).words(&[4, 0]))
        .ask(
            43,
            file,
            Bytes::new().u64(handle).u64(0).u64(4096).words(&[0, 0]),
        )
        .ask(
            43,
            file,
            Bytes::new().u64(handle).u64(0).u64(64).words(&[3, 0]),
        )
        .ask(
            47,
            file,
            Bytes::new()
                .u64(handle)
                .u64(0)
                .u64(file)
                .u64(handle)
                .u64(9)
                .u64(4)
                .u64(0),
        )
        .ask(4, file, setattr.words(&[4, 5, 6, 0o600, 0, 0, 0, 0]))
        .ask(25, file, Bytes::new().u64(handle).words(&[0; 4]))
        .release(18, file, handle)
}

pub(super) fn seeds() -> Vec<Seed> {
    let reading = Session::new(0)
        .lookup(ROOT, "file")
        .ask(3, FIRST, Bytes::new().words(&[0; 4]))
        .open(14, FIRST, 0)
        .ask(15, FIRST, io(0, 0, 4096))
        .ask(15, FIRST, io(0, 8, 4))
        .release(18, FIRST, 0)
        .ask(2, FIRST, Bytes::new().u64(1));
    let listing = Session::new(4)
        .open(27, ROOT, 0)
        .ask(28, ROOT, io(0, 0, 4096))
        .ask(44, ROOT, io(0, 0, 4096))
        .ask(30, ROOT, Bytes::new().u64(0).words(&[0, 0]))
        .release(29, ROOT, 0)
        .lookup(ROOT, "dir")
        .lookup(FIRST + 1, "inner")
        .lookup(ROOT, "link")
        .ask(42, 0, Bytes::new().words(&[1, 0]).u64(FIRST).u64(1));
    let attributes = Session::new(2)
        .lookup(ROOT, "file")
        .ask(
            21,
            FIRST,
            Bytes::new().words(&[3, 0, 0, 0]).zero("user.a").raw(b"abc"),
        )
        .ask(
            21,
            FIRST,
            Bytes::new().words(&[3, 0]).zero("user.a").raw(b"abc"),
        )
        .ask(22, FIRST, Bytes::new().words(&[0, 0]).zero("user.a"))
        .ask(22, FIRST, Bytes::new().words(&[64, 0]).zero("user.a"))
        .ask(23, FIRST, Bytes::new().words(&[256, 0]))
        .ask(24, FIRST, Bytes::new().zero("user.a"));
    let locks = Session::new(0)
        .lookup(ROOT, "file")
        .open(14, FIRST, 2)
        .ask(32, FIRST, lock(0, 1))
        .ask(31, FIRST, lock(0, 1))
        .ask(33, FIRST, lock(0, 0))
        .ask(36, 0, Bytes::new().u64(12))
        .ask(32, FIRST, lock(0, 2))
        .ask(51, ROOT, Bytes::new().words(&[2, 0o600, 0, 0]).zero(""))
        .ask(50, ROOT, Bytes::new().u64(0))
        .ask(38, 0, Bytes::new());
    let refused = Session::new(1)
        .lookup(ROOT, "file")
        .open(14, FIRST, 2)
        .ask(
            35,
            ROOT,
            Bytes::new().words(&[2, 0o644, 0o22, 0]).zero("no"),
        )
        .ask(10, ROOT, Bytes::new().zero("file"))
        .lookup(ROOT, "..")
        .lookup(ROOT, "link/x");
    let mut paused = names();
    paused.script = paused.script.pause().reset(0, 0);
    vec![
        reading.seed("reading", 7),
        listing.seed("listing", 8),
        writing().seed("writing", 10),
        names().seed("names", 11),
        attributes.seed("attributes", 4),
        locks.seed("locks", 6),
        refused.seed("refused", 2),
        paused.seed("paused", 11),
    ]
}
