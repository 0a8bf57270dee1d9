//! Where a target plays: a network and a small file system of its own, so that what it sends and
//! writes reaches nobody and fills nothing.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// Set for a process that is on its own ground.
const FENCED: &str = "PCP_VMM_FUZZ_FENCED";
/// Where its file system is.
const PLACE: &str = "/mnt";
/// Gives the process loopback addresses, a scratch file system, and a name server that is itself.
const SET_UP: &str = "
mount -t tmpfs -o size=64m,mode=0755 fuzz /mnt && ip link set lo up || exit 1
if echo nameserver 127.0.0.53 > /mnt/resolv.conf; then mount --bind /mnt/resolv.conf /etc/resolv.conf; fi
exec \"$0\" \"$@\"
";

/// Starts the target once more in namespaces of its own, unless it is there already.
///
/// # Panics
/// The system allows no such namespaces.
pub fn fence() {
    if env::var_os(FENCED).is_some() {
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--net"]);
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["sh", "-c", SET_UP]);
    unshare.arg(env::current_exe().expect("the target's own path"));
    unshare.args(env::args_os().skip(1)).env(FENCED, "1");
    panic!("cannot fence the target in: {}", unshare.exec());
}

/// A folder that goes with its owner.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new folder, empty.
    ///
    /// # Panics
    /// The scratch file system is full or missing.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        assert!(env::var_os(FENCED).is_some(), "not on its own ground");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(PLACE).join(format!("{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a folder");
        Self { path }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file in it.
    ///
    /// # Panics
    /// The scratch file system is full.
    #[must_use]
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        let mut file = File::create(&path).expect("a file");
        file.write_all(content).expect("a file's content");
        path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What an input made as another user may stay until the target ends.
        let _ = fs::remove_dir_all(&self.path);
    }
}
