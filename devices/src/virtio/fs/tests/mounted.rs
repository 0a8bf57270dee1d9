//! The device under a real client: this kernel's, by way of `/dev/fuse`, with real programs.
//!
//! Needs root and `/dev/fuse`: `cargo test -p devices fs::tests::mounted -- --ignored`.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use zerocopy::FromBytes;

use super::client::{REQUESTS, spec};
use crate::virtio::fs::protocol::*;
use crate::virtio::fs::{Cache, Fs, FsSpec};
use crate::virtio::testing::Driver;

/// A share mounted on this machine.
struct Mounted {
    share: PathBuf,
    at: PathBuf,
    _temp: tempfile::TempDir,
    server: Option<JoinHandle<()>>,
}

impl Mounted {
    /// A new directory, shared and mounted.
    fn new(cache: Cache) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (share, at) = (temp.path().join("share"), temp.path().join("at"));
        fs::create_dir(&share).unwrap();
        fs::create_dir(&at).unwrap();
        let server = serve(&spec(&share, false, cache), &at);
        Self {
            share,
            at,
            _temp: temp,
            server: Some(server),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.at, UnmountFlags::empty()).unwrap();
        self.server.take().unwrap().join().unwrap();
    }
}

/// Mounts the share at `target` and serves it until it is unmounted.
fn serve(spec: &FsSpec, target: &Path) -> JoinHandle<()> {
    let device = Fs::new(0, spec).unwrap();
    let fuse = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .unwrap();
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        fuse.as_raw_fd()
    );
    let options = std::ffi::CString::new(options).unwrap();
    let flags = MountFlags::NODEV;
    mount("share", target, "fuse.share", flags, options.as_c_str()).unwrap();
    std::thread::spawn(move || {
        rustix::io::ioctl_fionbio(&fuse, true).unwrap();
        let mut driver = Driver::new(device);
        let mut buffer = vec![0; (1 << 20) + 8192];
        while forward(&mut driver, fuse.as_fd(), &mut buffer) {}
    })
}

/// Takes one request from the kernel, if there is one, to the device, and its answers back.
fn forward(driver: &mut Driver<Fs>, fuse: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    match rustix::io::read(fuse, &mut *buffer) {
        Ok(len) => {
            let request = &buffer[..len];
            let header = InHeader::read_from_prefix(request).unwrap().0;
            let room = match header.opcode {
                opcode::READ | opcode::READDIR | opcode::READDIRPLUS => {
                    ReadIn::read_from_prefix(&request[40..]).unwrap().0.size
                }
                opcode::GETXATTR | opcode::LISTXATTR => 64 << 10,
                _ => 4096,
            };
            let silent = [opcode::FORGET, opcode::BATCH_FORGET, opcode::INTERRUPT];
            let rooms = [16, room];
            let rooms = if silent.contains(&header.opcode) {
                &[]
            } else {
                &rooms[..]
            };
            driver.add(REQUESTS, &[request], rooms);
            driver.kick(REQUESTS).unwrap();
        }
        Err(Errno::AGAIN) => {
            let mut ready = [PollFd::new(&fuse, PollFlags::IN)];
            let wait = rustix::time::Timespec {
                tv_sec: 0,
                tv_nsec: 5_000_000,
            };
            poll(&mut ready, Some(&wait)).unwrap();
            driver.poll(Duration::ZERO).unwrap();
        }
        Err(Errno::NOENT | Errno::INTR) => {}
        Err(Errno::NODEV) => return false,
        Err(error) => panic!("/dev/fuse: {error}"),
    }
    while let Some(used) = driver.pop_used(REQUESTS) {
        if used.len > 0 {
            match rustix::io::write(fuse, &used.data) {
                // ENOENT: the request was interrupted and nobody waits for it any more.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => panic!("answer refused: {error}"),
            }
        }
    }
    true
}

fn run(program: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?}: {text}{errors}"
    );
    text
}

#[test]
#[ignore = "needs root and /dev/fuse"]
fn a_share_stays_mounted_for_trials_by_hand() {
    // FS_TRIAL=SHARE:TARGET:never|auto|always[:ro]
    let Ok(trial) = std::env::var("FS_TRIAL") else {
        return;
    };
    let parts: Vec<&str> = trial.split(':').collect();
    let cache = match parts[2] {
        "never" => Cache::Never,
        "auto" => Cache::Auto,
        _ => Cache::Always,
    };
    let spec = spec(Path::new(parts[0]), parts.get(3) == Some(&"ro"), cache);
    serve(&spec, Path::new(parts[1])).join().unwrap();
}

#[test]
#[ignore = "needs root and /dev/fuse"]
fn programs_find_on_the_mount_what_they_left_there() {
    for cache in [Cache::Never, Cache::Auto, Cache::Always] {
        let mounted = Mounted::new(cache);
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        run("cp", &["-a", sources, "one"], &mounted.at);
        run("cp", &["-al", "one", "linked"], &mounted.at);
        run(
            "sh",
            &[
                "-c",
                "tar cf all.tar one && mkdir two && tar xf all.tar -C two",
            ],
            &mounted.at,
        );
        run("mv", &["two", "three"], &mounted.at);
        run("diff", &["-r", sources, "three/one"], &mounted.at);
        run("diff", &["-r", sources, "linked"], &mounted.share);
        run(
            "rm",
            &["-r", "one", "linked", "three", "all.tar"],
            &mounted.at,
        );
        assert_eq!(fs::read_dir(&mounted.share).unwrap().count(), 0);
    }
}

#[test]
#[ignore = "needs root and /dev/fuse"]
fn a_removed_file_is_used_until_it_is_closed() {
    let mounted = Mounted::new(Cache::Auto);
    let path = mounted.at.join("file");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all(b"hello").unwrap();
    fs::remove_file(&path).unwrap();
    let meta = file.metadata().unwrap();
    assert_eq!((meta.nlink(), meta.len()), (0, 5));
    file.set_len(3).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3);
    // A shell in a removed directory can still look at it.
    run(
        "sh",
        &[
            "-c",
            "mkdir dir && cd dir && rmdir ../dir && ls -a && stat .",
        ],
        &mounted.at,
    );
}

#[test]
#[ignore = "needs root and /dev/fuse"]
fn random_changes_leave_the_file_that_they_leave_in_memory() {
    for cache in [Cache::Never, Cache::Auto, Cache::Always] {
        let mounted = Mounted::new(cache);
        let path = mounted.at.join("file");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let mut model: Vec<u8> = Vec::new();
        let mut seed: u64 = 88_172_645_463_325_252;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        for step in 0..1500_usize {
            let (at, len) = (random(300_000), random(40_000));
            match random(8) {
                0 => {
                    file.set_len(at as u64).unwrap();
                    model.resize(at, 0);
                }
                1 => {
                    drop(file);
                    file = File::options().read(true).write(true).open(&path).unwrap();
                }
                2..5 => {
                    let data = vec![step as u8; len];
                    file.write_all_at(&data, at as u64).unwrap();
                    if len > 0 {
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].fill(step as u8);
                    }
                }
                _ => {
                    let mut data = vec![0xaa; len];
                    let n = file.read_at(&mut data, at as u64).unwrap();
                    let expected = model.get(at..).unwrap_or_default();
                    let expected = &expected[..expected.len().min(len)];
                    assert_eq!(&data[..n], expected, "step {step}, {cache:?}");
                }
            }
        }
        file.sync_all().unwrap();
        assert_eq!(fs::read(mounted.share.join("file")).unwrap(), model);
    }
}

#[test]
#[ignore = "needs root and /dev/fuse"]
fn what_the_host_changes_shows_within_a_second() {
    let mounted = Mounted::new(Cache::Auto);
    let (host, guest) = (mounted.share.join("file"), mounted.at.join("file"));
    fs::write(&host, "one").unwrap();
    assert_eq!(fs::read_to_string(&guest).unwrap(), "one");
    let open = File::open(&guest).unwrap();
    fs::write(&host, "second").unwrap();
    assert_eq!(
        fs::read_to_string(&guest).unwrap(),
        "second",
        "opened after the change"
    );
    fs::write(mounted.share.join("new"), "third one").unwrap();
    fs::rename(mounted.share.join("new"), &host).unwrap();
    sleep(Duration::from_millis(1100));
    assert_eq!(fs::read_to_string(&guest).unwrap(), "third one");
    let mut data = [0; 6];
    open.read_exact_at(&mut data, 0).unwrap();
    assert_eq!(&data, b"second", "the file that was opened");
    fs::remove_file(&host).unwrap();
    sleep(Duration::from_millis(1100));
    assert!(!guest.exists());
}

#[test]
#[ignore = "needs root and /dev/fuse"]
fn a_process_waits_for_a_lock_and_can_be_killed_while_it_does() {
    let mounted = Mounted::new(Cache::Auto);
    fs::write(mounted.share.join("file"), "").unwrap();
    let start = Instant::now();
    let script = "flock file sleep 0.4 & sleep 0.1; flock file true; wait";
    run("sh", &["-c", script], &mounted.at);
    assert!(start.elapsed() >= Duration::from_millis(400));
    let host = File::open(mounted.share.join("file")).unwrap();
    rustix::fs::flock(&host, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let killed = Command::new("timeout")
        .args(["-s", "KILL", "0.3", "flock", "file", "true"])
        .current_dir(&mounted.at)
        .status()
        .unwrap();
    assert!(!killed.success());
    let busy = Command::new("flock")
        .args(["-n", "file", "true"])
        .current_dir(&mounted.at)
        .status();
    assert_eq!(busy.unwrap().code(), Some(1));
    drop(host);
    run("flock", &["-n", "file", "true"], &mounted.at);
}

#[test]
#[ignore = "needs root and /dev/fuse"]
fn an_overlay_over_a_read_only_share_can_be_a_root() {
    let temp = tempfile::tempdir().unwrap();
    let [share, at, top] = ["share", "at", "top"].map(|name| {
        let path = temp.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    });
    let tree = "mkdir -p etc/dir usr && echo old > etc/file && ln -s file etc/link && touch usr/x";
    run("sh", &["-c", tree], &share);
    let server = serve(&spec(&share, true, Cache::Always), &at);
    mount("top", &top, "tmpfs", MountFlags::empty(), None).unwrap();
    run("mkdir", &["up", "work", "root"], &top);
    let script = "mount -t overlay root -o lowerdir=$0,upperdir=up,workdir=work root && cd root &&
        test \"$(cat etc/link)\" = old && echo new > etc/file && rm usr/x && touch etc/dir/made &&
        mv etc/dir etc/moved && ln etc/file etc/hard && chmod 600 etc/file && ls -lR . &&
        test ! -e usr/x && test -e etc/moved/made && test \"$(cat etc/hard)\" = new &&
        cd .. && umount root";
    run("sh", &["-c", script, at.to_str().unwrap()], &top);
    assert_eq!(fs::read_to_string(share.join("etc/file")).unwrap(), "old\n");
    assert!(share.join("usr/x").exists());
    unmount(&top, UnmountFlags::empty()).unwrap();
    unmount(&at, UnmountFlags::empty()).unwrap();
    server.join().unwrap();
}
