//! Machines that run, by name: each has a folder in the runtime directory
//! ([ADR 9](../../docs/adr/0009-instance-folders.md)).
//!
//! The folder holds the record, a file that tells what runs, and the control socket. The record is
//! locked for as long as the process lives, so who finds it unlocked knows that it is left over.

mod leftovers;
mod list;
mod record;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

pub use list::{Entry, clear, find, is_running, list};
pub use record::{Record, RecordError};

/// The socket of its socket device in a VM's folder, if it is there; those where somebody waits for the guest have its name
/// and a port.
pub const VSOCK: &str = "vsock";
/// The socket in the VM's folder where `pcp-vmm exec` waits for the guest's agent: port 1024 of a socket device at `vsock`.
pub const AGENT: &str = "vsock_1024";
/// The record's name in its folder.
pub const RECORD: &str = "instance.json";
/// The control socket's name in its folder.
pub const CONTROL: &str = "control";
/// The longest path of a Unix socket (unix(7)), its final NUL left out.
const SOCKET_PATH_MAX: usize = 107;
/// How often a name is tried that a tidier holds, which lets go within a moment.
const TRIES: u32 = 100;

/// Why a machine cannot have its name.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another machine has it.
    #[error("{} runs under this name", pid.map_or("another machine".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// That machine's process, if it told.
        pid: Option<u32>,
    },
    /// Its folder or record cannot be made.
    #[error("cannot make `{}`", path.display())]
    Folder {
        /// What was to be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path of its control socket is too long for one.
    #[error("the path of a socket has at most {SOCKET_PATH_MAX} bytes, not `{}`", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
}

/// The folder of a machine that this process is going to run; it goes when this is dropped.
#[derive(Debug)]
pub struct Instance {
    folder: PathBuf,
    record: File,
}

impl Instance {
    /// Takes `name` in the runtime directory `runtime`, which is made if it is not there.
    ///
    /// # Errors
    /// See [`InstanceError`].
    pub fn claim(runtime: &Path, name: &str) -> Result<Self, InstanceError> {
        let folder = runtime.join(name);
        let control = folder.join(CONTROL);
        if control.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(InstanceError::TooLong { path: control });
        }
        let failed = |path: &Path, source| InstanceError::Folder {
            path: path.to_owned(),
            source,
        };
        let mut tries = 0;
        loop {
            make_folder(&folder).map_err(|source| failed(&folder, source))?;
            let path = folder.join(RECORD);
            match take(&path) {
                Ok(Some(record)) => return Ok(Self { folder, record }),
                // Who tidies up has removed the folder, or the file that we opened.
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let record = Record::read(&folder).ok();
                    if record.is_some() || tries >= TRIES {
                        let pid = record.map(|record| record.pid);
                        return Err(InstanceError::InUse { pid });
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                Err(source) => return Err(failed(&path, source)),
            }
            tries += 1;
            if tries > 2 * TRIES {
                return Err(failed(&path, ErrorKind::ResourceBusy.into()));
            }
        }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its control socket is to be.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.folder.join(CONTROL)
    }

    /// Writes the record, in one go.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn describe(&mut self, record: &Record) -> Result<(), InstanceError> {
        let failed = |source: io::Error| InstanceError::Folder {
            path: self.folder.join(RECORD),
            source,
        };
        let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        let mut file = &self.record;
        file.write_all(&text).map_err(failed)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Removes what is in `folder`, the record last, and `folder` itself. The machine's own process does this within its sandbox,
/// where nothing is opened any more.
fn remove(folder: &Path) {
    for name in [CONTROL, AGENT, RECORD] {
        let _ = fs::remove_file(folder.join(name));
    }
    // Somebody else may have begun to use it.
    let _ = fs::remove_dir(folder);
}

/// Removes the sockets of a machine's socket device, which is no more, and of who waited for its guest.
fn remove_sockets(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(VSOCK.as_bytes()) {
            let _ = fs::remove_file(folder.join(name));
        }
    }
}

/// Makes `folder`, for its owner alone, and the folders above it where they are missing.
fn make_folder(folder: &Path) -> io::Result<()> {
    let make = |path: &Path| match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    match make(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(above) = folder.parent() {
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700).create(above)?;
            }
            make(folder)
        }
        other => other,
    }
}

/// Opens and locks the record; `None` if it was removed meanwhile.
fn take(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    lock(&file)?;
    let metadata = file.metadata()?;
    if metadata.len() > 0 {
        // What a process that was killed had written.
        leftovers::remove(path);
        file.set_len(0)?;
    }
    // Only a file that still has its name keeps others out.
    Ok((metadata.nlink() > 0).then_some(file))
}

/// A lock of a whole file. It belongs to the open file, not to the process, so that a guest with a
/// share that shows the record cannot have it dropped.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Locks `file`.
fn lock(file: &File) -> io::Result<()> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole())) {
        Ok(_) => Ok(()),
        Err(Errno::EACCES | Errno::EAGAIN) => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// Whether somebody has locked the file at `path`; does not touch the lock.
fn is_locked(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut found = whole();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(libc::c_int::from(found.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests;
