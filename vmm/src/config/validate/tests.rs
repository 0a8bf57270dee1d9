//! Every rule has an input that breaks it and one that does not.

use std::path::PathBuf;

use super::*;
use crate::config::{Forward, UserSpec};
use crate::sandbox::SandboxMode;

/// A spec without fault, whose kernel is this source file.
fn good() -> VmSpec {
    VmSpec {
        name: "pcp-vm".into(),
        process_name: "pcp-vm".into(),
        memory: 1024 << 20,
        cpus: 4,
        kernel: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
        initrd: None,
        cmdline: "console=ttyS0".into(),
        serial: ConsoleSpec::Tcp(SocketAddr::from(([127, 0, 0, 1], 24500))),
        devices: vec![
            DeviceSpec::Console(ConsoleSpec::Tcp(SocketAddr::from(([127, 0, 0, 1], 24501)))),
            DeviceSpec::Net(net(&["22022:22", "udp:22022:53"])),
            DeviceSpec::Rng,
        ],
        transport: Transport::Pci,
        kernel_cache: None,
        sandbox: SandboxMode::default(),
        uuid: None,
        credentials: Vec::new(),
        control: None,
        pid_file: None,
        guest_address: None,
        instance: None,
        console_logs: None,
        monitors: Vec::new(),
    }
}

#[test]
fn a_transport_has_room_for_so_many_devices() {
    let crowd = |count| move |spec: &mut VmSpec| spec.devices = vec![DeviceSpec::Rng; count];
    assert!(problems(crowd(31)).is_empty());
    assert_eq!(
        problems(crowd(32)),
        ["transport: 32 devices are too many for pci"]
    );
    for transport in [Transport::Mmio, Transport::MmioCmdline] {
        let crowd = |count| {
            move |spec: &mut VmSpec| {
                spec.transport = transport;
                spec.devices = vec![DeviceSpec::Rng; count];
            }
        };
        assert!(problems(crowd(18)).is_empty());
        let told = format!("transport: 19 devices are too many for {transport}");
        assert_eq!(problems(crowd(19)), [told]);
    }
}

#[test]
fn the_kernel_command_line_names_virtio_mmio_devices_by_choice() {
    let mut spec = good();
    assert_eq!(spec.kernel_cmdline(), "console=ttyS0");
    spec.transport = Transport::Mmio;
    assert_eq!(spec.kernel_cmdline(), "console=ttyS0");
    spec.transport = Transport::MmioCmdline;
    spec.devices.truncate(2);
    assert_eq!(
        spec.kernel_cmdline(),
        "console=ttyS0 virtio_mmio.device=4K@0xf0000000:6 virtio_mmio.device=4K@0xf0001000:7"
    );
}

fn net(forwards: &[&str]) -> NetSpec {
    let forwards = forwards
        .iter()
        .map(|f| f.parse::<Forward>().unwrap())
        .collect();
    NetSpec {
        mac: [2, 0, 0, 10, 0xcb, 1],
        mtu: Some(1500),
        backend: NetBackendSpec::User(UserSpec {
            forwards,
            ..UserSpec::default()
        }),
    }
}

fn share(tag: &str, path: &str) -> DeviceSpec {
    DeviceSpec::Fs(FsSpec {
        read_only: true,
        ..FsSpec::new(tag, path)
    })
}

/// The problems of the good spec after `change`, as text.
fn problems(change: impl FnOnce(&mut VmSpec)) -> Vec<String> {
    let mut spec = good();
    change(&mut spec);
    let problems = spec.validate().err().unwrap_or_default();
    assert!(problems.iter().all(|p| !p.hint.is_empty()));
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_spec_without_fault_passes() {
    assert_eq!(problems(|_| {}), Vec::<String>::new());
}

#[test]
fn memory_stays_between_128_mib_and_512_gib_in_whole_pages() {
    for memory in [0, 1, (128 << 20) - 1, (512 << 30) + 4096, 1 << 50, u64::MAX] {
        assert_eq!(problems(|s| s.memory = memory).len(), 1, "{memory}");
    }
    assert_eq!(problems(|s| s.memory = (128 << 20) + 1).len(), 1);
    for memory in [128 << 20, 512 << 30] {
        assert_eq!(problems(|s| s.memory = memory).len(), 0, "{memory}");
    }
}

#[test]
fn vcpus_stay_between_1_and_64() {
    assert_eq!(problems(|s| s.cpus = 0).len(), 1);
    assert_eq!(problems(|s| s.cpus = 65).len(), 1);
    assert_eq!(problems(|s| s.cpus = 64).len(), 0);
}

#[test]
fn names_are_plain_words() {
    for name in ["", "-a", "a b", "a/b", "a\nb", "ä", &"x".repeat(64)] {
        assert_eq!(problems(|s| s.name = name.into()).len(), 1, "{name}");
        assert_eq!(problems(|s| s.process_name = name.into()).len(), 1);
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = problems(|s| {
        s.memory = 0;
        s.cpus = 0;
        s.kernel = "/nonexistent/kernel".into();
        s.name = String::new();
    });
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn boot_files_exist_and_fit() {
    assert_eq!(problems(|s| s.kernel = "/".into()).len(), 1);
    let found = problems(|s| s.initrd = Some("/nonexistent".into()));
    assert_eq!(
        found,
        ["initrd: cannot find initrd `/nonexistent`: no such file or folder"]
    );
}

#[test]
fn an_initrd_larger_than_the_memory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(200 << 20).unwrap();
    let path = file.path().to_owned();
    let found = problems(|s| {
        s.memory = 128 << 20;
        s.initrd = Some(path);
    });
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_command_line_is_one_line_of_at_most_2047_bytes() {
    assert_eq!(problems(|s| s.cmdline = "x".repeat(2047)).len(), 0);
    assert_eq!(problems(|s| s.cmdline = "x".repeat(2048)).len(), 1);
    assert_eq!(problems(|s| s.cmdline = "a\nb".into()).len(), 1);
}

#[test]
fn host_ports_are_claimed_once_across_forwards_and_consoles() {
    let with = |forwards: &[&str]| {
        let device = DeviceSpec::Net(net(forwards));
        problems(|s| s.devices = vec![device])
    };
    assert_eq!(with(&["1000:22", "1000:23"]).len(), 1);
    assert_eq!(with(&["127.0.0.1:1000:22", "1000:23"]).len(), 1);
    assert_eq!(with(&["127.0.0.1:1000:22", "127.0.0.2:1000:23"]).len(), 0);
    assert_eq!(with(&["tcp:1000:22", "udp:1000:22"]).len(), 0);
    assert_eq!(with(&["24500:22"]).len(), 1);
    assert_eq!(with(&["0:22"]).len(), 1);
}

#[test]
fn two_consoles_cannot_share_a_place() {
    let both = |console: ConsoleSpec| {
        problems(|s| {
            s.serial = console.clone();
            s.devices = vec![DeviceSpec::Console(console)];
        })
    };
    assert_eq!(both(ConsoleSpec::Stdio).len(), 1);
    assert_eq!(both(ConsoleSpec::File("/tmp/log".into())).len(), 1);
    assert_eq!(both(ConsoleSpec::None).len(), 0);
}

#[test]
fn a_mac_address_names_one_card() {
    let with = |mac: [u8; 6]| {
        let device = DeviceSpec::Net(NetSpec { mac, ..net(&[]) });
        problems(|s| s.devices = vec![device])
    };
    assert_eq!(with([0; 6]).len(), 1);
    assert_eq!(with([1, 0, 0, 0, 0, 1]).len(), 1);
    assert_eq!(with([0xff; 6]).len(), 1);
}

#[test]
fn shares_have_a_tag_and_a_folder() {
    let with = |shares: Vec<DeviceSpec>| problems(|s| s.devices = shares);
    assert_eq!(with(vec![share("a", "/"), share("b", "/")]).len(), 0);
    assert_eq!(with(vec![share("a", "/"), share("a", "/")]).len(), 1);
    assert_eq!(with(vec![share("a", "/nonexistent")]).len(), 1);
    let mapped = |protocol| {
        DeviceSpec::Fs(FsSpec {
            protocol,
            security: Security::MappedXattr,
            ..FsSpec::new("a", "/")
        })
    };
    assert_eq!(with(vec![mapped(ShareProtocol::P9)]).len(), 0);
    assert_eq!(with(vec![mapped(ShareProtocol::VirtioFs)]).len(), 1);
    assert_eq!(with(vec![share("a", "/etc/passwd")]).len(), 1);
    assert_eq!(with(vec![share(&"x".repeat(37), "/")]).len(), 1);
    assert_eq!(with(vec![share("", "/")]).len(), 1);
}

#[test]
fn disks_exist_and_have_short_serial_numbers() {
    let with = |path: &str, serial: Option<&str>| {
        let blk = BlkSpec {
            read_only: true,
            serial: serial.map(Into::into),
            ..BlkSpec::new(path)
        };
        problems(|s| s.devices = vec![DeviceSpec::Blk(blk)])
    };
    assert_eq!(with("/etc/passwd", Some("disk0")).len(), 0);
    assert_eq!(with("/etc", None).len(), 1);
    assert_eq!(with("/nonexistent", None).len(), 1);
    assert_eq!(with("/etc/passwd", Some(&"x".repeat(21))).len(), 1);
}

#[test]
fn a_socket_device_has_a_guests_identifier_and_a_path_that_fits() {
    let with = |cid: u32, socket: &str| {
        let socket = Some(socket.into());
        let vsock = VsockSpec { cid, socket };
        problems(|s| s.devices = vec![DeviceSpec::Vsock(vsock)]).len()
    };
    assert_eq!(with(3, "/run/vm.sock"), 0);
    for cid in [0, 1, 2, u32::MAX] {
        assert_eq!(with(cid, "/run/vm.sock"), 1, "{cid}");
    }
    assert_eq!(with(3, &"x".repeat(VsockSpec::MAX_PATH + 1)), 1);
    let vhost = |cid| {
        let vsock = VsockSpec { cid, socket: None };
        problems(|s| s.devices = vec![DeviceSpec::Vsock(vsock)]).len()
    };
    assert_eq!((vhost(3), vhost(2)), (0, 1));
}

#[test]
fn a_balloon_leaves_the_guest_some_memory() {
    let with = |size: u64| {
        let balloon = DeviceSpec::Balloon(BalloonSpec { size });
        problems(|s| {
            s.memory = 1 << 30;
            s.devices = vec![balloon];
        })
    };
    assert_eq!(with(0).len(), 0);
    assert_eq!(with((1 << 30) - 4096).len(), 0);
    assert_eq!(with(1 << 30).len(), 1);
}

#[test]
fn a_credential_is_at_most_1_mib_and_its_file_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let with = |text: String| {
        let credential = text.parse().unwrap();
        problems(|s| s.credentials = vec![credential])
    };
    let from_file = || with(format!("n=@{}", file.display()));
    assert!(from_file()[0].contains("cannot find credential"));
    std::fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(from_file(), Vec::<String>::new());
    std::fs::write(&file, vec![b'x'; (1 << 20) + 1]).unwrap();
    assert_eq!(
        from_file(),
        ["credential: credential `n` is larger than 1 MiB"]
    );
    assert_eq!(with(format!("n={}", "x".repeat((1 << 20) + 1))).len(), 1);
    assert!(with(format!("n=@{}", folder.path().display()))[0].contains("no regular file"));
    let half = |name: &str| format!("{name}={}", "x".repeat(1 << 19)).parse().unwrap();
    let so_many = |names: &'static [&str]| {
        problems(|s| s.credentials = names.iter().map(|name| half(name)).collect())
    };
    assert_eq!(so_many(&["a", "b"]), Vec::<String>::new());
    assert_eq!(
        so_many(&["a", "b", "c", "d"]),
        ["credential: from `c` on, credentials are larger than 1 MiB together"]
    );
}
