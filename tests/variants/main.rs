//! Tests with the guests of the variants, as `pcp-vmm image build` makes them; for machines with
//! hardware behind KVM, or the lab. `PCP_VMM_IMAGES` names the folder of the bundles.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bpf;
mod exec;
mod flake;
mod inside;
mod lifecycle;
mod nix;
mod outcomes;
mod vmtest;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pcp_vmm_tests::ssh::Ssh;
use pcp_vmm_tests::{Stream, TestVm, time};
use rustix::process::Signal;

/// How long a question to a guest may take.
const ANSWER: Duration = Duration::from_secs(180);
/// Seconds from the start to a guest that answers, on plain hardware.
const BOOT: u64 = 90;

/// A guest of a variant, with its documented ports.
struct Variant {
    vm: TestVm,
    ssh: Ssh,
}

impl Variant {
    /// Starts the guest and waits until SSH and the services answer.
    fn start(name: &str, ssh_port: u16) -> Self {
        Self::start_with(name, ssh_port, &[])
    }

    /// The same, with further `arguments`.
    fn start_with(name: &str, ssh_port: u16, arguments: &[String]) -> Self {
        let images = std::env::var("PCP_VMM_IMAGES").expect("PCP_VMM_IMAGES names the images");
        let bundle = format!("{images}/{name}");
        // As many processors as the lab has: more would wait for each other.
        let cpus = if time::is_lab() { "1" } else { "4" };
        let mut command = vec!["run", "--bundle", &bundle, "--cpus", cpus];
        command.extend(arguments.iter().map(String::as_str));
        let vm = TestVm::start(&command).unwrap();
        let ssh = Ssh::new(ssh_port, "pcp").unwrap();
        let answers = || ssh.text("true", ANSWER).is_ok();
        time::wait_until("the guest's SSH server", BOOT, answers).unwrap();
        Self { vm, ssh }
    }

    /// What `words` prints in the guest.
    fn ask(&self, words: &str) -> String {
        self.ssh.text(words, ANSWER).unwrap()
    }

    /// Waits until `words` succeeds in the guest.
    fn until(&self, words: &str) {
        let succeeds = || {
            self.ssh
                .run(words, ANSWER)
                .is_ok_and(|o| o.status.success())
        };
        time::wait_until(words, BOOT, succeeds).unwrap();
    }

    /// Powers the guest off from within and checks how the program ended.
    fn power_off(self) {
        // The connection may end before the command does.
        let _ = self.ssh.run("systemctl poweroff", ANSWER);
        let ended = self.vm.wait(60).unwrap();
        assert_eq!(ended.code, 0, "{}", ended.err);
    }
}

/// The processes that `pgrep -f` finds, as PCP's scripts look for a VM.
fn pgrep(pattern: &str) -> Vec<u32> {
    let output = Command::new("pgrep")
        .args(["-f", pattern])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// The body of an HTTP answer.
fn http(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
    body.to_owned()
}

/// The SSH key that a VM made for the folder in which it was started; `home` is the fixture's.
fn folders_key(home: &Path) -> PathBuf {
    let keys = std::fs::read_dir(home.join("state/keys")).expect("a key");
    let keys: Vec<PathBuf> = keys.map(|it| it.unwrap().path()).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].join("id_ed25519")
}

#[test]
fn the_base_guest_serves_metrics_consoles_and_ssh() {
    let guest = Variant::start("base", 22022);
    assert_eq!(pgrep("process=pcp-vm"), [guest.vm.pid()]);
    assert_eq!(pgrep("microvm@pcp-vm"), [guest.vm.pid()]);

    guest.until("systemctl is-active pmcd pmproxy pmlogger");
    guest.until("pminfo -f kernel.all.load | grep -q value");
    assert!(guest.ask("pminfo -f kernel.all.load").contains("1 minute"));

    // pmproxy numbers its contexts at random: the first question makes one, the second uses it.
    let made = http(44322, "/pmapi/context?hostspec=localhost&polltimeout=60");
    let context = made.split("\"context\":").nth(1).expect("a context");
    let context: String = context.chars().take_while(char::is_ascii_digit).collect();
    let values = http(
        44322,
        &format!("/pmapi/{context}/fetch?names=kernel.all.load"),
    );
    assert!(
        values.contains("kernel.all.load") && values.contains("value"),
        "{values}"
    );
    // The documented question names a context that may not exist; pmproxy answers it in JSON too.
    let answer = http(44322, "/pmapi/1/metrics?target=kernel.all.load");
    assert!(answer.starts_with('{'), "{answer}");

    // The key of the folder in which it was started lets its user in, and needs no password.
    let key = folders_key(guest.vm.folder());
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-p", "22022", "-o", "BatchMode=yes"]);
    ssh.args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    ssh.args([
        "-o",
        "PasswordAuthentication=no",
        "-o",
        "IdentitiesOnly=yes",
        "-i",
    ]);
    let output = ssh
        .arg(key)
        .args(["root@localhost", "id -un"])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"root\n", "{output:?}");

    // Whoever comes late to the serial console still reads the kernel's first line.
    let late = Stream::read(TcpStream::connect("127.0.0.1:24500").unwrap());
    late.wait_for("login:", 20).unwrap();
    assert!(late.text().contains("] Linux version "), "{}", late.text());

    let socket = TcpStream::connect("127.0.0.1:24501").unwrap();
    let mut keys = socket.try_clone().unwrap();
    let console = Stream::read(socket);
    let login = console.wait_for("login: ", 20).unwrap();
    keys.write_all(b"root\r").unwrap();
    let password = console.wait_for_after(login, "assword: ", 20).unwrap();
    keys.write_all(b"pcp\r").unwrap();
    let shell = console.wait_for_after(password, "# ", 30).unwrap();
    keys.write_all(b"echo $((6*7))-$(tty)\r").unwrap();
    console.wait_for_after(shell, "42-/dev/hvc0", 20).unwrap();

    guest.power_off();
    assert!(TcpStream::connect("127.0.0.1:24500").is_err());
}

#[test]
fn the_bpf_guest_traces_and_has_type_information_and_its_credentials() {
    let given = Credentials::new();
    let guest = Variant::start_with("bpf", 22322, &given.arguments());
    given.check(&guest);
    assert!(
        guest
            .ask("test -s /sys/kernel/btf/vmlinux && echo present")
            .contains("present")
    );
    let said = guest.ask(r#"bpftrace -e 'BEGIN { printf("ok\n"); exit(); }'"#);
    assert!(said.lines().any(|line| line == "ok"), "{said}");
    guest.until("systemctl is-active pmcd pmproxy prometheus-node-exporter");
    guest.power_off();
}

/// Credentials for a guest's service manager.
struct Credentials {
    folder: tempfile::TempDir,
    all: Vec<(&'static str, String)>,
}

impl Credentials {
    /// One that is small comes by both ways. A name of more than 28 letters has SMBIOS alone, and its
    /// value may be long.
    fn new() -> Self {
        let text = |length: usize| "0123456789abcdef".chars().cycle().take(length).collect();
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<(_, String)> = vec![
            ("motto", "festina lente".to_owned()),
            ("a-name-that-is-too-long-for-a-file", text(50_000)),
        ];
        for (name, value) in &all {
            std::fs::write(folder.path().join(name), value).unwrap();
        }
        Self { folder, all }
    }

    fn arguments(&self) -> Vec<String> {
        let argument = |(name, _): &(&str, String)| {
            let file = self.folder.path().join(name);
            format!("--credential={name}=@{}", file.display())
        };
        self.all.iter().map(argument).collect()
    }

    /// The guest's service manager imported them all and hands one to a unit that asks for it.
    fn check(&self, guest: &Variant) {
        for (name, value) in &self.all {
            let said = guest.ask(&format!("systemd-creds --system cat {name}"));
            assert_eq!(said.trim_end(), value.trim_end(), "{name}");
        }
        let unit =
            "systemd-run --quiet --wait --pipe -p LoadCredential=motto systemd-creds cat motto";
        assert_eq!(guest.ask(unit).trim_end(), "festina lente");
    }
}

#[test]
fn one_interrupt_shuts_the_base_guest_down_and_sigterm_ends_it() {
    let guest = Variant::start("base", 22022);
    guest.vm.signal(Signal::INT).unwrap();
    let ended = guest.vm.wait(60).unwrap();
    assert_eq!(ended.code, 0, "{}", ended.err);

    let guest = Variant::start("base", 22022);
    guest.vm.signal(Signal::TERM).unwrap();
    let begin = std::time::Instant::now();
    let ended = guest.vm.wait(5).unwrap();
    assert_eq!(ended.code, 128 + 15, "{}", ended.err);
    assert!(begin.elapsed() < time::limit(1), "{:?}", begin.elapsed());
}
