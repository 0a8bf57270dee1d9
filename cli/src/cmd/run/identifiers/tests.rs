//! Who needs what, and what comes of it.

use std::net::TcpListener;

use vmm::config::{DeviceSpec, NetBackendSpec, Resolved};

use super::*;

/// A plan for a bundle's guest with the flags `flags`.
fn plan(flags: Layer) -> Plan {
    let bundle = Layer {
        name: Some("pcp-vm".into()),
        process_name: Some("pcp-vm".into()),
        mac: "02:00:00:0a:cb:01".parse().ok(),
        console: vec![
            "tcp=127.0.0.1:24500".parse().unwrap(),
            "virtio=tcp=127.0.0.1:24501".parse().unwrap(),
        ],
        forward: vec!["44321:44321".parse().unwrap(), "22022:22".parse().unwrap()],
        ..Layer::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let manifest = serde_json::json!({
        "schema_version": 1, "variant": "base", "hostname": "pcp-vm", "process": "pcp-vm", "kernel": "kernel",
        "cmdline": "", "root": { "kind": "initrd" }, "shares": [], "memory_mib": 128, "cpus": 1,
        "mac": "02:00:00:0a:cb:01", "forwards": [], "consoles": [], "services": [], "metrics": [],
        "http_checks": [], "logins": {},
        "build": { "builder": "", "suite": "", "kernel_release": "", "packages": {} },
    });
    std::fs::write(folder.path().join("kernel"), "").unwrap();
    std::fs::write(folder.path().join("bundle.json"), manifest.to_string()).unwrap();
    let layers = vec![
        (Origin::Default, Layer::under_bundle()),
        (Origin::Bundle("/b".into()), bundle),
        (Origin::Flags, flags),
    ];
    Plan {
        resolved: Resolved::from_layers(&layers),
        layers,
        bundle: Some(guest::bundle::Bundle::load(folder.path()).unwrap()),
        process_name: None,
        ssh_key: None,
        boot_timeout: None,
    }
}

fn named_web() -> Layer {
    Layer {
        name: Some("web".into()),
        ..Layer::default()
    }
}

/// Takes from the pools of `folder`, which pays heed to the machine if `really`.
fn take(plan: &mut Plan, folder: &std::path::Path, really: bool) -> Option<Claims> {
    let needs = needs(plan).unwrap();
    let documented = ids::documented().unwrap();
    let mut layer = named(plan);
    let mut taker = Taker {
        needs: &needs,
        documented: &documented,
        store: Store::hold(folder).unwrap(),
        claims: really.then(Claims::default),
    };
    taker.take(&plan.resolved.spec.name, &mut layer).unwrap();
    taker.store.save().unwrap();
    set(plan, layer);
    taker.claims
}

fn settings(plan: &Plan) -> Vec<String> {
    plan.resolved
        .settings
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_documented_vm_and_one_with_an_offset_need_nothing() {
    assert_eq!(needs(&plan(Layer::default())).unwrap(), Needs::default());
    let moved = Layer {
        port_offset: Some(0),
        ..named_web()
    };
    assert_eq!(needs(&plan(moved)).unwrap(), Needs::default());
}

#[test]
fn another_name_has_ports_consoles_and_a_process_of_its_own_that_are_told_as_assigned() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(named_web());
    take(&mut plan, folder.path(), false);
    let settings = settings(&plan);
    for line in [
        "process-name = web (assigned)",
        "console = serial=tcp=127.0.0.1:24540 (assigned)",
        "console = virtio=tcp=127.0.0.1:24541 (assigned)",
        "forward = tcp:0.0.0.0:28000:22 (assigned)",
        "forward = tcp:0.0.0.0:28001:44321 (assigned)",
    ] {
        assert!(
            settings.iter().any(|it| it == line),
            "{line}: {settings:#?}"
        );
    }
    // Again: one layer, the same values.
    let layers = plan.layers.len();
    take(&mut plan, folder.path(), false);
    assert_eq!(plan.layers.len(), layers);
    assert_eq!(self::settings(&plan), settings);
}

#[test]
fn what_the_user_says_is_not_assigned_and_the_rest_keeps_its_place() {
    let flags = Layer {
        forward: vec!["2222:22".parse().unwrap()],
        console: vec!["virtio=none".parse().unwrap()],
        process_name: Some("own".into()),
        ..named_web()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(flags);
    take(&mut plan, folder.path(), false);
    let settings = settings(&plan);
    for line in [
        "process-name = own (--process-name)",
        "forward = tcp:0.0.0.0:28001:44321 (assigned)",
        "forward = tcp:0.0.0.0:2222:22 (--forward)",
        "console = virtio=none (--console)",
    ] {
        assert!(
            settings.iter().any(|it| it == line),
            "{line}: {settings:#?}"
        );
    }
}

#[test]
fn a_port_that_somebody_listens_at_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let taken = (30_000..32_000)
        .find_map(|port| Some((port, TcpListener::bind(("127.0.0.1", port)).ok()?)));
    let (port, listener) = taken.unwrap();
    let first = port - 1;
    let pools = serde_json::json!({ "ports": { "min": first, "max": first + 31 } });
    std::fs::write(folder.path().join("idresources.json"), pools.to_string()).unwrap();
    let flags = || Layer {
        console: vec!["none".parse().unwrap(), "virtio=none".parse().unwrap()],
        ..named_web()
    };
    let forwards = |plan: &Plan| -> Vec<u16> {
        let devices = plan.resolved.spec.devices.iter();
        let net = devices.filter_map(|it| match it {
            DeviceSpec::Net(net) => Some(&net.backend),
            _ => None,
        });
        let users = net.filter_map(|backend| match backend {
            NetBackendSpec::User(user) => Some(&user.forwards),
            _ => None,
        });
        users.flatten().map(|forward| forward.host.port()).collect()
    };
    let mut web = plan(flags());
    let claims = take(&mut web, folder.path(), true);
    assert_eq!(forwards(&web), [first + 16, first + 17]);
    // Who runs with it has it, whatever its state folder.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("idresources.json"), pools.to_string()).unwrap();
    drop(listener);
    let mut twin = plan(flags());
    let _others = take(&mut twin, elsewhere.path(), true);
    assert_eq!(forwards(&twin), [first, first + 1]);
    drop(claims);
    let mut again = plan(flags());
    take(&mut again, folder.path(), true);
    assert_eq!(forwards(&again), [first + 16, first + 17], "kept");
}

#[test]
fn a_card_on_a_tap_has_an_address_of_its_own_unless_the_tap_is_pcps() {
    let on = |net: &str| Layer {
        net: Some(net.parse().unwrap()),
        ..Layer::default()
    };
    assert_eq!(needs(&plan(on("tap"))).unwrap(), Needs::default());
    let own = needs(&plan(on("tap,ifname=no-such0"))).unwrap();
    assert!(own.mac && !own.address);
    let folder = tempfile::tempdir().unwrap();
    let mut bridged = plan(on("tap,ifname=no-such0,bridge=pcpbr0"));
    take(&mut bridged, folder.path(), false);
    let address = bridged.resolved.spec.guest_address.unwrap();
    assert_eq!(address.to_string(), "10.177.0.21/24");
    let mac = bridged
        .resolved
        .spec
        .devices
        .iter()
        .find_map(|device| match device {
            DeviceSpec::Net(net) => Some(net.mac),
            _ => None,
        });
    assert_ne!(mac.unwrap(), [2, 0, 0, 0x0a, 0xcb, 1]);
    assert_eq!(mac.unwrap()[..1], [2]);
    let said = Layer {
        mac: "02:00:00:00:00:07".parse().ok(),
        ..on("tap,ifname=no-such0,bridge=pcpbr0,address=dhcp")
    };
    assert_eq!(needs(&plan(said)).unwrap(), Needs::default());
}

#[test]
fn a_socket_device_without_an_identifier_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let with = |vsock: &str| Layer {
        vsock: Some(vsock.parse().unwrap()),
        ..Layer::default()
    };
    assert_eq!(
        needs(&plan(with("cid=3,socket=/s"))).unwrap(),
        Needs::default()
    );
    let mut plan = plan(with("socket=/s"));
    take(&mut plan, folder.path(), true);
    assert!(settings(&plan).contains(&"vsock = cid=1000,socket=/s (assigned)".to_owned()));
    assert_eq!(
        plan.resolved.validate().err().map(|it| it.len()),
        Some(1),
        "the kernel is missing"
    );
}

#[test]
fn too_many_forwards_and_an_empty_pool_are_errors_with_a_remedy() {
    let mut many = plan(named_web());
    let forwards = (1..=17).map(|port| format!("{port}:{port}").parse().unwrap());
    many.layers[1].1.forward = forwards.collect();
    let error = needs(&many).unwrap_err();
    assert!(error.causes.concat().contains("17 forwards"), "{error:?}");
    let folder = tempfile::tempdir().unwrap();
    let pools = serde_json::json!({ "consoles": { "min": 24_500, "max": 24_519 } });
    std::fs::write(folder.path().join("idresources.json"), pools.to_string()).unwrap();
    let web = plan(named_web());
    let needs = needs(&web).unwrap();
    let documented = ids::documented().unwrap();
    let mut taker = Taker {
        needs: &needs,
        documented: &documented,
        store: Store::hold(folder.path()).unwrap(),
        claims: None,
    };
    // Both blocks are PCP's own.
    let error = taker.take("web", &mut Layer::default()).unwrap_err();
    assert!(
        error
            .causes
            .concat()
            .contains("`consoles` has nothing left"),
        "{error:?}"
    );
    assert_eq!(error.hints.len(), 2);
}
