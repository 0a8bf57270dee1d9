//! All that a user without any privilege does, who may open `/dev/kvm`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pcp_vmm_tests::guests::{Stop, one_byte};
use pcp_vmm_tests::{ports, program};

/// Gives the script's user a `/dev/kvm` that everybody may open, in a mount namespace of its own.
const DEVICE: &str = "mkdir $D/dev; mount -t tmpfs tmpfs $D/dev; mknod -m 666 $D/dev/kvm c 10 232\n\
    mount --bind $D/dev/kvm /dev/kvm; chown 65534:65534 $D/home\n\
    exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \
    sh -ec \"$1\"";

/// What the user does.
const SCRIPT: &str = "grep CapEff /proc/self/status; id -u\n\
    vm() { $P \"$@\"; }; trap 'vm kill --all >/dev/null 2>&1' EXIT\n\
    vm run --daemon --name a --kernel $K --memory 128M --cpus 1 --console none --balloon --net user \
        --forward 127.0.0.1:$PORT:80 --pid-file $HOME/a.pid\n\
    vm run --daemon --kernel $K --name b --memory 128M --cpus 1 --console none --net none\n\
    vm ls -q; vm status a >/dev/null; vm inspect a >/dev/null; vm forward ls a; vm pause a; vm resume a\n\
    vm balloon a 16M; vm link a down; vm logs a; vm events a >/dev/null; vm ssh-config --write --all || true\n\
    test -f $HOME/.local/state/pcp-vmm/log/a.log\n\
    vm stop a --power-button 0.1 --ctrl-alt-del 0.1 2>/dev/null; test ! -e $HOME/a.pid; vm kill b; vm ls -q\n\
    if vm network setup 2>/dev/null; then exit 9; fi; echo end";

#[test]
fn a_user_who_may_open_kvm_does_all_but_set_up_networks() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(path("home")).unwrap();
    fs::copy(program().unwrap(), path("program")).unwrap();
    one_byte(Stop::Halt).write(&path("kernel")).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", DEVICE, "sh", SCRIPT]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-ec", SCRIPT]);
        command
    };
    let variables = ["D", "P", "K", "HOME", "XDG_RUNTIME_DIR"];
    let values = ["", "program", "kernel", "home", "home"].map(path);
    let output = command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("PORT", ports::free().unwrap().to_string())
        .envs(variables.into_iter().zip(values))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{output:?}");
    assert!(said.starts_with("CapEff:\t0000000000000000\n"), "{said}");
    assert!(said.contains("\na\nb\n"), "{said}");
    assert!(said.contains("a: down\n"), "{said}");
    assert!(said.contains("without its guest's consent"), "{said}");
    assert!(said.ends_with("end\n"), "{said}");
    let left = fs::read_dir(path("home/pcp-vmm")).unwrap().count();
    assert_eq!(left, 0);
}
