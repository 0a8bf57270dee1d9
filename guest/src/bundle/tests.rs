use serde_json::{Value, json};

use super::*;

/// A bundle's folder with the files that `manifest` names.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["kernel", "initrd"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    fs::create_dir(dir.path().join("root")).unwrap();
    dir
}

fn manifest() -> Value {
    json!({
        "schema_version": 1,
        "variant": "base",
        "hostname": "pcp-vm",
        "process": "pcp-vm",
        "kernel": "kernel",
        "initrd": "initrd",
        "cmdline": "console=ttyS0 console=hvc0",
        "root": { "kind": "share", "tag": "root", "path": "root", "read_only": true },
        "shares": [],
        "memory_mib": 1024,
        "cpus": 4,
        "mac": "02:00:00:0a:cb:01",
        "forwards": [
            { "name": "ssh", "protocol": "tcp", "host": 22022, "guest": 22 },
            { "name": "dns", "protocol": "udp", "address": "127.0.0.1", "host": 22022, "guest": 53 },
        ],
        "consoles": [
            { "device": "ttyS0", "port": 24500 },
            { "device": "hvc0", "port": 24501 },
        ],
        "services": ["pmcd"],
        "metrics": ["kernel.all.load"],
        "http_checks": [{ "name": "pmproxy", "port": 44322, "path": "/pmapi/1/metrics?target=a.b" }],
        "logins": { "ssh": { "user": "root", "password": "pcp" } },
        "build": {
            "builder": "test",
            "suite": "debian trixie",
            "kernel_release": "6.12.0",
            "packages": { "pcp": "6.3.8-1" },
        },
    })
}

fn load(manifest: &Value) -> Result<Bundle, BundleError> {
    let dir = folder();
    fs::write(dir.path().join(MANIFEST), manifest.to_string()).unwrap();
    Bundle::load(dir.path())
}

/// The problems of `manifest` after `change`, as `field: message`.
fn problems(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut manifest = manifest();
    change(&mut manifest);
    match load(&manifest) {
        Err(BundleError::Invalid { problems, .. }) => problems
            .iter()
            .map(|p| format!("{}: {}", p.field, p.message))
            .collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn a_whole_manifest_loads() {
    let bundle = load(&manifest()).unwrap();
    assert_eq!(bundle.hostname, "pcp-vm");
    assert_eq!(bundle.forwards[0].address, std::net::Ipv4Addr::UNSPECIFIED);
    assert_eq!(bundle.forwards[1].protocol, Protocol::Udp);
    assert_eq!(bundle.consoles[1].device, ConsoleDevice::Hvc0);
    assert_eq!(bundle.logins.console, None);
    assert_eq!(bundle.initrd_path(), Some(bundle.dir.join("initrd")));
    assert!(matches!(&bundle.root, Root::Share(share) if share.read_only));
}

#[test]
fn a_written_bundle_loads_as_it_was() {
    let dir = folder();
    fs::write(dir.path().join(MANIFEST), manifest().to_string()).unwrap();
    let mut bundle = Bundle::load(dir.path()).unwrap();
    bundle.memory_mib = 2048;
    bundle.shares.push(Share {
        tag: "more".into(),
        path: "root".into(),
        read_only: false,
        proto: ShareProtocol::P9,
    });
    bundle.write().unwrap();
    assert_eq!(Bundle::load(dir.path()).unwrap(), bundle);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 4, "no partial file stays: {left:?}");
}

#[test]
fn a_bundle_that_would_not_load_is_not_written() {
    let dir = folder();
    let before = manifest().to_string();
    fs::write(dir.path().join(MANIFEST), &before).unwrap();
    let mut bundle = Bundle::load(dir.path()).unwrap();
    bundle.cpus = 65;
    assert!(matches!(bundle.write(), Err(BundleError::Invalid { .. })));
    assert_eq!(
        fs::read_to_string(dir.path().join(MANIFEST)).unwrap(),
        before
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let found = problems(|m| {
        m["colour"] = json!("red");
        m["memory_mib"] = json!(1);
        m["cpus"] = json!("four");
        m["mac"] = json!("ff:ff:ff:ff:ff:ff");
        m["hostname"] = json!("pcp vm");
        m["forwards"][0]["host"] = json!(70000);
        m["forwards"][1]["protocol"] = json!("sctp");
        m["forwards"][1]["speed"] = json!(1);
        m["consoles"][0]["port"] = json!(0);
        m["root"]["kind"] = json!("floppy");
        m["services"] = json!(["a", "a", "b; reboot"]);
        m["http_checks"][0]["path"] = json!("/$(reboot)");
        m["logins"]["ssh"] = json!({ "user": "root" });
        m["build"]["packages"]["pcp"] = json!(6);
        m.as_object_mut().unwrap().remove("metrics");
    });
    let start = |text: &str| {
        let n = found.iter().filter(|line| line.starts_with(text)).count();
        assert_eq!(n, 1, "`{text}` in {found:#?}");
    };
    start("hostname: expected 1 to 63 letters");
    start("root.kind: expected `share` or `disk` or `initrd`, found \"floppy\"");
    start("memory_mib: expected a whole number from 128 to 524288, found 1");
    start("cpus: expected a whole number from 1 to 64, found \"four\"");
    start("mac: a group address");
    start("forwards[0].host: expected a whole number from 1 to 65535, found 70000");
    start("forwards[1].protocol: expected `tcp` or `udp`, found \"sctp\"");
    start("forwards[1].speed: unknown field; known are `name`, `protocol`");
    start("consoles[0].port: expected a whole number from 1 to 65535, found 0");
    start("services[1]: `a` is named twice");
    start("services[2]: expected a name");
    start("metrics: the field is missing");
    start("http_checks[0].path: expected `/`");
    start("logins.ssh.password: a password, a key or a credential for keys is needed");
    start("build.packages.pcp: expected a string, found 6");
    start("colour: unknown field");
}

#[test]
fn another_version_is_the_only_problem() {
    let found = problems(|m| *m = json!({ "schema_version": 2, "new": true }));
    assert_eq!(
        found,
        ["schema_version: version 2 is not supported; expected 1"]
    );
}

#[test]
fn a_missing_version_is_a_problem() {
    let found = problems(|m| drop(m.as_object_mut().unwrap().remove("schema_version")));
    assert_eq!(found, ["schema_version: the field is missing"]);
}

#[test]
fn files_that_are_not_there_are_named() {
    let found = problems(|m| {
        m["kernel"] = json!("vmlinuz");
        m["root"] =
            json!({ "kind": "disk", "path": "r.erofs", "format": "erofs", "read_only": true });
        m["shares"] = json!([{ "tag": "s", "path": "kernel", "read_only": true }]);
        m["logins"]["ssh"]["key"] = json!("id");
    });
    let fields: Vec<_> = found
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(
        fields,
        ["kernel", "root.path", "shares[0].path", "logins.ssh.key"]
    );
    assert!(found[0].contains("there is no file `/"), "{found:?}");
    assert!(found[2].contains("there is no folder `/"), "{found:?}");
}

#[test]
fn what_may_be_used_once_is_not_used_twice() {
    let found = problems(|m| {
        m["shares"] = json!([{ "tag": "root", "path": "root", "read_only": true }]);
        m["forwards"][1]["name"] = json!("ssh");
        m["forwards"][1]["protocol"] = json!("tcp");
        m["consoles"][1] = json!({ "device": "ttyS0", "port": 22022 });
    });
    let fields: Vec<_> = found
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let expected = [
        "shares[0].tag",
        "forwards[1].name",
        "forwards[1].host",
        "consoles[1].device",
    ];
    assert_eq!(fields[..4], expected);
    assert_eq!(fields[4..], ["consoles[1].port"]);
}

#[test]
fn paths_do_not_leave_the_folder_by_dots() {
    let found = problems(|m| m["kernel"] = json!("../kernel"));
    assert_eq!(found, ["kernel: `..` is not allowed in a path"]);
}

#[test]
fn a_command_line_that_the_kernel_would_cut_is_refused() {
    let found = problems(|m| m["cmdline"] = json!("x".repeat(2048)));
    assert_eq!(
        found,
        ["cmdline: 2048 bytes are more than the kernel's 2047"]
    );
}

#[test]
fn what_is_no_object_is_a_problem() {
    assert_eq!(
        problems(|m| *m = json!([1])),
        [": expected an object, found a list"]
    );
}

#[test]
fn broken_json_and_missing_manifests_are_told_apart() {
    let dir = folder();
    assert!(matches!(
        Bundle::load(dir.path()),
        Err(BundleError::Read { .. })
    ));
    fs::write(dir.path().join(MANIFEST), "{").unwrap();
    assert!(matches!(
        Bundle::load(dir.path()),
        Err(BundleError::Syntax { .. })
    ));
    File::create(dir.path().join(MANIFEST))
        .unwrap()
        .set_len(MAX_MANIFEST_BYTES + 1)
        .unwrap();
    assert!(matches!(
        Bundle::load(dir.path()),
        Err(BundleError::Read { .. })
    ));
}

#[test]
fn the_message_names_the_manifest_and_the_fields() {
    let mut wrong = manifest();
    wrong["cpus"] = json!(0);
    let message = load(&wrong).unwrap_err().to_string();
    assert!(
        message.contains("bundle.json` has 1 problem: `cpus`: expected"),
        "{message}"
    );
}

#[test]
fn the_documented_example_loads() {
    let document = include_str!("../../../docs/bundle.md");
    let example = document
        .split("```json\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    load(&serde_json::from_str(example).unwrap()).unwrap();
}
