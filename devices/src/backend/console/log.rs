//! A console's log: every byte of its output, also in files. The console's pump sees a client that types nothing; at the other
//! end of the connection a thread of the log's own writes the files, so that a slow or full disk holds up nobody.
//!
//! A log is `NAME.log`. At [`ConsoleLog::LIMIT`] bytes it becomes `NAME.log.1`, in the place of what that was before: however
//! much a guest prints, its log stays below twice the limit. What an earlier run left becomes `NAME.log.last`.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::ConsoleHandle;

/// What one system call moves.
const SCRATCH: usize = 32 * 1024;

/// The folder of a machine's logs, which no other machine writes to.
#[derive(Debug, Clone)]
pub struct LogFolder {
    path: PathBuf,
    /// Locked while it is open.
    folder: Arc<File>,
}

impl LogFolder {
    /// Opens the folder, which is made if it is not there, and locks it.
    ///
    /// # Errors
    /// It cannot be made or opened, or ([`ErrorKind::ResourceBusy`]) another machine has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let folder = File::open(path)?;
        folder.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(ErrorKind::ResourceBusy, "another machine logs there")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            path: path.to_owned(),
            folder: Arc::new(folder),
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A console's log and the connection that feeds it.
#[derive(Debug)]
pub struct ConsoleLog {
    files: Files,
    /// A stream socket, read as a file: that is a call which every thread has.
    output: File,
}

/// A log's files.
#[derive(Debug)]
struct Files {
    folder: LogFolder,
    name: String,
    limit: u64,
    /// The newest, and how much is in it.
    file: File,
    length: u64,
}

impl ConsoleLog {
    /// The most bytes of a log's file.
    pub const LIMIT: u64 = 8 << 20;

    /// Begins a log `NAME.log` of all output of `console`.
    ///
    /// # Errors
    /// Its file cannot be made.
    pub fn open(folder: &LogFolder, name: &str, console: &ConsoleHandle) -> io::Result<Self> {
        let files = Files::open(folder, name, Self::LIMIT)?;
        let (output, client) = UnixStream::pair()?;
        console.attach(OwnedFd::from(client), 0, Vec::new());
        let output = File::from(OwnedFd::from(output));
        Ok(Self { files, output })
    }

    /// Writes what the console prints until its pump has ended. What cannot be written is told once, and ends the log: the
    /// machine goes on without it.
    pub fn run(mut self) {
        let mut bytes = vec![0; SCRATCH];
        loop {
            let count = match self.output.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.give_up(&error),
            };
            if let Err(error) = self.files.append(&bytes[..count]) {
                return self.give_up(&error);
            }
        }
    }

    fn give_up(&self, error: &io::Error) {
        let path = self.files.folder.path.join(&self.files.name);
        let shown = path.display();
        log::error!("the console's log `{shown}.log` ends here, the machine goes on: {error}");
    }
}

impl Files {
    fn open(folder: &LogFolder, name: &str, limit: u64) -> io::Result<Self> {
        let at = |end: &str| format!("{name}.log{end}");
        let dir = &folder.folder;
        match rustix::fs::renameat(dir, at(""), dir, at(".last")) {
            Err(Errno::NOENT) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
        match rustix::fs::unlinkat(dir, at(".1"), AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(Self {
            folder: folder.clone(),
            name: name.to_owned(),
            limit,
            file: create(dir, &at(""))?,
            length: 0,
        })
    }

    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.length == self.limit {
                self.turn()?;
            }
            let room = usize::try_from(self.limit - self.length).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.file.write_all(now)?;
            self.length += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Begins the next file.
    fn turn(&mut self) -> io::Result<()> {
        let (dir, name) = (&self.folder.folder, format!("{}.log", self.name));
        rustix::fs::renameat(dir, &name, dir, format!("{name}.1"))?;
        self.file = create(dir, &name)?;
        self.length = 0;
        Ok(())
    }
}

/// Makes a file that is not there: no link of somebody else's leads out of the folder.
fn create(folder: &File, name: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::openat(folder, name, flags, mode)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::super::{Console, ConsoleSpec};
    use super::*;
    use crate::event_loop::EventLoop;

    fn read(folder: &Path, name: &str) -> Vec<u8> {
        fs::read(folder.join(name)).unwrap_or_default()
    }

    #[test]
    fn a_log_has_every_byte_within_two_files_of_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let folder = LogFolder::open(dir.path()).unwrap();
        let all: Vec<u8> = (0..1000u32).map(|at| (at * 7 % 251) as u8).collect();
        let mut files = Files::open(&folder, "serial", 64).unwrap();
        for (count, piece) in all.chunks(37).enumerate() {
            files.append(piece).unwrap();
            let written = &all[..all.len().min((count + 1) * 37)];
            let kept = [
                read(dir.path(), "serial.log.1"),
                read(dir.path(), "serial.log"),
            ];
            assert!(written.ends_with(&kept.concat()));
            assert!(kept.iter().all(|file| file.len() <= 64));
            assert!(kept.concat().len() >= written.len().min(64));
        }
        let newest = read(dir.path(), "serial.log");
        drop(files);
        // The next run begins anew, and keeps the end of this one.
        let next = Files::open(&folder, "serial", 64).unwrap();
        assert_eq!(next.length, 0);
        assert_eq!(read(dir.path(), "serial.log.last"), newest);
        assert_eq!(read(dir.path(), "serial.log.1"), b"");
    }

    #[test]
    fn a_folder_is_one_machines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("above/logs");
        let folder = LogFolder::open(&path).unwrap();
        let error = LogFolder::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        drop(folder);
        LogFolder::open(&path).unwrap();
    }

    #[test]
    fn a_link_in_the_logs_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = LogFolder::open(dir.path()).unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join("serial.log")).unwrap();
        let mut files = Files::open(&folder, "serial", 4).unwrap();
        files.append(b"text").unwrap();
        assert_eq!(read(dir.path(), "other"), b"kept");
        assert_eq!(read(dir.path(), "serial.log"), b"text");
        // One who takes the next file's place ends the log.
        fs::remove_file(dir.path().join("serial.log")).unwrap();
        assert!(files.append(b"x").is_err());
    }

    #[test]
    fn a_machine_that_ends_before_its_loop_turns_is_logged_too() {
        let dir = tempfile::tempdir().unwrap();
        let folder = LogFolder::open(dir.path()).unwrap();
        let (console, pump) = Console::open("ttyS0", &ConsoleSpec::None).unwrap();
        let log = ConsoleLog::open(&folder, "serial", &console).unwrap();
        console.write(b"all of it");
        drop(pump);
        drop(console);
        log.run();
        assert_eq!(read(dir.path(), "serial.log"), b"all of it");
    }

    #[test]
    fn all_output_is_logged_from_before_the_loop_to_its_end_and_a_full_disk_ends_only_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let folder = LogFolder::open(dir.path()).unwrap();
        let io = EventLoop::spawn("io").unwrap();
        let (console, pump) = Console::open("ttyS0", &ConsoleSpec::None).unwrap();
        let log = ConsoleLog::open(&folder, "serial", &console).unwrap();
        let mut full = ConsoleLog::open(&folder, "full", &console).unwrap();
        full.files.file = File::options().write(true).open("/dev/full").unwrap();
        let writers = [log, full].map(|log| std::thread::spawn(move || log.run()));
        console.write(b"early\n");
        io.handle().add(Box::new(pump)).unwrap();
        let lines: String = (0..20_000)
            .map(|number| format!("line {number}\n"))
            .collect();
        for piece in lines.as_bytes().chunks(1000) {
            console.write(piece);
        }
        io.end();
        for writer in writers {
            writer.join().unwrap();
        }
        let logged = read(dir.path(), "serial.log");
        assert!(
            logged == format!("early\n{lines}").into_bytes(),
            "{} bytes",
            logged.len()
        );
    }
}
