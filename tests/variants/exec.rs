//! Commands in VMs of their own, with the kernel of the base guest.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use pcp_vmm_tests::program;
use pcp_vmm_tests::time::{limit, wait_until};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn image() -> PathBuf {
    let images = std::env::var_os("PCP_VMM_IMAGES").expect("PCP_VMM_IMAGES names the images");
    PathBuf::from(images).join("base")
}

/// A folder for the runtime directory and a report.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// `exec` with `flags`, ready to be given streams.
    pub(crate) fn exec(&self, flags: &[&str], command: &[&str]) -> Command {
        let modules = fs::read_dir(image().join("root/usr/lib/modules")).unwrap();
        let modules = modules.last().unwrap().unwrap().path();
        let mut exec = Command::new(program().unwrap());
        exec.args(["exec", "--kernel"]).arg(image().join("kernel"));
        exec.arg("--modules").arg(modules);
        exec.arg("--report").arg(self.0.path().join("report"));
        exec.arg("--runtime-dir").arg(self.0.path().join("running"));
        exec.args(flags).arg("--").args(command);
        exec
    }

    pub(crate) fn output(&self, flags: &[&str], command: &[&str]) -> Output {
        let mut exec = self.exec(flags, command);
        exec.stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn report(&self) -> Value {
        let text = fs::read_to_string(self.0.path().join("report")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Where all of it is.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Nothing is left of the VMs.
    pub(crate) fn is_clean(&self) {
        let left = fs::read_dir(self.0.path().join("running")).unwrap();
        let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_command_has_its_callers_surroundings_and_its_own_status() {
    let place = Place::new();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(folder.path().join("input"), "from the host").unwrap();
    let script =
        "cat input; echo \" $GREETING\"; uname -r; echo apart >&2; echo x >made; cat made; exit 7";
    let mut exec = place.exec(&["--env", "GREETING=hello"], &["sh", "-c", script]);
    let output = exec
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let report = place.report();
    let version = report["kernel"]["version"].as_str().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(out, format!("from the host hello\n{version}\nx\n"));
    assert_eq!(output.stderr, b"apart\n");
    assert!(
        !folder.path().join("made").exists(),
        "a change reached the host"
    );
    assert_eq!(report["status"], 7);
    assert!(report["boot_ms"].as_f64().unwrap() > 0.0);
    place.is_clean();
}

#[test]
fn a_writable_folder_and_the_network_reach_the_host() {
    let place = Place::new();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"over the network\n").unwrap();
    });
    let script = format!(
        "cat </dev/tcp/10.0.2.2/{port} >answer; hostname >>answer; ip -brief address show dev lo | grep -q 127.0.0.1"
    );
    let path = folder.path().to_str().unwrap();
    let mut exec = place.exec(&["--rw", path], &["bash", "-c", &script]);
    let output = exec
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    server.join().unwrap();
    let answer = fs::read_to_string(folder.path().join("answer")).unwrap();
    assert_eq!(answer, "over the network\npcp-vmm\n");
    place.is_clean();
}

#[test]
fn streams_are_carried_byte_for_byte() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    let mut exec = place.exec(
        &["--user", "65534:65534"],
        &["sh", "-c", "id -u >&2; exec cat"],
    );
    let streams = exec.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = streams.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stdout == bytes, "{} bytes", output.stdout.len());
    assert_eq!(output.stderr, b"65534\n");
}

#[test]
fn every_kind_of_end_is_told() {
    let place = Place::new();
    let end = |flags: &[&str], command: &[&str], status: i32, reason: &str| {
        let output = place.output(flags, command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{command:?}: {said}");
        assert_eq!(place.report()["reason"], reason);
        said
    };
    end(&[], &["sh", "-c", "kill -SEGV $$"], 139, "signalled");
    assert_eq!(place.report()["signal"], 11);
    let said = end(&[], &["no-such-command"], 127, "not-found");
    assert!(said.contains("No such file"), "{said}");
    end(&[], &["/etc/passwd"], 126, "not-executable");
    let said = end(&["--timeout", "60"], &["sleep", "9999"], 124, "timeout");
    assert!(said.contains("`sleep 9999` still ran after 60 s"), "{said}");
    // A child that goes on does not hold its parent's end up.
    end(&[], &["sh", "-c", "sleep 9999 & exit 3"], 3, "exited");
    let crash = "echo c >/proc/sysrq-trigger";
    let said = end(&[], &["sh", "-c", crash], 125, "guest-panic");
    assert!(said.contains("sysrq triggered crash"), "{said}");
    place.is_clean();
}

#[test]
fn a_signal_reaches_the_command_and_its_end_ends_the_vm() {
    let place = Place::new();
    let script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let mut exec = place.exec(&[], &["bash", "-c", script]);
    let mut child = exec
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut said = [0; 6];
    out.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready\n");
    let pid = i32::try_from(child.id()).unwrap();
    let term = |pid| {
        Command::new("kill")
            .arg("-TERM")
            .arg(format!("{pid}"))
            .status()
            .unwrap()
    };
    assert!(term(pid).success());
    let status = child.wait().unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((status.code(), rest.as_str()), (Some(5), "caught\n"));
    // A caller that is killed leaves no VM.
    let mut exec = place.exec(&[], &["sh", "-c", "echo ready; sleep 9999"]);
    exec.process_group(0);
    let mut child = exec
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut said).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let begin = Instant::now();
    wait_until("the VM's end", 20, || {
        let left = fs::read_dir(place.0.path().join("running")).unwrap();
        left.count() == 0
    })
    .unwrap();
    assert!(begin.elapsed() < limit(20));
}

#[test]
fn a_guest_may_have_another_root_further_folders_and_disks() {
    let place = Place::new();
    let [read, written] = [(); 2].map(|()| tempfile::tempdir_in("/var/tmp").unwrap());
    fs::write(read.path().join("word"), "shared\n").unwrap();
    let disk = read.path().join("disk");
    fs::write(&disk, "on a disk\n".repeat(1 << 17)).unwrap();
    let shares = [
        format!("{}:/in/the/guest:ro", read.path().display()),
        format!("{}:/out", written.path().display()),
    ];
    let script = "pwd; cat /in/the/guest/word; head -n 1 /dev/vda; cut -d. -f1 /etc/debian_version
        touch /in/the/guest/no 2>/dev/null || echo refused; echo made >/out/made; touch /etc/here";
    let root = image();
    let flags = [
        "--root",
        root.to_str().unwrap(),
        "--share",
        &shares[0],
        "--share",
        &shares[1],
        "--disk",
        &format!("{},ro", disk.display()),
    ];
    let output = place.output(&flags, &["sh", "-c", script]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(out, "/\nshared\non a disk\n13\nrefused\n");
    let made = fs::read_to_string(written.path().join("made")).unwrap();
    assert_eq!(made, "made\n");
    assert!(!root.join("root/etc/here").exists());
    place.is_clean();
}

#[test]
fn a_root_may_be_an_image_which_stays_as_it_is() {
    let place = Place::new();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs::create_dir(&tree).unwrap();
    // Programs of the host need its libraries; this one needs nothing, and says so.
    let mut agent = Command::new(program().unwrap());
    let agent = agent.args(["agent", "--program"]).arg(tree.join("program"));
    assert!(agent.status().unwrap().success());
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&image);
    assert!(make.arg("16M").status().unwrap().success());
    let before = fs::read(&image).unwrap();
    let flags = ["--root", image.to_str().unwrap()];
    let output = place.output(&flags, &["/program"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("it does nothing here"), "{said}");
    let output = place.output(&flags, &["/bin/sh"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert!(
        fs::read(&image).unwrap() == before,
        "the image was written to"
    );
    place.is_clean();
}
