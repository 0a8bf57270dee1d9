//! Sessions of a 9P2000.L client (Linux `include/net/9p/9p.h`).

use super::Seed;
use super::bytes::Bytes;
use crate::script::Script;

/// Room for an answer of 4 KiB, by number.
const ROOM: u8 = 7;
const NOFID: u32 = u32::MAX;
const ROOT: u32 = 1;

struct Session {
    script: Script,
    tag: u16,
}

impl Session {
    /// A client that is attached.
    fn new(choice: u8) -> Self {
        let this = Self {
            script: Script::default().raw(&[choice]),
            tag: 0,
        };
        this.ask(100, Bytes::new().u32(8192).text("9P2000.L")).ask(
            104,
            Bytes::new()
                .u32(ROOT)
                .u32(NOFID)
                .text("root")
                .text("")
                .u32(0),
        )
    }

    fn ask(mut self, kind: u8, body: Bytes) -> Self {
        let request = Bytes::new().u32(0).u8(kind).u16(self.tag).then(body);
        self.tag += 1;
        self.script = self.script.request(0, ROOM, &request.0);
        self
    }

    fn walk(self, from: u32, to: u32, names: &[&str]) -> Self {
        let count = u16::try_from(names.len()).unwrap_or_default();
        let walk = Bytes::new().u32(from).u32(to).u16(count);
        self.ask(110, names.iter().fold(walk, |walk, name| walk.text(name)))
    }

    fn seed(self, name: &'static str, successful: usize) -> Seed {
        Seed {
            target: "p9",
            name,
            bytes: self.script.0,
            successful,
        }
    }
}

fn fid(fid: u32) -> Bytes {
    Bytes::new().u32(fid)
}

fn lock(kind: u8) -> Bytes {
    fid(2).u8(kind).u32(0).u64(0).u64(9).u32(42).text("guest")
}

fn writing(choice: u8) -> Session {
    let setattr = fid(2).words(&[0x1ff, 0o600, 0, 0]).u64(3);
    Session::new(choice)
        .walk(ROOT, 2, &[])
        .ask(14, fid(2).text("created").words(&[2, 0o644, 0]))
        .ask(118, fid(2).u64(0).u32(5).raw(b"hello"))
        .ask(116, fid(2).u64(1).u32(64))
        .ask(50, fid(2).u32(1))
        .ask(26, setattr.u64(1).u64(2).u64(3).u64(4))
        .ask(24, fid(2).u64(0x7ff))
        .ask(52, lock(1))
        .ask(54, fid(2).u8(1).u64(0).u64(9).u32(43).text("other"))
        .ask(52, lock(2))
        .ask(122, fid(2))
}

fn names(choice: u8) -> Session {
    Session::new(choice)
        .ask(72, fid(ROOT).text("new").words(&[0o755, 0]))
        .ask(16, fid(ROOT).text("symbolic").text("file").u32(0))
        .ask(18, fid(ROOT).text("node").words(&[0o10_0644, 0, 0, 0]))
        .walk(ROOT, 2, &["symbolic"])
        .ask(22, fid(2))
        .walk(ROOT, 3, &["file"])
        .ask(70, fid(ROOT).u32(3).text("hard"))
        .ask(74, fid(ROOT).text("hard").u32(ROOT).text("moved"))
        .walk(ROOT, 4, &["new"])
        .ask(20, fid(3).u32(4).text("inside"))
        .ask(76, fid(ROOT).text("moved").u32(0))
        .ask(8, fid(ROOT))
        .ask(108, Bytes::new().u16(3))
        .ask(120, fid(2))
}

pub(super) fn seeds() -> Vec<Seed> {
    let reading = Session::new(0)
        .walk(ROOT, 2, &["dir", "inner"])
        .ask(24, fid(2).u64(0x7ff))
        .ask(12, fid(2).u32(0))
        .ask(116, fid(2).u64(0).u32(4096))
        .ask(120, fid(2));
    let listing = Session::new(1)
        .walk(ROOT, 2, &[])
        .ask(12, fid(2).u32(0o20_0000))
        .ask(40, fid(2).u64(0).u32(4096))
        .walk(ROOT, 3, &["dir", ".."])
        .walk(ROOT, 4, &["missing"]);
    let attributes = Session::new(0)
        .walk(ROOT, 2, &["file"])
        .ask(32, fid(2).text("user.a").u64(3).u32(0))
        .ask(118, fid(2).u64(0).u32(3).raw(b"abc"))
        .ask(120, fid(2))
        .walk(ROOT, 3, &["file"])
        .ask(30, fid(3).u32(4).text("user.a"))
        .ask(116, fid(4).u64(0).u32(64))
        .ask(30, fid(3).u32(5).text(""))
        .ask(116, fid(5).u64(0).u32(64));
    vec![
        reading.seed("reading", 7),
        listing.seed("listing", 6),
        writing(0).seed("writing", 13),
        writing(4).seed("writing-mapped", 12),
        names(0).seed("names", 15),
        names(4).seed("names-mapped", 15),
        attributes.seed("attributes", 7),
    ]
}
