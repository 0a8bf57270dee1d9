//! Many VMs of one bundle, each with ports of its own that it keeps.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use pcp_vmm_tests::guests::{Stop, one_byte};
use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{TestVm, ports};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::instances::{Runtime, errors};
use super::small;

/// A range of ports that no other test of this machine uses while the value lives.
struct Ports {
    first: u16,
    _claim: UnixListener,
}

impl Ports {
    fn claim() -> Self {
        let claim = |number: u16| {
            let name = format!("pcp-vmm-tests/ports/{number}");
            let address = SocketAddr::from_abstract_name(name).unwrap();
            let claim = UnixListener::bind_addr(&address).ok()?;
            Some(Self {
                first: 10_240 + 620 * number,
                _claim: claim,
            })
        };
        (0..18).find_map(claim).expect("a range of ports")
    }

    fn pools(&self) -> Value {
        let first = self.first;
        json!({
            "ports": { "min": first, "max": first + 399 },
            "consoles": { "min": first + 400, "max": first + 619 },
        })
    }
}

/// A checkout: a bundle, and runtime and state folders of its own.
struct Checkout {
    runtime: Runtime,
    folder: tempfile::TempDir,
    ports: Arc<Ports>,
}

impl Checkout {
    fn new() -> Self {
        Self::with(Arc::new(Ports::claim()))
    }

    fn with(ports: Arc<Ports>) -> Self {
        let checkout = Self {
            runtime: Runtime::new(),
            folder: tempfile::tempdir().unwrap(),
            ports,
        };
        fs::create_dir(checkout.path("state")).unwrap();
        let pools = checkout.path("state/idresources.json");
        fs::write(pools, checkout.ports.pools().to_string()).unwrap();
        let [ssh, pmcd, serial, virtio] = [(); 4].map(|()| ports::free().unwrap());
        one_byte(Stop::Halt)
            .write(&checkout.path("kernel"))
            .unwrap();
        let manifest = json!({
            "schema_version": 1, "variant": "base", "hostname": "pcp-test-vm", "process": "pcp-test-vm",
            "kernel": "kernel", "cmdline": "", "root": { "kind": "initrd" }, "shares": [],
            "memory_mib": 128, "cpus": 1, "mac": "02:00:00:0a:cb:01",
            "forwards": [
                { "name": "ssh", "protocol": "tcp", "host": ssh, "guest": 22 },
                { "name": "pmcd", "protocol": "tcp", "host": pmcd, "guest": 44321 },
            ],
            "consoles": [{ "device": "ttyS0", "port": serial }, { "device": "hvc0", "port": virtio }],
            "services": [], "metrics": [], "http_checks": [], "logins": {},
            "build": { "builder": "test", "suite": "none", "kernel_release": "0", "packages": {} },
        });
        fs::write(checkout.path("bundle.json"), manifest.to_string()).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the bundle's guest with `more` arguments.
    fn start(&self, more: &[&str]) -> TestVm {
        let bundle = self.folder.path().to_str().unwrap();
        let words = [&["run", "--bundle", bundle], more].concat();
        let adapt = |command: &mut std::process::Command| {
            command.env("PCP_VMM_RUNTIME_DIR", self.runtime.path());
            command.env("PCP_VMM_STATE_DIR", self.path("state"));
        };
        TestVm::start_with(&words, adapt).unwrap()
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = self.runtime.command(words);
        command.env("PCP_VMM_STATE_DIR", self.path("state"));
        command.output().unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until `count` VMs run, and tells the host ports of each.
    fn wait_for(&self, count: usize) -> Vec<(String, BTreeSet<u16>)> {
        let all_run = || {
            let listed = self.runtime.listed();
            listed.len() == count && listed.iter().all(|(_, state)| state == "running")
        };
        wait_until("the VMs", 60, all_run).unwrap();
        let listed = self.json(&["ls"]);
        let rows = listed.as_array().unwrap().iter();
        let ports = |row: &Value| {
            let words = |field: &str| row[field].as_array().unwrap().clone();
            let forwards = words("forwards").into_iter();
            // `tcp:ADDRESS:HOST:GUEST`.
            let forwards =
                forwards.map(|it| it.as_str().unwrap().rsplit(':').nth(1).unwrap().to_owned());
            let consoles = words("consoles").into_iter();
            let consoles = consoles.map(|it| {
                it["place"]
                    .as_str()
                    .unwrap()
                    .rsplit(':')
                    .next()
                    .unwrap()
                    .to_owned()
            });
            forwards
                .chain(consoles)
                .map(|port| port.parse().unwrap())
                .collect()
        };
        rows.map(|row| (row["name"].as_str().unwrap().to_owned(), ports(row)))
            .collect()
    }
}

fn end(vms: impl IntoIterator<Item = TestVm>) {
    for vm in vms {
        vm.signal(Signal::TERM).unwrap();
        vm.wait(20).unwrap();
    }
}

#[test]
fn twenty_of_one_bundle_start_together_and_each_keeps_its_ports() {
    let checkout = Checkout::new();
    let names: Vec<String> = (0..20).map(|number| format!("web-{number:02}")).collect();
    let start = || -> Vec<TestVm> {
        let named = names.iter().map(|name| checkout.start(&["--name", name]));
        // And the one that the bundle's ports belong to.
        named.chain([checkout.start(&[])]).collect()
    };
    let vms = start();
    let first = checkout.wait_for(21);
    let all: BTreeSet<u16> = first.iter().flat_map(|(_, ports)| ports.clone()).collect();
    assert_eq!(all.len(), 4 * 21, "{first:?}");
    for port in all {
        TcpStream::connect(("127.0.0.1", port)).unwrap_or_else(|error| panic!("{port}: {error}"));
    }
    // What is told where one looks.
    let row = |rows: &Value, name: &str| -> Value {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["name"] == name).unwrap().clone()
    };
    let ids = row(&checkout.json(&["ids", "ls"]), "web-07");
    assert_eq!(ids["running"], true);
    let (_, ports) = first.iter().find(|(name, _)| name == "web-07").unwrap();
    for pool in ["ports", "consoles"] {
        let id = u16::try_from(ids["ids"][pool].as_u64().unwrap()).unwrap();
        assert!(ports.contains(&id) && ports.contains(&(id + 1)), "{ids}");
    }
    let resolved = checkout
        .json(&["inspect", "web-07", "--resolved"])
        .to_string();
    let assigned = resolved.matches("\"origin\":\"assigned\"").count();
    // The process's name, two consoles and two forwards.
    assert_eq!(assigned, 5, "{resolved}");
    end(vms);

    let again = start();
    assert_eq!(checkout.wait_for(21), first);
    end(again);
}

#[test]
fn what_a_vm_has_is_freed_when_it_is_told_so_and_does_not_run() {
    let checkout = Checkout::new();
    let vm = checkout.start(&["--name", "web"]);
    checkout.wait_for(1);
    let first = checkout.ports.first;
    let note = format!(
        "assigned to web: ports from {first}, console ports from {}\n",
        first + 400
    );
    wait_until("the note", 20, || vm.err.text().contains(&note)).unwrap();
    let busy = checkout.run(&["ids", "free", "web"]);
    assert_eq!(busy.status.code(), Some(1), "{busy:?}");
    assert!(errors(&busy).contains("`web` runs"), "{busy:?}");
    end([vm]);
    let exported = checkout.json(&["ids", "export"]);
    let id = exported["ids"]["ports"]["web"].as_u64().unwrap();
    assert_eq!(exported["lastAssignments"]["ports"], id);
    let freed = checkout.run(&["ids", "free", "--all"]);
    assert_eq!(String::from_utf8_lossy(&freed.stdout), "web\n");
    let twice = checkout.run(&["ids", "free", "web"]);
    assert_eq!(twice.status.code(), Some(1));
    assert!(errors(&twice).contains("`web` has none"), "{twice:?}");
    // The next is the one after it, even though nobody has that any more.
    let given = checkout.json(&["ids", "assign", "other"]);
    assert_eq!(given[0]["ids"]["ports"], id + 16);
}

#[test]
fn two_checkouts_that_know_nothing_of_each_other_do_not_clash() {
    let ports = Arc::new(Ports::claim());
    let checkouts = [(); 2].map(|()| Checkout::with(ports.clone()));
    let names = ["a", "b", "c", "d", "e", "f"];
    for round in 0..2 {
        let start = |name: &&str| checkouts.each_ref().map(|it| it.start(&["--name", name]));
        let vms: Vec<TestVm> = names.iter().flat_map(start).collect();
        let mut seen = BTreeSet::new();
        for checkout in &checkouts {
            for (name, ports) in checkout.wait_for(names.len()) {
                for port in ports {
                    assert!(seen.insert(port), "{port} of {name} in round {round}");
                }
            }
        }
        end(vms);
    }
}

#[test]
fn a_port_that_a_stranger_has_taken_meanwhile_is_replaced_and_told() {
    let checkout = Checkout::new();
    let vm = checkout.start(&["--name", "web"]);
    let (_, before) = checkout.wait_for(1).remove(0);
    end([vm]);
    let taken = *before.last().unwrap();
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let vm = checkout.start(&["--name", "web"]);
    let (_, after) = checkout.wait_for(1).remove(0);
    assert!(!after.contains(&taken) && after.len() == 4, "{after:?}");
    wait_until("the warning", 20, || {
        vm.err
            .text()
            .contains("which is in use or in no pool any more")
    })
    .unwrap();
    end([vm]);
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_a_remedy() {
    let checkout = Checkout::new();
    let state = checkout.path("state");
    for (file, text, why, remedy) in [
        ("ids.json", "{", "does not hold assigned", "remove"),
        ("ids.json", "{\"version\":7}", "a version that", "newer"),
        (
            "idresources.json",
            "{\"ports\":{\"min\":1,\"max\":2},\"x y\":1}",
            "`x y` is no name",
            "a pool is written as",
        ),
    ] {
        fs::write(state.join(file), text).unwrap();
        let ended = checkout.start(&["--name", "web"]).wait(20).unwrap();
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.err.contains(why) && ended.err.contains(remedy),
            "{}",
            ended.err
        );
        assert!(checkout.runtime.listed().is_empty());
        assert_eq!(fs::read_to_string(state.join(file)).unwrap(), text);
        fs::remove_file(state.join(file)).unwrap();
    }
    // Who says all does not need them.
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "no folder").unwrap();
    let refused = checkout.start(&["--name", "web"]).wait(20).unwrap();
    assert!(
        refused.code == 1 && refused.err.contains("hint: `--state-dir DIR`"),
        "{refused:?}"
    );
    let vm = checkout.start(&["--name", "web", "--port-offset", "0"]);
    checkout.wait_for(1);
    end([vm]);
    fs::remove_file(&state).unwrap();
    let unknown = checkout.run(&["ids", "assign", "a b", "pcp-vm", "--pool", "p"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    for words in [
        "`a b` is no name",
        "`pcp-vm` has PCP's",
        "there is no pool `p`, but ",
    ] {
        assert!(errors(&unknown).contains(words), "{unknown:?}");
    }
}

#[test]
fn a_declared_set_has_identifiers_of_its_own_which_go_with_it() {
    let checkout = Checkout::new();
    let kernel = checkout.path("kernel").display().to_string();
    let vm = |name: &str| {
        let vsock = format!("socket={}", checkout.path(name).display());
        let flags = [&small(&kernel)[..], &["--vsock", &vsock]].concat();
        format!("[vm.{name}]\nrun = {}\n", json!(flags))
    };
    let file = checkout.path("vms.toml");
    fs::write(&file, [vm("a"), vm("b")].concat()).unwrap();
    let deploy = |more: &[&str]| {
        let words = ["deploy", file.to_str().unwrap()];
        let logs = checkout.path("log");
        let logs = ["--log-dir", logs.to_str().unwrap()];
        checkout.run(&[&words, &logs[..], more].concat())
    };
    let done = deploy(&[]);
    assert!(done.status.success(), "{done:?}");
    let ids = checkout.json(&["ids", "export"]);
    // Whichever of them came first.
    let cid = |name: &str| ids["ids"]["cids"][name].as_u64().unwrap();
    assert_eq!(cid("a").min(cid("b")), 1000);
    assert_eq!(cid("a").max(cid("b")), 1001);
    let settings = checkout.json(&["inspect", "a", "--resolved"]).to_string();
    let told = format!("\"value\":\"cid={},socket=", cid("a"));
    assert!(settings.contains(&told), "{settings}");
    let of_b = cid("b");
    checkout.run(&["kill", "a", "b"]);
    fs::write(&file, vm("b")).unwrap();
    let kept = deploy(&[]);
    assert!(kept.status.success(), "{kept:?}");
    let ids = checkout.json(&["ids", "export"]);
    assert_eq!(ids["ids"]["cids"], json!({ "b": of_b }));
    checkout.run(&["kill", "b"]);
    assert!(deploy(&["--undeploy"]).status.success());
    let ids = checkout.json(&["ids", "export"]);
    assert_eq!(ids["ids"].get("cids"), None, "{ids}");
}
