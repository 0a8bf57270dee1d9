//! The host's side of PCP's TAP network, set up and taken away in a network namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use pcp_vmm_tests::program;
use tempfile::TempDir;

/// What of the namespace's network a setup may change, as text.
const SNAPSHOT: &str = "ip -o -4 addr | sed 's/ *valid_lft.*//'; \
    ip -o link | sed -E 's/^[0-9]+: //; s/NO-CARRIER,|,LOWER_UP//g; s/ qdisc [a-z]+//; s/ state.*//'; \
    nft list ruleset; sysctl net.ipv4.ip_forward";

/// Folders for the program's record and for programs that take the place of the host's.
struct Host {
    folder: TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        Self { folder }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Has a script take the place of `program`; it finds that as `$REAL`.
    fn replace(&self, program: &str, script: &str) {
        let path = self.folder.path().join("bin").join(program);
        let real = "REAL=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v $(basename $0))";
        fs::write(&path, format!("#!/bin/sh\n{real}\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a shell script in a namespace; `network` there is the verb, `look` tells what is there.
    fn run(&self, script: &str) -> Output {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let path = std::env::var("PATH").unwrap();
        let bin = self.folder.path().join("bin");
        let words = format!(
            "set -e\nnetwork() {{ PATH={}:$PATH \"$PROGRAM\" network \"$@\"; }}\n\
             look() {{ {SNAPSHOT}; }}\n{script}",
            bin.display()
        );
        let done = command
            .args(["--net", "sh", "-c", &words])
            .env("PROGRAM", program().unwrap())
            .env("PCP_VMM_STATE_DIR", self.state())
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .env_remove("SUDO_UID")
            .output();
        done.unwrap()
    }

    /// Runs a script that must succeed; what it prints.
    fn says(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Cuts what a script printed where it printed a line of `=`.
fn parts(text: &str) -> Vec<&str> {
    text.split("=\n").collect()
}

#[test]
fn what_was_set_up_is_usable_once_and_leaves_what_was_there_before() {
    let host = Host::new();
    for before in [
        "",
        "sysctl -q -w net.ipv4.ip_forward=1",
        "ip link add pcpbr0 type bridge; ip addr add 192.0.2.1/24 dev pcpbr0",
        "ip tuntap add dev pcptap0 mode tap multi_queue; nft add table inet others",
    ] {
        let text = host.says(&format!(
            "{before}\nlook; echo =\n\
             network setup; look; echo =\n\
             network setup; look; echo =\n\
             network status --json; echo =\n\
             network teardown; look"
        ));
        let parts = parts(&text);
        let [old, first, second, status, after] = parts.as_slice() else {
            panic!("{text}");
        };
        for words in [
            "pcpbr0    inet 10.177.0.1/24",
            "pcptap0: <BROADCAST,MULTICAST,UP>",
            "master pcpbr0",
            "ip saddr 10.177.0.0/24 masquerade",
            "net.ipv4.ip_forward = 1",
        ] {
            assert!(first.contains(words), "`{words}` is not in {first}");
        }
        assert_eq!(first, second);
        let status: serde_json::Value = serde_json::from_str(status).unwrap();
        assert_eq!(status["usable"], true, "{status}");
        assert_eq!(status["interrupted"], false);
        assert_eq!(old, after, "after `{before}`");
        assert!(!host.state().exists());
    }
}

#[test]
fn a_setup_that_is_killed_at_any_command_is_taken_back_or_finished() {
    let host = Host::new();
    // The program dies before or after the command has done its work.
    for program in ["ip", "nft", "sysctl"] {
        host.replace(
            program,
            "case \"$*\" in *show*|-s*) exec $REAL \"$@\";; esac\n\
             echo >>$COUNT; n=$(wc -l <$COUNT)\n\
             [ $n = $BEFORE ] && { kill -9 $PPID; exit; }\n\
             $REAL \"$@\"; status=$?\n\
             [ $n = $AFTER ] && kill -9 $PPID\n\
             exit $status",
        );
    }
    let count = host.folder.path().join("count");
    let mut interrupted = 0;
    for number in 1..=8 {
        for (before, after) in [(number, 0), (0, number)] {
            for end in ["", "network setup 2>/dev/null;"] {
                let _ = fs::remove_file(&count);
                let text = host.says(&format!(
                    "export COUNT={} BEFORE={before} AFTER={after}\nlook; echo =\n\
                     network setup 2>/dev/null && exit 3; BEFORE=0 AFTER=0\n\
                     network status --json || true; echo =\n\
                     {end} look; echo =\n\
                     network teardown 2>/dev/null; look",
                    count.display()
                ));
                let parts = parts(&text);
                let [old, status, then, left] = parts.as_slice() else {
                    panic!("{text}");
                };
                interrupted += i32::from(status.contains("\"interrupted\": true"));
                if !end.is_empty() {
                    assert!(then.contains("masquerade") && then.contains("ip_forward = 1"));
                }
                assert_eq!(old, left, "killed at command {number}");
                assert!(!host.state().exists());
            }
        }
    }
    assert_eq!(interrupted, 32);
}

#[test]
fn a_step_that_fails_undoes_those_before_it() {
    let host = Host::new();
    host.replace(
        "nft",
        "[ \"$1\" = -s ] && exec $REAL \"$@\"; echo 'out of luck' >&2; exit 1",
    );
    let text = host.says("look; echo =; network setup 2>&1 && exit 3; echo =; look");
    let parts = parts(&text);
    let [old, said, after] = parts.as_slice() else {
        panic!("{text}");
    };
    for words in [
        "cannot set up the network",
        "out of luck",
        "nothing of it is left",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(old, after);
    assert!(!host.state().exists());
}

#[test]
fn a_dry_run_prints_what_a_run_does_and_changes_nothing() {
    let host = Host::new();
    let text = host.says(
        "look; echo =; network setup --dry-run | grep -v -e modprobe; echo =; look; echo =\n\
         network setup --dry-run | grep -v modprobe | sh; network check | grep network",
    );
    let parts = parts(&text);
    let [old, commands, after, check] = parts.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(old, after);
    assert!(
        commands.starts_with("ip link add name pcpbr0 type bridge\n"),
        "{commands}"
    );
    // What was printed is the whole setup.
    assert!(check.contains("the network is set up"), "{check}");
    assert!(!host.state().exists());
}

#[test]
fn what_is_in_the_way_is_told_and_left_alone() {
    let host = Host::new();
    let output = host.run(
        "ip tuntap add pcpbr0 mode tap; ip tuntap add eth7 mode tap; ip addr add 10.177.0.9/24 dev eth7\n\
         ip tuntap add dev pcptap0 mode tap; nft add table inet pcp-nat; network setup --json",
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        said["error"]["causes"].as_array().unwrap().len(),
        4,
        "{said}"
    );
    for words in ["is no bridge", "`eth7`", "one queue only", "other rules"] {
        assert!(said.to_string().contains(words), "{said}");
    }
    assert!(!host.state().exists());
}

#[test]
fn who_is_not_root_is_told_so() {
    let host = Host::new();
    let words =
        "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all";
    let copy = host.folder.path().join("program");
    fs::copy(program().unwrap(), &copy).unwrap();
    fs::set_permissions(host.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = host.run(&format!("{words} {} network setup", copy.display()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("hint: `sudo pcp-vmm network setup`"),
        "{said}"
    );
}
