//! The SSH key of a folder: told to the guests that are started there, used, and removed with the last of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use pcp_vmm_tests::guests::{Stop, one_byte};
use pcp_vmm_tests::time::wait_until;
use pcp_vmm_tests::{TestVm, ports};
use serde_json::Value;

use super::instances::{Runtime, errors};
use super::verbs;

/// A folder of a project, with all that is kept for it.
struct Project {
    runtime: Runtime,
    folder: tempfile::TempDir,
    bundle: tempfile::TempDir,
}

impl Project {
    /// With a bundle whose guest looks for keys.
    fn new() -> Self {
        let bundle = verbs::bundle(&one_byte(Stop::Halt), ports::free().unwrap());
        let path = bundle.path().join("bundle.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        manifest["logins"]["ssh"]["authorized_keys"] = "ssh.authorized_keys.root".into();
        fs::write(&path, manifest.to_string()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["project", "home", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self {
            runtime: Runtime::new(),
            folder,
            bundle,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn flags(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let flags = [
            "--state-dir".into(),
            path("state"),
            "--log-dir".into(),
            path("logs"),
        ];
        flags.to_vec()
    }

    fn start(&self, more: &[&str]) -> TestVm {
        let mut words = vec!["run".to_owned(), "--bundle".to_owned()];
        words.push(self.bundle.path().to_str().unwrap().to_owned());
        words.extend(self.flags());
        words.extend(more.iter().map(|&it| it.to_owned()));
        let before = self.runtime.listed().len();
        let vm = TestVm::start_with(&words, |command| {
            command.current_dir(self.path("project"));
            command.env("PCP_VMM_RUNTIME_DIR", self.runtime.path());
        })
        .unwrap();
        wait_until("the VM", 20, || self.runtime.listed().len() > before).unwrap();
        vm
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = self.runtime.command(words);
        command.args(self.flags()).current_dir(self.path("project"));
        command.env("HOME", self.path("home"));
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.output().unwrap()
    }

    fn record(&self, name: &str) -> Value {
        self.runtime.json(&["inspect", name])[0]["record"].clone()
    }

    fn keys(&self) -> usize {
        fs::read_dir(self.path("state/keys")).map_or(0, Iterator::count)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_folders_key_is_told_to_its_guests_and_goes_with_the_last_of_them() {
    let project = Project::new();
    let first = project.start(&[]);
    let second = project.start(&["--name", "other"]);
    let record = project.record("pcp-test-vm");
    let key = record["ssh_key"].as_str().expect("a key").to_owned();
    assert_eq!(project.record("other")["ssh_key"], key.as_str());
    assert_eq!(
        record["spec"]["credentials"][0],
        "ssh.authorized_keys.root=…"
    );
    assert!(Path::new(&key).starts_with(project.path("state/keys")));
    assert_eq!((mode(Path::new(&key)), project.keys()), (0o600, 1));

    let fake = project.path("bin/ssh");
    fs::write(&fake, "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let login = project.run(&["ssh", "other", "--timeout", "0", "--", "true"]);
    let said = String::from_utf8(login.stdout).unwrap();
    assert!(
        said.contains(&format!(
            "-o IdentitiesOnly=yes -o NumberOfPasswordPrompts=1 -i {key} "
        )),
        "{said}"
    );
    let elsewhere = project.run(&["ssh", "other", "--user", "me", "--timeout", "0"]);
    assert!(!String::from_utf8(elsewhere.stdout).unwrap().contains(&key));
    assert!(
        project
            .run(&["ssh-config", "--write", "--all"])
            .status
            .success()
    );
    let config = || fs::read_to_string(project.path("home/.ssh/config")).unwrap();
    assert_eq!(
        config().matches(&format!("IdentityFile \"{key}\"")).count(),
        2
    );

    project.runtime.run(&["kill", "other"]);
    second.wait(20).unwrap();
    assert!(project.path("logs/other/serial.log").exists());
    let unasked = project.run(&["destroy", "other"]);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert!(
        errors(&unasked).contains("will not destroy other"),
        "{unasked:?}"
    );
    let destroyed = project.run(&["destroy", "other", "--force", "--json"]);
    let told: Value = serde_json::from_slice(&destroyed.stdout).unwrap();
    assert_eq!(told, serde_json::json!({ "names": ["other"], "keys": [] }));
    assert!(!project.path("logs/other").exists());
    assert_eq!(config().matches("Host ").count(), 1);
    assert_eq!(project.keys(), 1, "one that runs has it");
    let ids = project.run(&["ids", "ls", "--json"]);
    assert!(!String::from_utf8(ids.stdout).unwrap().contains("other"));
    let again = project.run(&["destroy", "other", "--force"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");

    project.runtime.run(&["kill", "pcp-test-vm"]);
    first.wait(20).unwrap();
    let destroyed = project.run(&["destroy", "pcp-test-vm", "--force"]);
    assert_eq!(
        destroyed.stdout, b"destroyed pcp-test-vm\n",
        "{destroyed:?}"
    );
    assert!(
        errors(&destroyed).contains("removed the SSH key of"),
        "{destroyed:?}"
    );
    assert_eq!(project.keys(), 0);
    assert_eq!(config(), "");
}

#[test]
fn the_users_own_credential_goes_before_the_folders_key() {
    let project = Project::new();
    let vm = project.start(&["--credential", "ssh.authorized_keys.root=mine"]);
    let record = project.record("pcp-test-vm");
    assert_eq!(record["ssh_key"], Value::Null);
    assert_eq!(record["spec"]["credentials"].as_array().unwrap().len(), 1);
    project.runtime.run(&["kill", "--all"]);
    vm.wait(20).unwrap();
    // A state folder that cannot be written costs the key alone.
    fs::remove_dir_all(project.path("state")).unwrap();
    fs::create_dir(project.path("state")).unwrap();
    fs::write(project.path("state/keys"), "").unwrap();
    let vm = project.start(&[]);
    assert_eq!(project.record("pcp-test-vm")["ssh_key"], Value::Null);
    project.runtime.run(&["kill", "--all"]);
    let ended = vm.wait(20).unwrap();
    assert!(
        ended.err.contains("the guest has no key to log in with"),
        "{ended:?}"
    );
}
