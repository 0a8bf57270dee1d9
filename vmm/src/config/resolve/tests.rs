//! Precedence and the merging of lists.

use super::*;
use crate::config::value::{DiskValue, ShareValue};

fn bundle() -> (Origin, Layer) {
    let layer = Layer {
        name: Some("pcp-vm".into()),
        process_name: Some("pcp-vm".into()),
        kernel: Some("/b/kernel".into()),
        cmdline: Some("console=ttyS0".into()),
        console: vec![
            "tcp=24500".parse().unwrap(),
            "virtio=tcp=24501".parse().unwrap(),
        ],
        forward: vec!["22022:22".parse().unwrap(), "44321:44321".parse().unwrap()],
        share: vec!["root=/,ro".parse().unwrap()],
        ..Layer::default()
    };
    (Origin::Bundle("/b".into()), layer)
}

fn with_flags(flags: Layer) -> Resolved {
    let default = (Origin::Default, Layer::under_bundle());
    Resolved::from_layers(&[default, bundle(), (Origin::Flags, flags)])
}

fn forwards(resolved: &Resolved) -> Vec<String> {
    let net = resolved
        .spec
        .devices
        .iter()
        .find_map(|device| match device {
            DeviceSpec::Net(net) => Some(net),
            _ => None,
        });
    let Some(NetBackendSpec::User(user)) = net.map(|net| &net.backend) else {
        return Vec::new();
    };
    user.forwards.iter().map(ToString::to_string).collect()
}

#[test]
fn a_stronger_layer_wins_and_is_named() {
    let resolved = with_flags(Layer {
        memory: Some(MemorySize(2 << 30)),
        ..Layer::default()
    });
    assert_eq!(resolved.spec.memory, 2 << 30);
    assert_eq!(resolved.spec.cpus, 4);
    assert_eq!(resolved.origins(Field::Memory), ["--memory"]);
    assert_eq!(resolved.origins(Field::Cpus), ["default"]);
    assert_eq!(resolved.origins(Field::Kernel), ["bundle /b"]);
}

#[test]
fn a_forward_to_the_same_guest_port_replaces_the_bundles() {
    let resolved = with_flags(Layer {
        forward: vec!["2222:22".parse().unwrap(), "8080:80".parse().unwrap()],
        ..Layer::default()
    });
    assert_eq!(
        forwards(&resolved),
        [
            "tcp:0.0.0.0:44321:44321",
            "tcp:0.0.0.0:2222:22",
            "tcp:0.0.0.0:8080:80"
        ]
    );
}

#[test]
fn the_port_offset_moves_the_bundles_ports_only() {
    let resolved = with_flags(Layer {
        port_offset: Some(1000),
        forward: vec!["8080:80".parse().unwrap()],
        ..Layer::default()
    });
    assert_eq!(
        forwards(&resolved),
        [
            "tcp:0.0.0.0:23022:22",
            "tcp:0.0.0.0:45321:44321",
            "tcp:0.0.0.0:8080:80"
        ]
    );
    assert_eq!(resolved.spec.serial.to_string(), "tcp=127.0.0.1:25500");
}

#[test]
fn a_port_offset_beyond_the_last_port_is_a_problem() {
    let resolved = with_flags(Layer {
        port_offset: Some(65000),
        ..Layer::default()
    });
    let problems = resolved.validate().unwrap_err();
    assert!(
        problems.iter().any(|p| p.message.contains("above 65535")),
        "{problems:?}"
    );
}

#[test]
fn lists_grow_with_the_bundles_part_first() {
    let share: ShareValue = "src=/tmp".parse().unwrap();
    let disk: DiskValue = "/dev/null".parse().unwrap();
    let resolved = with_flags(Layer {
        share: vec![share],
        disk: vec![disk],
        ..Layer::default()
    });
    let kinds: Vec<&str> = resolved.spec.devices.iter().map(DeviceSpec::kind).collect();
    assert_eq!(kinds, ["console", "net", "fs", "fs", "blk", "rng"]);
    assert_eq!(resolved.origins(Field::Share), ["bundle /b", "--share"]);
}

#[test]
fn words_are_appended_to_the_command_line() {
    let resolved = with_flags(Layer {
        append: Some("quiet".into()),
        ..Layer::default()
    });
    assert_eq!(resolved.spec.cmdline, "console=ttyS0 quiet");
    assert_eq!(resolved.origins(Field::Cmdline), ["bundle /b", "--append"]);
}

#[test]
fn a_bare_kernel_has_its_serial_port_on_the_terminal_and_nothing_else() {
    let resolved = Resolved::from_layers(&[(Origin::Default, Layer::bare())]);
    assert_eq!(resolved.spec.serial, ConsoleSpec::Stdio);
    assert_eq!(resolved.spec.devices, []);
    assert_eq!(resolved.spec.process_name, "vm");
}

#[test]
fn a_forward_brings_the_network_with_it_unless_that_is_unwanted() {
    let flags = |net| {
        let layer = Layer {
            net,
            forward: vec!["2222:22".parse().unwrap()],
            ..Layer::default()
        };
        Resolved::from_layers(&[(Origin::Default, Layer::bare()), (Origin::Flags, layer)])
    };
    assert_eq!(forwards(&flags(None)), ["tcp:0.0.0.0:2222:22"]);
    let refused = flags(Some(NetChoice::None));
    let problems = refused.validate().unwrap_err();
    assert!(
        problems.iter().any(|p| p.field == Field::Forward),
        "{problems:?}"
    );
}

#[test]
fn a_tap_has_up_to_a_queue_for_each_vcpu_and_no_forwards() {
    let flags = |forward: &[&str]| {
        let layer = Layer {
            net: Some("tap,ifname=t0".parse().unwrap()),
            cpus: Some(3),
            forward: forward.iter().map(|f| f.parse().unwrap()).collect(),
            ..Layer::default()
        };
        Resolved::from_layers(&[(Origin::Default, Layer::bare()), (Origin::Flags, layer)])
    };
    let resolved = flags(&[]);
    let Some(DeviceSpec::Net(net)) = resolved.spec.devices.first() else {
        panic!("{:?}", resolved.spec.devices);
    };
    let NetBackendSpec::Tap(tap) = &net.backend else {
        panic!("{net:?}");
    };
    assert_eq!((tap.queues, tap.most_queues), (None, 3));
    let problems = flags(&["2222:22"]).validate().unwrap_err();
    assert!(problems.iter().any(|p| p.field == Field::Forward));
}

#[test]
fn the_command_lines_of_configuration_files_refuse_unknown_keys() {
    let unknown = serde_json::from_str::<Layer>(r#"{"memroy": "1G"}"#).unwrap_err();
    assert!(unknown.to_string().contains("memroy"), "{unknown}");
    let layer: Layer = serde_json::from_str(
        r#"{"memory": "1G", "process-name": "a", "forward": ["1:2"], "share": ["a=/,ro"]}"#,
    )
    .unwrap();
    assert_eq!(layer.memory, Some(MemorySize(1 << 30)));
    assert_eq!(layer.forward.len(), 1);
}

#[test]
fn a_credential_of_a_stronger_layer_replaces_that_of_its_name() {
    let (origin, mut layer) = bundle();
    layer.credential = vec!["a=1".parse().unwrap(), "b=2".parse().unwrap()];
    let flags = Layer {
        credential: vec!["a=3".parse().unwrap(), "c=@/f".parse().unwrap()],
        uuid: Some("a77a03d9-0001-4f00-8000-00000000000f".parse().unwrap()),
        ..Layer::default()
    };
    let default = (Origin::Default, Layer::under_bundle());
    let resolved = Resolved::from_layers(&[default, (origin, layer), (Origin::Flags, flags)]);
    let all = ["b=2", "a=3", "c=@/f"].map(|text| text.parse().unwrap());
    assert_eq!(resolved.spec.credentials, all);
    assert_eq!(
        resolved.origins(Field::Credential),
        ["bundle /b", "--credential"]
    );
    assert_eq!(resolved.origins(Field::Uuid), ["--uuid"]);
}

#[test]
fn a_guest_with_our_init_is_told_its_address_on_a_tap() {
    let cmdline = |base: &str, net: &str| {
        let layers = [
            (
                Origin::Default,
                Layer {
                    nameserver: vec![Ipv4Addr::new(9, 9, 9, 9)],
                    ..Layer::under_bundle()
                },
            ),
            (
                Origin::Flags,
                Layer {
                    cmdline: Some(base.to_owned()),
                    net: Some(net.parse().unwrap()),
                    ..Layer::default()
                },
            ),
        ];
        let spec = Resolved::from_layers(&layers).spec;
        (spec.cmdline, spec.guest_address.map(|it| it.to_string()))
    };
    let pcp = Some("10.177.0.20/24".to_owned());
    let told = "a pcpvmm.root=virtiofs:root ip=10.177.0.20::10.177.0.1:255.255.255.0:::off:9.9.9.9";
    let ours = "a pcpvmm.root=virtiofs:root";
    assert_eq!(cmdline(ours, "tap"), (told.to_owned(), pcp.clone()));
    // Others know it by themselves, or were told already.
    assert_eq!(cmdline("a", "tap"), ("a".to_owned(), pcp.clone()));
    let own = "pcpvmm.root=virtiofs:root ip=dhcp";
    assert_eq!(cmdline(own, "tap"), (own.to_owned(), pcp));
    for net in ["user", "tap,ifname=t0", "tap,address=dhcp"] {
        assert_eq!(cmdline(ours, net), (ours.to_owned(), None), "{net}");
    }
}
