//! Nothing is left of VMs that are ended at any moment of their life, by any signal: on the network of a namespace of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pcp_vmm_tests::guests::{Code, Stop};
use pcp_vmm_tests::time::{limit, wait_until};
use pcp_vmm_tests::{leftovers, program};
use rustix::process::{Pid, Signal, kill_process};

use super::small;

/// How many are ended.
const ROUNDS: u32 = 50;

/// A network namespace with a bridge, and folders for what runs there.
struct Place {
    holder: Child,
    folder: tempfile::TempDir,
    mark: String,
    links: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        let script = "ip link set lo up && ip link add pcpkill type bridge && ip link set pcpkill up && echo up \
            && exec sleep 3600";
        let holder = unshare
            .args(["--net", "sh", "-c", script])
            .stdout(Stdio::piped())
            .env("PATH", path())
            .spawn()
            .unwrap();
        let mut place = Self {
            holder,
            mark: format!("PCP_VMM_TEST_RUN={}", folder.path().display()),
            folder,
            links: String::new(),
        };
        wait_until("the namespace", 20, || {
            let comm = format!("/proc/{}/comm", place.holder.id());
            fs::read_to_string(comm).is_ok_and(|name| name == "sleep\n")
        })
        .unwrap();
        fs::create_dir(place.path("places")).unwrap();
        place.links = place.links();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `words`, to be run on the namespace's network.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net"]);
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        let (name, value) = self.mark.split_once('=').unwrap();
        command
            .arg("--")
            .args(words)
            .env(name, value)
            .env("PATH", path())
            .env("HOME", self.path("home"))
            .env("PCP_VMM_RUNTIME_DIR", self.path("runtime"))
            .env("PCP_VMM_STATE_DIR", self.path("state"))
            .env("PCP_VMM_LOG_DIR", self.path("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn vmm(&self, words: &[&str]) -> Command {
        let program = program().unwrap();
        self.command(&[&[program.to_str().unwrap()], words].concat())
    }

    fn links(&self) -> String {
        let output = self
            .command(&["ip", "-o", "link"])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split(": ").nth(1));
        names.collect::<Vec<_>>().join(" ")
    }

    /// The lines of a table of the namespace's network that have `words`.
    fn table(&self, name: &str, words: &str) -> Vec<String> {
        let path = format!("/proc/{}/net/{name}", self.holder.id());
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| line.contains(words));
        lines.map(str::to_owned).collect()
    }

    /// All that is there and should not be, after who looks has tidied up.
    fn left(&self) -> String {
        let listed = self
            .vmm(&["ls", "-q"])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let mut left = vec![String::from_utf8(listed.stdout).unwrap()];
        for folder in ["runtime", "places", "state/deploy"] {
            let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
            let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
            let names = names.filter(|name| folder != "places" || !is_draft(name));
            left.extend(names.map(|name| format!("{folder}/{name}\n")));
        }
        // Who listens, by TCP and UDP, and who has claimed an identifier.
        for (name, words) in [("tcp", " 0A "), ("udp", " 07 "), ("unix", "@pcp-vmm")] {
            left.extend(self.table(name, words));
        }
        let links = self.links();
        if links != self.links {
            left.push(links);
        }
        let processes = leftovers::processes(&self.mark);
        left.extend(processes.iter().map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("process {pid}: {}\n", String::from_utf8_lossy(&line))
        }));
        left.concat()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.vmm(&["kill", "--all"]).status();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Whether the file is half-written: it goes when the whole one is written the next time.
fn is_draft(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".new")
}

fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap())
}

/// Numbers that nobody can tell before (xorshift64, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(u64::try_from(now.as_nanos()).unwrap() | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
}

/// Sends `child` `kind`, and again if one is only a wish, until it ends.
fn end(child: &mut Child, kind: Signal) {
    signal(child.id(), kind);
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < limit(20), "it does not end by {kind:?}");
        std::thread::sleep(Duration::from_millis(10));
        if kind == Signal::INT {
            signal(child.id(), kind);
        }
    }
}

/// A guest of a life of its own: it speaks for a while, and then powers off.
fn guest(place: &Place) -> String {
    let kernel = place.path("kernel");
    let code = Code::default().repeat(b'.', 30_000).stop(Stop::PowerOff);
    code.write(&kernel).unwrap();
    kernel.to_str().unwrap().to_owned()
}

/// The flags of a VM that has all that can be left.
fn flags(place: &Place, kernel: &str, name: &str, net: &str) -> Vec<String> {
    let at = |what: &str| place.text(&format!("places/{name}.{what}"));
    let words = [
        "--kernel", kernel, "--memory", "128M", "--cpus", "1", "--net", net,
    ];
    let mut words: Vec<String> = words.map(str::to_owned).into();
    for (flag, value) in [
        ("--console", format!("serial=unix={}", at("serial"))),
        ("--console", "virtio=tcp=127.0.0.1:7001".to_owned()),
        ("--vsock", format!("socket={}", at("vsock"))),
        ("--control", at("control")),
    ] {
        words.extend([flag.to_owned(), value]);
    }
    if net == "user" {
        let forwards = ["127.0.0.1:7022:22", "udp:127.0.0.1:7053:53"];
        words.extend(
            forwards
                .iter()
                .flat_map(|it| ["--forward".to_owned(), (*it).to_owned()]),
        );
    }
    words
}

/// Nothing is left of `what`, which was ended by `how`.
fn nothing_is_left(place: &Place, what: &str) {
    let gone = wait_until("the end of all", 10, || place.left().is_empty());
    assert!(gone.is_ok(), "{what} left:\n{}", place.left());
}

const SIGNALS: [Signal; 3] = [Signal::KILL, Signal::TERM, Signal::INT];
const TAP: &str = "tap,ifname=pcpk0,bridge=pcpkill,vhost=off";

#[test]
fn nothing_is_left_of_vms_with_taps_forwards_and_sockets_whenever_they_end() {
    let place = Place::new();
    let kernel = guest(&place);
    let run = |net: &str| {
        let flags = flags(&place, &kernel, "brief", net);
        let words = ["run", "--name", "brief"];
        let words: Vec<&str> = words
            .into_iter()
            .chain(flags.iter().map(String::as_str))
            .collect();
        place.vmm(&words)
    };
    // How long it lives if nobody ends it.
    let begin = Instant::now();
    let life = ["user", TAP].map(|net| {
        let output = run(net).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        nothing_is_left(&place, net);
    });
    let life = u64::try_from(begin.elapsed().as_micros()).unwrap() / life.len() as u64;
    let mut random = Random::new();
    for round in 0..ROUNDS {
        let net = ["user", TAP][round as usize % 2];
        let kind = SIGNALS[round as usize % 3];
        let mut vm = run(net).spawn().unwrap();
        let moment = random.below(life);
        std::thread::sleep(Duration::from_micros(moment));
        end(&mut vm, kind);
        nothing_is_left(
            &place,
            &format!("{net} after {moment} µs of {life} by {kind:?}"),
        );
    }
    kept_on_purpose(&place);
}

/// The state folder holds what was assigned, and nothing half-written after the next change.
fn kept_on_purpose(place: &Place) {
    let mut assign = place.vmm(&["ids", "assign", "last"]);
    assert!(assign.status().unwrap().success());
    let entries = fs::read_dir(place.path("state")).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "deploy").collect();
    names.sort();
    assert_eq!(names, ["ids.json"]);
}

/// The process that runs the VM `name`, if there is one.
fn process_of(place: &Place, name: &str) -> Option<u32> {
    let text = fs::read(place.path("runtime").join(name).join("instance.json")).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&text).ok()?;
    u32::try_from(record["pid"].as_u64()?).ok()
}

/// A guest that goes on.
fn lasting(place: &Place) -> String {
    let kernel = place.path("kernel");
    Code::default().stop(Stop::Halt).write(&kernel).unwrap();
    kernel.to_str().unwrap().to_owned()
}

#[test]
fn nothing_is_left_of_daemons_whenever_they_or_who_starts_them_are_ended() {
    let place = Place::new();
    let kernel = lasting(&place);
    let pid_file = place.text("places/pid");
    let mut random = Random::new();
    for round in 0..ROUNDS {
        let net = ["user", TAP][round as usize % 2];
        let flags = flags(&place, &kernel, "d", net);
        let words = ["run", "--daemon", "--name", "d", "--pid-file", &pid_file];
        let words: Vec<&str> = words
            .into_iter()
            .chain(flags.iter().map(String::as_str))
            .collect();
        let mut parent = place.vmm(&words).spawn().unwrap();
        let moment = random.below(150_000);
        std::thread::sleep(Duration::from_micros(moment));
        let kind = SIGNALS[round as usize % 3];
        let of_parent = round % 4 == 3;
        let what = format!("a daemon after {moment} µs by {kind:?} (of its parent: {of_parent})");
        if of_parent {
            end(&mut parent, kind);
            // A daemon goes on without who started it.
            std::thread::sleep(Duration::from_millis(random.below(50)));
            let _ = place.vmm(&["kill", "--all"]).status();
        } else if let Some(pid) = process_of(&place, "d") {
            signal(pid, kind);
            if kind == Signal::INT {
                let _ = place.vmm(&["kill", "--all"]).status();
            }
            wait_for(&mut parent, &what);
        } else {
            wait_for(&mut parent, &what);
            let _ = place.vmm(&["kill", "--all"]).status();
        }
        wait_until("what was about to start", 10, || {
            let _ = place.vmm(&["kill", "--all"]).status();
            place.left().is_empty()
        })
        .unwrap_or_else(|_| panic!("{what} left:\n{}", place.left()));
    }
    let kernel = lasting(&place);
    let last = ["run", "--daemon", "--name", "d", "--pid-file", &pid_file];
    let flags = flags(&place, &kernel, "d", "user");
    let words: Vec<&str> = last
        .into_iter()
        .chain(flags.iter().map(String::as_str))
        .collect();
    assert!(place.vmm(&words).status().unwrap().success());
    let _ = place.vmm(&["kill", "--all"]).status();
    wait_until("an empty folder", 10, || {
        fs::read_dir(place.path("places")).unwrap().count() == 0
    })
    .unwrap();
    kept_on_purpose(&place);
}

fn wait_for(child: &mut Child, what: &str) {
    let ended = wait_until("the parent", 30, || child.try_wait().unwrap().is_some());
    assert!(ended.is_ok(), "{what}: its parent does not end");
}

#[test]
fn nothing_is_left_of_a_declared_set_whenever_its_deployment_is_ended() {
    let place = Place::new();
    let kernel = lasting(&place);
    let file = place.path("vms.toml");
    let vm = |name: &str, net: &str, after: &str| {
        let vsock = format!("socket={}", place.text(&format!("places/{name}.vsock")));
        let flags = [&small(&kernel)[..], &["--net", net, "--vsock", &vsock]].concat();
        format!(
            "[vm.{name}]\nrun = {}\nafter = [{after}]\n",
            serde_json::json!(flags)
        )
    };
    let text = [
        vm("a", TAP, ""),
        vm("b", "user", ""),
        vm("c", "none", "\"a\""),
    ]
    .concat();
    fs::write(&file, text).unwrap();
    let deploy = |more: &[&str]| place.vmm(&[&["deploy", file.to_str().unwrap()], more].concat());
    let mut random = Random::new();
    for round in 0..ROUNDS {
        let mut deployment = deploy(&[]).spawn().unwrap();
        let moment = random.below(400_000);
        std::thread::sleep(Duration::from_micros(moment));
        let kind = SIGNALS[round as usize % 3];
        let what = format!("a deployment after {moment} µs by {kind:?}");
        end(&mut deployment, kind);
        // A guest of one instruction heeds no button: it is spared the wait.
        let are_gone = || {
            let _ = place.vmm(&["kill", "--all"]).status();
            leftovers::processes(&place.mark).is_empty()
        };
        wait_until("the end of the VMs", 20, are_gone).unwrap();
        assert!(
            deploy(&["--undeploy"]).status().unwrap().success(),
            "{what}"
        );
        nothing_is_left(&place, &what);
    }
    kept_on_purpose(&place);
}

#[test]
fn vms_on_pcps_bridge_have_addresses_of_their_own() {
    let place = Place::new();
    let kernel = lasting(&place);
    let rename = place
        .command(&["ip", "link", "set", "pcpkill", "name", "pcpbr0"])
        .status();
    assert!(rename.unwrap().success());
    let start = |name: &str, tap: &str| {
        let net = format!("tap,ifname={tap},bridge=pcpbr0,vhost=off");
        let own = ["run", "--daemon", "--name", name, "--net", &net];
        let words = [&own[..], &small(&kernel)].concat();
        place.vmm(&words).stderr(Stdio::piped()).output().unwrap()
    };
    for name in ["a", "b", "c"] {
        let output = start(name, &format!("pcp{name}"));
        assert!(output.status.success(), "{output:?}");
    }
    let second = start("d", "pcpa");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another VM uses the TAP `pcpa`"), "{said}");
    let ask = |words: &[&str]| -> serde_json::Value {
        let output = place.vmm(words).stdout(Stdio::piped()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let listed = ask(&["ls", "--json"]);
    let addresses: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["address"])
        .collect();
    assert_eq!(addresses, ["10.177.0.21", "10.177.0.22", "10.177.0.23"]);
    let ids = ask(&["ids", "export"]);
    let macs = ids["values"]["macs"].as_object().unwrap();
    let inspected = ask(&["inspect", "a", "b", "c"]);
    for vm in inspected.as_array().unwrap() {
        let devices = vm["record"]["spec"]["devices"].as_array().unwrap();
        let mac = devices
            .iter()
            .find_map(|it| it["net"]["mac"].as_array())
            .unwrap();
        let mac: Vec<String> = mac
            .iter()
            .map(|it| format!("{:02x}", it.as_u64().unwrap()))
            .collect();
        assert_eq!(macs[vm["name"].as_str().unwrap()], mac.join(":"));
    }
    let _ = place.vmm(&["kill", "--all"]).status();
    assert!(!Path::new("/sys/class/net/pcpa").exists());
}
