//! An operation on one side, with what a guest's kernel does by itself.

use rustix::io::Errno;
use rustix::process::geteuid;

use super::ops::{GROUP, OTHER_GROUP, Op, SLOTS};
use super::{Meta, Side};

/// An open file and how it was opened.
type Slot = Option<(u64, i32)>;

pub(super) struct Runner<'a, S: Side> {
    side: &'a mut S,
    top: S::Node,
    slots: [Slot; SLOTS],
}

/// Walks to the directory of the last of `path`, as far as the user may search what is on the way: so
/// does a guest's kernel before it asks for anything there.
fn parent<'p, S: Side>(
    side: &mut S,
    top: S::Node,
    path: &'p [&str],
) -> Result<(S::Node, &'p str), Errno> {
    let (name, above) = path.split_last().unwrap();
    let user = geteuid();
    let mut node = top;
    for name in above {
        let child = side.child(node, name)?;
        if !user.is_root() && !may_search(&side.stat((node, name))?, user.as_raw()) {
            return Err(Errno::ACCESS);
        }
        node = child;
    }
    Ok((node, name))
}

/// Whether the sequences' user may look for names in what `meta` tells of.
fn may_search(meta: &Meta, user: u32) -> bool {
    let bit = if meta.uid == user {
        0o100
    } else if [GROUP, OTHER_GROUP].contains(&meta.gid) {
        0o010
    } else {
        0o001
    };
    kind(meta.mode) != libc::S_IFDIR || meta.mode & bit != 0
}

fn kind(mode: u32) -> u32 {
    mode & libc::S_IFMT
}

fn done<T>(result: Result<T, Errno>) -> Result<String, Errno> {
    result.map(|_| String::new())
}

/// What data is compared by.
pub(super) fn digest(data: &[u8]) -> String {
    let sum = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{} bytes {sum:x}", data.len())
}

impl<'a, S: Side> Runner<'a, S> {
    pub(super) fn new(side: &'a mut S, folder: &str) -> Self {
        let top = side.begin(folder);
        Self {
            side,
            top,
            slots: [None; SLOTS],
        }
    }

    pub(super) fn end(self) {
        for (file, _) in self.slots.into_iter().flatten() {
            self.side.close(file).unwrap();
        }
        self.side.end();
    }

    /// The result of `op`, in words.
    pub(super) fn apply(&mut self, op: &Op) -> Result<String, Errno> {
        match op {
            Op::Create(..) | Op::Open(..) | Op::Close(_) => self.opening(op),
            Op::Read(..) | Op::Write(..) | Op::Fstat(_) | Op::Ftruncate(..) | Op::Fsync(..) => {
                self.file(op)
            }
            Op::Link(from, to) | Op::Rename(from, to) => {
                let from = parent(self.side, self.top, from)?;
                let to = parent(self.side, self.top, to)?;
                match op {
                    Op::Link(..) => done(self.side.link(from, to)),
                    _ => done(self.side.rename(from, to)),
                }
            }
            Op::Forget => {
                self.side.forget();
                Ok(String::new())
            }
            _ => self.named(op),
        }
    }

    fn named(&mut self, op: &Op) -> Result<String, Errno> {
        let side = &mut *self.side;
        let mut at = |path| parent(side, self.top, path);
        match op {
            Op::Mkdir(path, mode) => {
                let at = at(path)?;
                done(side.mkdir(at, *mode))
            }
            Op::Mkfifo(path, mode) => {
                let at = at(path)?;
                done(side.mkfifo(at, *mode))
            }
            Op::Symlink(path, target) => {
                let at = at(path)?;
                done(side.symlink(at, target))
            }
            Op::Readlink(path) => {
                let at = at(path)?;
                side.readlink(at)
            }
            Op::Unlink(path) => {
                let at = at(path)?;
                done(side.unlink(at))
            }
            Op::Rmdir(path) => {
                let at = at(path)?;
                done(side.rmdir(at))
            }
            Op::List(path) => {
                let at = at(path)?;
                let mut names = side.list(at)?;
                names.sort();
                Ok(format!("{names:?}"))
            }
            _ => self.attributes(op),
        }
    }

    fn attributes(&mut self, op: &Op) -> Result<String, Errno> {
        let side = &mut *self.side;
        let mut at = |path| parent(side, self.top, path);
        match op {
            Op::Stat(path) => {
                let at = at(path)?;
                Ok(format!("{:?}", side.stat(at)?.compared()))
            }
            Op::Chmod(path, mode) => {
                let at = at(path)?;
                if kind(side.stat(at)?.mode) == libc::S_IFLNK {
                    return Err(Errno::OPNOTSUPP);
                }
                done(side.chmod(at, *mode))
            }
            Op::Chown(path, (uid, gid)) => {
                let at = at(path)?;
                done(side.chown(at, *uid, *gid))
            }
            Op::Truncate(path, size) => {
                let at = at(path)?;
                match kind(side.stat(at)?.mode) {
                    libc::S_IFREG => done(side.truncate(at, *size)),
                    _ => Err(Errno::INVAL),
                }
            }
            Op::SetTimes(path, seconds) => {
                let at = at(path)?;
                done(side.set_times(at, *seconds))
            }
            _ => self.xattrs(op),
        }
    }

    fn xattrs(&mut self, op: &Op) -> Result<String, Errno> {
        let side = &mut *self.side;
        let mut at = |path| parent(side, self.top, path);
        match op {
            Op::SetXattr(path, name, len, flags) => {
                let at = at(path)?;
                done(side.set_xattr(at, name, &vec![b'v'; *len], *flags))
            }
            Op::GetXattr(path, name) => {
                let at = at(path)?;
                side.get_xattr(at, name).map(|value| digest(&value))
            }
            Op::ListXattrs(path) => {
                let at = at(path)?;
                let list = side.list_xattrs(at)?;
                let mut names: Vec<&[u8]> = list.split(|byte| *byte == 0).collect();
                names.retain(|name| name.starts_with(b"user."));
                names.sort_unstable();
                Ok(format!("{names:?}"))
            }
            Op::RemoveXattr(path, name) => {
                let at = at(path)?;
                done(side.remove_xattr(at, name))
            }
            _ => unreachable!("{op:?}"),
        }
    }

    fn opening(&mut self, op: &Op) -> Result<String, Errno> {
        match op {
            Op::Close(slot) => match self.slots[*slot].take() {
                Some((file, _)) => done(self.side.close(file)),
                None => Err(Errno::BADF),
            },
            Op::Open(path, slot, flags) => {
                let at = parent(self.side, self.top, path)?;
                match kind(self.side.stat(at)?.mode) {
                    libc::S_IFIFO => return Err(Errno::NXIO),
                    libc::S_IFDIR => return Err(Errno::ISDIR),
                    _ => {}
                }
                let file = self.side.open(at, *flags)?;
                self.keep(*slot, file, *flags);
                Ok(String::new())
            }
            Op::Create(path, slot, flags, mode) => {
                let at = parent(self.side, self.top, path)?;
                if let Ok(meta) = self.side.stat(at)
                    && kind(meta.mode) == libc::S_IFIFO
                {
                    return Err(Errno::NXIO);
                }
                let file = self.side.create(at, *flags, *mode)?;
                self.keep(*slot, file, *flags);
                Ok(String::new())
            }
            _ => unreachable!("{op:?}"),
        }
    }

    fn keep(&mut self, slot: usize, file: u64, flags: i32) {
        if let Some((before, _)) = self.slots[slot].replace((file, flags)) {
            self.side.close(before).unwrap();
        }
    }

    fn slot(&self, slot: usize) -> Result<(u64, i32), Errno> {
        self.slots[slot].ok_or(Errno::BADF)
    }

    fn file(&mut self, op: &Op) -> Result<String, Errno> {
        match *op {
            Op::Read(slot, offset, len) => {
                let (file, _) = self.slot(slot)?;
                self.side.read(file, offset, len).map(|data| digest(&data))
            }
            Op::Write(slot, offset, len, fill) => {
                let (file, flags) = self.slot(slot)?;
                let data = vec![fill; len as usize];
                // An appending file's position is its end, as far as the kernel knows.
                let offset = if flags & libc::O_APPEND == 0 {
                    offset
                } else {
                    self.side.fstat(file)?.size
                };
                let done = self.side.write(file, offset, &data)?;
                Ok(done.to_string())
            }
            Op::Fstat(slot) => {
                let (file, _) = self.slot(slot)?;
                Ok(format!("{:?}", self.side.fstat(file)?.compared()))
            }
            Op::Ftruncate(slot, size) => {
                let (file, flags) = self.slot(slot)?;
                if flags & libc::O_ACCMODE == libc::O_RDONLY {
                    return Err(Errno::INVAL);
                }
                done(self.side.ftruncate(file, size))
            }
            Op::Fsync(slot, data_only) => {
                let (file, _) = self.slot(slot)?;
                done(self.side.fsync(file, data_only))
            }
            _ => unreachable!("{op:?}"),
        }
    }
}
