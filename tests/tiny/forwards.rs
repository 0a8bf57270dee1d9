//! Host ports that lead into several VMs.

use pcp_vmm_tests::guests::{Stop, one_byte};
use rustix::process::Signal;
use serde_json::Value;

use super::instances::{Runtime, errors};

#[test]
fn forwards_of_several_vms_change_together_and_one_that_fails_keeps_none_from_it() {
    let runtime = Runtime::new();
    let vms = ["a", "b"].map(|name| {
        let vm = runtime.start_bare(&one_byte(Stop::Halt), &["--name", name, "--net", "user"]);
        vm.out.wait_for("!", 20).unwrap();
        vm
    });
    let port = pcp_vmm_tests::ports::free().unwrap().to_string();
    let forward = format!("127.0.0.1:{port}:80");
    // A port is one VM's.
    let added = runtime.run(&["forward", "add", "--all", &forward]);
    assert_eq!(added.status.code(), Some(1), "{added:?}");
    assert!(errors(&added).contains("`b` does not do that"), "{added:?}");
    let own = |list: &Value, at: usize| list[at]["forwards"].as_array().unwrap().len();
    let all = runtime.json(&["forward", "ls", "--all"]);
    assert_eq!((own(&all, 0), own(&all, 1)), (1, 0), "{all}");
    let other = format!("127.0.0.2:{port}:80");
    let both = runtime.json(&["forward", "add", "b", &other]);
    assert_eq!(own(&both, 0), 1);

    // Each is one VM's alone: the other says so, and keeps its own.
    for (host, left) in [(&forward, [0, 1]), (&other, [0, 0])] {
        let removed = runtime.run(&["forward", "rm", "--all", host]);
        assert_eq!(removed.status.code(), Some(1), "{removed:?}");
        let all = runtime.json(&["forward", "ls", "--all"]);
        assert_eq!([own(&all, 0), own(&all, 1)], left, "{all}");
    }
    let none = runtime.run(&["forward", "rm", "--all"]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    for vm in vms {
        vm.signal(Signal::TERM).unwrap();
        vm.wait(20).unwrap();
    }
}
