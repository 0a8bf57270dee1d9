//! The operations, and how sequences of them are drawn.

/// Names of files; few, so that operations meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Those that are mostly directories.
const DIRECTORIES: [&str; 4] = ["a", "a", "b", "b"];
const TARGETS: [&str; 4] = ["a", "../b", "/nowhere", "c/d"];
const XATTRS: [&str; 2] = ["user.x", "user.yy"];
/// Modes that no usual umask changes.
const MODES: [u32; 4] = [0o600, 0o644, 0o700, 0o755];
/// The last on a directory: what is made in it belongs to its group.
const CHMODS: [u32; 7] = [0o600, 0o644, 0o777, 0o700, 0o4755, 0o2755, 0o2775];
/// The user who runs some of the sequences, and the groups: the user's own, another of the user's, and
/// one that is not.
pub(super) const USER: u32 = 1000;
pub(super) const GROUP: u32 = 1000;
pub(super) const OTHER_GROUP: u32 = 2000;
const FOREIGN_GROUP: u32 = 3000;
const OWNERS: [Owner; 5] = [
    (0, 0),
    (USER, GROUP),
    (USER, OTHER_GROUP),
    (USER, OTHER_GROUP),
    (USER, FOREIGN_GROUP),
];
/// Times that are set explicitly lie below this.
pub(super) const TIMES: i64 = 100_000;
/// How many files a sequence has open at once.
pub(super) const SLOTS: usize = 3;

/// A user and a group.
type Owner = (u32, u32);

/// Names from the sequence's folder on.
pub(super) type Path = Vec<&'static str>;

#[derive(Debug, Clone)]
pub(super) enum Op {
    Create(Path, usize, i32, u32),
    Open(Path, usize, i32),
    Close(usize),
    Read(usize, u64, u32),
    Write(usize, u64, u32, u8),
    Fstat(usize),
    Ftruncate(usize, u64),
    Fsync(usize, bool),
    Mkdir(Path, u32),
    Mkfifo(Path, u32),
    Symlink(Path, &'static str),
    Readlink(Path),
    Link(Path, Path),
    Rename(Path, Path),
    Unlink(Path),
    Rmdir(Path),
    Stat(Path),
    Chmod(Path, u32),
    Chown(Path, Owner),
    Truncate(Path, u64),
    SetTimes(Path, i64),
    List(Path),
    SetXattr(Path, &'static str, usize, u32),
    GetXattr(Path, &'static str),
    ListXattrs(Path),
    RemoveXattr(Path, &'static str),
    /// Lets the sides forget what they have walked to.
    Forget,
}

/// SplitMix64.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut sum = self.0;
        sum = (sum ^ sum >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        sum = (sum ^ sum >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        sum ^ sum >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn path(&mut self) -> Path {
        // Mostly shallow, so that most files exist.
        let depth = self.pick(&[1, 1, 1, 2, 2, 3]);
        let mut path: Path = (1..depth).map(|_| self.pick(&DIRECTORIES)).collect();
        path.push(self.pick(&NAMES));
        path
    }

    fn slot(&mut self) -> usize {
        self.below(SLOTS as u64) as usize
    }

    fn offset(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => self.below(100),
            2 => 4096 * self.below(4),
            _ => self.below(20_000),
        }
    }

    fn open_flags(&mut self) -> i32 {
        let access = self.pick(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
        access | self.pick(&[0, 0, 0, libc::O_TRUNC, libc::O_APPEND])
    }
}

/// A sequence of 5 to 44 operations, mostly after those that make a small tree.
pub(super) fn sequence(random: &mut Random) -> Vec<Op> {
    let mut ops = Vec::new();
    if random.below(8) > 0 {
        ops = tree();
    }
    let len = 5 + random.below(40);
    ops.extend((0..len).map(|_| op(random)));
    ops
}

/// Directories, and files that are open.
fn tree() -> Vec<Op> {
    vec![
        Op::Mkdir(vec!["a"], 0o755),
        Op::Mkdir(vec!["a", "b"], 0o755),
        Op::Create(vec!["b"], 0, libc::O_RDWR, 0o644),
        Op::Write(0, 0, 5000, 1),
        Op::Create(vec!["a", "c"], 1, libc::O_RDWR, 0o600),
        Op::Write(1, 100, 10, 2),
        Op::Create(vec!["a", "b", "d"], 2, libc::O_RDWR | libc::O_APPEND, 0o644),
        Op::Symlink(vec!["d"], "a/c"),
    ]
}

fn op(random: &mut Random) -> Op {
    match random.below(50) {
        0..20 => names(random),
        20..36 => files(random),
        36..46 => attributes(random),
        46..49 => Op::List(random.path()),
        _ => Op::Forget,
    }
}

fn names(random: &mut Random) -> Op {
    let path = random.path();
    match random.below(20) {
        0..4 => Op::Mkdir(path, random.pick(&MODES)),
        4 => Op::Mkfifo(path, random.pick(&MODES)),
        5..7 => Op::Symlink(path, random.pick(&TARGETS)),
        7 => Op::Readlink(path),
        8..10 => Op::Link(path, random.path()),
        10..14 => Op::Rename(path, random.path()),
        14..17 => Op::Unlink(path),
        17 => Op::Rmdir(path),
        _ => Op::Stat(path),
    }
}

fn files(random: &mut Random) -> Op {
    let slot = random.slot();
    match random.below(16) {
        0..4 => {
            let exclusive = random.pick(&[0, 0, libc::O_EXCL]);
            let flags = random.open_flags() | exclusive;
            Op::Create(random.path(), slot, flags, random.pick(&MODES))
        }
        4..6 => Op::Open(random.path(), slot, random.open_flags()),
        6 => Op::Close(slot),
        7..9 => Op::Read(slot, random.offset(), random.pick(&[1, 100, 5000])),
        9..13 => {
            let len = random.pick(&[1, 10, 100, 4096, 5000]);
            Op::Write(slot, random.offset(), len, random.next() as u8)
        }
        13 => Op::Fstat(slot),
        14 => Op::Ftruncate(slot, random.offset()),
        _ => Op::Fsync(slot, random.below(2) == 0),
    }
}

fn attributes(random: &mut Random) -> Op {
    let path = random.path();
    match random.below(10) {
        0..2 => Op::Chmod(path, random.pick(&CHMODS)),
        2 => Op::Chown(path, random.pick(&OWNERS)),
        3 => Op::Truncate(path, random.offset()),
        4 => Op::SetTimes(path, random.below(TIMES as u64) as i64),
        5..7 => {
            let flags = random.pick(&[0, 0, 1, 2]);
            Op::SetXattr(path, random.pick(&XATTRS), random.pick(&[1, 300]), flags)
        }
        7 => Op::GetXattr(path, random.pick(&XATTRS)),
        8 => Op::ListXattrs(path),
        _ => Op::RemoveXattr(path, random.pick(&XATTRS)),
    }
}
