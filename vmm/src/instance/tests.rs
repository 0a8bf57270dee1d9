use super::*;
use crate::config::{Layer, Origin, Resolved};
use serde_json::Value;
use std::os::unix::net::UnixListener;

fn record(name: &str) -> Record {
    Record {
        version: Record::VERSION,
        name: name.to_owned(),
        pid: 7,
        program: "0".to_owned(),
        started: 1,
        variant: None,
        bundle: None,
        process: None,
        directory: None,
        address: None,
        direct: false,
        ssh_key: None,
        control: "/c".into(),
        settings: Value::Null,
        spec: Value::Null,
    }
}

#[test]
fn a_name_belongs_to_one_machine_until_it_ends() {
    let runtime = tempfile::tempdir().unwrap();
    let path = runtime.path().join("not/there/yet");
    let mut first = Instance::claim(&path, "a").unwrap();
    first.describe(&record("a")).unwrap();
    let second = Instance::claim(&path, "a").unwrap_err();
    assert!(
        matches!(second, InstanceError::InUse { pid: Some(7) }),
        "{second}"
    );
    let other = Instance::claim(&path, "b").unwrap();
    let names = |entries: Vec<Entry>| entries.iter().map(Entry::name).collect::<Vec<_>>();
    assert_eq!(names(list(&path).unwrap()), ["a", "b"]);
    drop((first, other));
    assert!(list(&path).unwrap().is_empty());
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    Instance::claim(&path, "a").unwrap();
}

#[test]
fn what_is_left_over_is_removed_by_who_looks_and_taken_by_who_starts() {
    let runtime = tempfile::tempdir().unwrap();
    let leave = |name: &str| {
        let folder = runtime.path().join(name);
        fs::create_dir(&folder).unwrap();
        let text = serde_json::to_string(&record("of the one before, and longer")).unwrap();
        fs::write(folder.join(RECORD), text).unwrap();
        for name in [CONTROL, VSOCK, AGENT, "vsock_77777"] {
            fs::write(folder.join(name), "").unwrap();
        }
    };
    leave("old");
    leave("older");
    let mut taken = Instance::claim(runtime.path(), "old").unwrap();
    assert_eq!(find(runtime.path(), "old").unwrap().unwrap().record, None);
    taken.describe(&record("old")).unwrap();
    let entries = list(runtime.path()).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].record.as_ref().unwrap().name, "old");
    assert!(!runtime.path().join("older").exists());
}

#[test]
fn what_is_no_machine_is_left_alone() {
    let runtime = tempfile::tempdir().unwrap();
    fs::create_dir_all(runtime.path().join("folder/of/another")).unwrap();
    fs::create_dir(runtime.path().join("empty")).unwrap();
    fs::write(runtime.path().join("file"), "").unwrap();
    assert!(list(runtime.path()).unwrap().is_empty());
    assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 2);
    assert!(list(&runtime.path().join("nowhere")).unwrap().is_empty());
    assert_eq!(find(runtime.path(), "nobody").unwrap(), None);
}

#[test]
fn a_folder_that_cannot_be_made_and_a_path_that_is_too_long_are_errors() {
    let runtime = tempfile::tempdir().unwrap();
    let file = runtime.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Instance::claim(&file, "a").unwrap_err();
    assert!(matches!(error, InstanceError::Folder { .. }), "{error}");
    let long = runtime.path().join("x".repeat(100));
    let error = Instance::claim(&long, "a").unwrap_err();
    assert!(matches!(error, InstanceError::TooLong { .. }), "{error}");
}

#[test]
fn of_many_who_want_a_name_at_once_one_has_it() {
    let runtime = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let claims: Vec<_> = thread::scope(|scope| {
            let claim = || {
                let mut instance = Instance::claim(runtime.path(), "a").ok()?;
                instance.describe(&record("a")).unwrap();
                Some(instance)
            };
            let tidy = || {
                let _ = list(runtime.path());
                None
            };
            let threads: Vec<_> = (0..6)
                .map(|index| {
                    if index % 2 == 0 {
                        scope.spawn(claim)
                    } else {
                        scope.spawn(tidy)
                    }
                })
                .collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().flatten().count(), 1);
    }
}

#[test]
fn a_records_secrets_stay_with_the_process() {
    use crate::config::{Layer, Origin, Resolved};
    let layer = Layer {
        credential: vec!["ssh.key=SECRET".parse().unwrap()],
        ..Layer::bare()
    };
    let resolved = Resolved::from_layers(&[(Origin::Flags, layer)]);
    let record = record("a").with_config(&resolved);
    let text = serde_json::to_string(&record).unwrap();
    assert!(
        !text.contains("SECRET") && text.contains("ssh.key"),
        "{text}"
    );
}

#[test]
fn sockets_and_the_pid_file_of_a_killed_machine_go_with_its_folder_and_those_in_use_stay() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let spec = Resolved::from_layers(&[(
        Origin::Default,
        Layer {
            name: Some("a".into()),
            console: vec![
                format!("serial=unix={}", at("serial").display())
                    .parse()
                    .unwrap(),
                "virtio=unix=virtio".parse().unwrap(),
            ],
            vsock: Some("cid=3,socket=vsock".parse().unwrap()),
            ..Layer::bare()
        },
    )]);
    let leave = |pid: &str| {
        let mut spec = spec.clone();
        spec.spec.pid_file = Some(at("pid"));
        let record = Record {
            directory: Some(folder.path().to_owned()),
            control: at("control"),
            ..record("a")
        };
        let record = record.with_config(&spec);
        fs::create_dir_all(at("running/a")).unwrap();
        fs::write(
            at("running/a").join(RECORD),
            serde_json::to_vec(&record).unwrap(),
        )
        .unwrap();
        for name in ["serial", "virtio", "control"] {
            drop(UnixListener::bind(at(name)).unwrap());
        }
        fs::write(at("pid"), pid).unwrap();
    };
    let left = || {
        let names = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // Another machine listens there by now, and another process has a PID file there.
    let _other = UnixListener::bind(at("vsock")).unwrap();
    leave("8\n");
    assert!(list(&at("running")).unwrap().is_empty());
    assert_eq!(left(), ["pid", "running", "vsock"]);
    // Who takes the name tidies up too.
    leave("7\n");
    let taken = Instance::claim(&at("running"), "a").unwrap();
    assert_eq!(left(), ["running", "vsock"]);
    drop(taken);
}
