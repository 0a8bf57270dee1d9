//! What commands and guests do to themselves, to their terminal and to the host's files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{Stream, leftovers};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::exec::Place;

/// How many callers are killed; `PCP_VMM_KILLS` asks for another number.
const KILLS: u64 = 8;

#[test]
fn a_guest_that_cannot_go_on_is_no_end_of_the_command() {
    let place = Place::new();
    let end = |flags: &[&str], script: &str, reason: &str| {
        let output = place.output(flags, &["sh", "-c", script]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert_eq!(place.report()["reason"], reason);
        said
    };
    let all = "echo 1 >/proc/sys/vm/panic_on_oom; tail /dev/zero";
    let said = end(&["--memory", "256M"], all, "out-of-memory");
    assert!(said.contains("panicked: Out of memory"), "{said}");
    let said = end(&["--kernel-arg", "pcpvmm.nonsense=1"], "true", "init-died");
    assert!(
        said.contains("an unknown setting `pcpvmm.nonsense`"),
        "{said}"
    );
    // One that lives on without its biggest process ends it as any system does.
    let output = place.output(&["--memory", "256M"], &["tail", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("memory ran out"), "{said}");
    place.is_clean();
}

#[test]
fn a_layer_in_a_folder_keeps_changes_for_the_next_guest() {
    let place = Place::new();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let layer = folder.path().join("layer");
    let flags = ["--overlay", layer.to_str().unwrap()];
    let change = "echo kept >/etc/made; rm /etc/fstab; mkdir /srv/new; mv /etc/hostname /srv/new/; chmod 700 /opt";
    let before = fs::read("/etc/hostname").unwrap();
    let output = place.output(&flags, &["sh", "-c", change]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let look = "cat /etc/made; ls /etc/fstab /etc/hostname 2>/dev/null; ls /srv/new; stat -c %a /opt; ls /etc/made";
    let output = place.output(&flags, &["sh", "-c", look]);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(out, "kept\nhostname\n700\n/etc/made\n");
    assert_eq!(fs::read(layer.join("upper/etc/made")).unwrap(), b"kept\n");
    // What the guest is told of its network is no change.
    assert!(!layer.join("upper/etc/resolv.conf").exists());
    assert_eq!(fs::read("/etc/hostname").unwrap(), before);
    assert!(!Path::new("/etc/made").exists());
    place.is_clean();
}

/// A terminal, and who uses it.
struct Terminal {
    master: OwnedFd,
    screen: Stream,
    user: Child,
}

impl Terminal {
    fn new(place: &Place, flags: &[&str], command: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        resize(master.as_fd(), 30, 90);
        let name = ptsname(&master, Vec::new()).unwrap();
        // A process that leads a session would take it for its own.
        let flags_of_slave = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(open(name.as_c_str(), flags_of_slave, Mode::empty()).unwrap());
        let mut exec = place.exec(flags, command);
        let stream = || Stdio::from(slave.try_clone().unwrap());
        exec.stdin(stream()).stdout(stream()).stderr(stream());
        let user = exec.spawn().unwrap();
        let screen = Stream::read(File::from(master.try_clone().unwrap()));
        Self {
            master,
            screen,
            user,
        }
    }

    fn types(&self, keys: &str) {
        let mut keyboard = File::from(self.master.try_clone().unwrap());
        keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.user), signal).unwrap();
    }
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

#[test]
fn a_terminal_is_one_in_the_guest_with_its_size_and_its_keys() {
    let place = Place::new();
    let script = "tty; stty size; trap 'stty size' WINCH; trap 'echo interrupted; exit 4' INT
        echo ready; while :; do sleep 0.2; done";
    let mut terminal = Terminal::new(&place, &[], &["bash", "-c", script]);
    let at = terminal.screen.wait_for("ready", 60).unwrap();
    let text = terminal.screen.text();
    assert!(text.contains("/dev/pts/0\r\n30 90\r\n"), "{text:?}");
    resize(&terminal.master, 41, 101);
    terminal.signal(Signal::WINCH);
    let at = terminal.screen.wait_for_after(at, "41 101", 30).unwrap();
    terminal.types("\x03");
    terminal
        .screen
        .wait_for_after(at, "interrupted", 30)
        .unwrap();
    assert_eq!(terminal.user.wait().unwrap().code(), Some(4));
    place.is_clean();
}

#[test]
fn a_command_that_fails_leaves_a_shell_in_its_guest_to_who_wants_one() {
    let place = Place::new();
    let flags = [
        "--debug-shell-on-failure",
        "--env",
        "SHELL=/bin/sh",
        "--env",
        "PS1=% ",
    ];
    let script = "touch /tmp/evidence; exit 3";
    let mut terminal = Terminal::new(&place, &flags, &["sh", "-c", script]);
    let at = terminal
        .screen
        .wait_for("this is a shell in its guest", 60)
        .unwrap();
    let at = terminal.screen.wait_for_after(at, "% ", 30).unwrap();
    terminal.types("ls /tmp/evidence && echo $((6*7))\r");
    let at = terminal
        .screen
        .wait_for_after(at, "/tmp/evidence\r\n42", 30)
        .unwrap();
    terminal.types("exit 9\r");
    let _ = at;
    assert_eq!(terminal.user.wait().unwrap().code(), Some(3));
    assert_eq!(place.report()["status"], 3);
    place.is_clean();
    // Without a terminal there is none.
    let output = place.output(&["--debug-shell-on-failure"], &["true"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// Everything below `folder`: its kind, mode, owner, and what is in it.
fn fingerprint(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let inside = match meta.file_type() {
            kind if kind.is_file() => format!("{:?}", fs::read(&path).unwrap()),
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            _ => String::new(),
        };
        let (mode, owner, links) = (meta.mode(), meta.uid(), meta.nlink());
        let time = (meta.mtime(), meta.mtime_nsec());
        let text = format!("{mode:o} {owner} {links} {time:?} {inside}");
        if meta.is_dir() {
            all.extend(fingerprint(&path));
        }
        all.insert(path.display().to_string(), text);
    }
    all
}

#[test]
fn a_guest_that_tries_everything_changes_what_it_was_given_alone() {
    let place = Place::new();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["victim", "read", "given", "victim/inner"] {
        fs::create_dir(at(name)).unwrap();
    }
    for name in [
        "victim/secret",
        "victim/inner/more",
        "read/only",
        "given/mine",
    ] {
        fs::write(at(name), name).unwrap();
    }
    std::os::unix::fs::symlink("../victim", at("given/old-link")).unwrap();
    let before = [at("victim"), at("read"), "/etc".into()].map(|it| fingerprint(&it));
    let script = "
        ln -s ../../../../../../../../etc up; ln -s ../victim/secret link; ln -s /read/only other
        echo broken >link; echo broken >other; echo broken >old-link/secret; echo broken >../victim/secret
        rm -rf ../victim/inner up/passwd; mv /read/only moved; mv mine /read/mine; mv /read . ; ln /read/only hard
        mknod disk b 8 0; mknod kmem c 1 2; dd if=/dev/zero of=disk count=1; chmod 6777 mine; chown 0:0 mine
        mkdir -p deep/er; mv deep /read/; cd deep/er; rmdir $PWD; mkdir ../../../../victim/new; cd /given
        mount -o remount,rw /read; mount -o remount,rw /; mount --bind /read /given; umount /given
        for n in $(seq 50); do ln -sfn /etc flip; ln -sfn ../victim flip; echo x >flip/secret; done
        rm -rf /given/* /etc /srv; timeout 15 rm -rf --no-preserve-root / 2>/dev/null; echo still here";
    let shares = [
        format!("{}:/given", at("given").display()),
        format!("{}:/read:ro", at("read").display()),
    ];
    let flags = [
        "--share", &shares[0], "--share", &shares[1], "--cwd", "/given", "--user", "0",
    ];
    let output = place.output(&flags, &["bash", "-c", script]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out, "still here\n", "{output:?}");
    let after = [at("victim"), at("read"), "/etc".into()].map(|it| fingerprint(&it));
    assert!(
        before == after,
        "the guest changed files that it was not given"
    );
    // It had its own: its last act removed all that was there.
    let left = fs::read_dir(at("given")).unwrap().count();
    assert_eq!(left, 0, "what the guest removed is still there");
    place.is_clean();
}

#[test]
fn callers_that_are_killed_at_any_moment_leave_nothing() {
    let place = Place::new();
    let kills = std::env::var("PCP_VMM_KILLS").ok();
    let kills = kills.map_or(KILLS, |text| text.parse().unwrap());
    let shared = tempfile::tempdir_in("/var/tmp").unwrap();
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
    let temporary = || fs::read_dir("/tmp").unwrap().count();
    let before = (mounts(), temporary());
    let mut moment = 0x9e37_79b9_u64;
    for round in 0..kills {
        let mark = format!("PCP_VMM_TEST_KILL={}-{round}", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let flags = ["--rw", shared.path().to_str().unwrap()];
        let mut exec = place.exec(&flags, &["sh", "-c", "echo up; sleep 1; echo over"]);
        exec.env(name, value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut caller = exec.stderr(Stdio::null()).spawn().unwrap();
        let mut out = caller.stdout.take().unwrap();
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round);
        // A guest is up after some five seconds in the lab.
        std::thread::sleep(Duration::from_millis((moment >> 33) % 9_000));
        let signal = [Signal::KILL, Signal::TERM, Signal::HUP][usize::try_from(round % 3).unwrap()];
        let _ = kill_process(Pid::from_child(&caller), signal);
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        caller.wait().unwrap();
        let left = || {
            let running = fs::read_dir(place.folder().join("running"));
            let folders = running.map_or(0, Iterator::count);
            (leftovers::processes(&mark), folders)
        };
        wait_until("nothing to be left", 20, || left() == (Vec::new(), 0))
            .unwrap_or_else(|error| panic!("round {round}, {signal:?}: {error}: {:?}", left()));
    }
    assert_eq!((mounts(), temporary()), before);
}
