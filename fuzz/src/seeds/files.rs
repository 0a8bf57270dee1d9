//! Files that are taken: a manifest, kernels, a disk image.

use vmm::boot::testing::bzimage;

use super::Seed;
use super::bytes::Bytes;

const MIB: u64 = 1 << 20;

/// The files beside the kernel that [`crate::files`] has are `initrd` and `root`.
const MANIFEST: &str = r#"{
  "schema_version": 1, "variant": "base", "hostname": "pcp-vm", "process": "pcp-vm",
  "kernel": "kernel", "initrd": "initrd", "cmdline": "console=ttyS0",
  "root": { "kind": "share", "tag": "root", "path": "folder", "read_only": true },
  "shares": [{ "tag": "data", "path": "folder", "read_only": false, "proto": "9p" }],
  "memory_mib": 1024, "cpus": 4, "mac": "02:00:00:0a:cb:01",
  "forwards": [
    { "name": "ssh", "protocol": "tcp", "host": 22022, "guest": 22 },
    { "name": "dns", "protocol": "udp", "address": "127.0.0.1", "host": 22022, "guest": 53 }
  ],
  "consoles": [{ "device": "ttyS0", "port": 24500 }, { "device": "hvc0", "port": 24501 }],
  "services": ["pmcd"], "metrics": ["kernel.all.load"],
  "http_checks": [{ "name": "pmproxy", "port": 44322, "path": "/pmapi/1/metrics?target=a.b" }],
  "logins": { "ssh": { "user": "root", "password": "pcp" } },
  "build": {
    "builder": "test", "suite": "debian trixie", "kernel_release": "6.12.0",
    "packages": { "pcp": "6.3.8-1" }
  }
}"#;
const WITH_DISK: &str = r#"{
  "schema_version": 1, "variant": "eval", "hostname": "a", "process": "a",
  "kernel": "kernel", "cmdline": "",
  "root": { "kind": "disk", "path": "root", "format": "erofs", "read_only": true },
  "shares": [], "memory_mib": 128, "cpus": 1, "mac": "02:00:00:0a:cb:02",
  "forwards": [], "consoles": [], "services": [], "metrics": [], "http_checks": [],
  "logins": { "console": { "user": "root", "password": "" } },
  "build": { "builder": "b", "suite": "s", "kernel_release": "6", "packages": {} }
}"#;

/// An ELF kernel with a note (owner and type), a segment of code, and one with a tail of zeros.
fn elf(owner: &str, kind: u32) -> Vec<u8> {
    let note = Bytes::new()
        .words(&[owner.len() as u32 + 1, 4, kind])
        .zero(owner);
    let mut note = note.0;
    note.resize(note.len().next_multiple_of(4), 0);
    note.extend((16 * MIB as u32).to_le_bytes());
    let notes_at = 64 + 3 * 56;
    let (code_at, code) = (notes_at + note.len() as u64, b"\xb0\x41\xf4");
    let file = Bytes::new()
        .raw(b"\x7fELF\x02\x01\x01")
        .raw(&[0; 9])
        .u16(2)
        .u16(62)
        .u32(1);
    let file = file.u64(16 * MIB).u64(64).u64(0).u32(0);
    let mut file = [64, 56, 3, 0, 0, 0]
        .iter()
        .fold(file, |file, half| file.u16(*half));
    let headers = [
        (4, notes_at, 0, note.len() as u64, 0),
        (1, code_at, 16 * MIB, 3, 100),
        (1, code_at, 18 * MIB, 2, MIB),
    ];
    for (kind, offset, address, in_file, in_memory) in headers {
        file = file.u32(kind).u32(7).u64(offset).u64(address).u64(address);
        file = file.u64(in_file).u64(in_memory).u64(4);
    }
    file.raw(&note).raw(code).0
}

/// `data` as gzip has what it could not compress (RFC 1952 §2, RFC 1951 §3.2.4).
fn stored_gzip(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap_or_default();
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let file = Bytes::new().raw(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1]);
    file.u16(len)
        .u16(!len)
        .raw(data)
        .u32(!crc)
        .u32(len.into())
        .0
}

/// `data` as one block of literals, as the kernel's lz4 has it.
fn stored_lz4(data: &[u8]) -> Vec<u8> {
    let mut block = vec![0xf0];
    let mut left = data.len() - 15;
    while left >= 255 {
        block.push(255);
        left -= 255;
    }
    block.push(left as u8);
    block.extend(data);
    let file = Bytes::new()
        .raw(b"\x02\x21\x4c\x18")
        .u32(block.len() as u32);
    file.raw(&block).u32(data.len() as u32).0
}

/// A qcow2 image of clusters of 512 bytes: header, two tables, refcounts, one cluster of data
/// (QEMU `docs/interop/qcow2.rst`).
fn qcow2() -> Vec<u8> {
    let word = |value: u32| value.to_be_bytes();
    let long = |value: u64| value.to_be_bytes();
    let cluster = |mut bytes: Vec<u8>| {
        bytes.resize(512, 0);
        bytes
    };
    let header = Bytes::new()
        .raw(b"QFI\xfb")
        .raw(&word(3))
        .raw(&long(0))
        .raw(&word(0));
    let header = header
        .raw(&word(9))
        .raw(&long(64 << 10))
        .raw(&word(0))
        .raw(&word(2));
    // The first table, the refcounts' table of one cluster, no snapshots, no features.
    let header = header
        .raw(&long(512))
        .raw(&long(1024))
        .raw(&word(1))
        .raw(&word(0));
    let header = header
        .raw(&long(0))
        .raw(&[0; 24])
        .raw(&word(4))
        .raw(&word(104));
    let copied = 1_u64 << 63;
    let first = Bytes::new().raw(&long(copied | 2048)).raw(&long(0));
    let counts = (0..6).flat_map(|_| 1_u16.to_be_bytes()).collect();
    let second = Bytes::new().raw(&long(copied | 2560)).raw(&long(1));
    [
        cluster(header.0),
        cluster(first.0),
        cluster(long(1536).to_vec()),
        cluster(counts),
        cluster(second.0),
        vec![0x5a; 512],
    ]
    .concat()
}

pub(super) fn seeds() -> Vec<Seed> {
    let linux = elf("Linux", 0x101);
    let seed = |target, name, bytes| Seed {
        target,
        name,
        bytes,
        successful: 1,
    };
    vec![
        seed("bundle", "share", MANIFEST.into()),
        seed("bundle", "disk", WITH_DISK.into()),
        seed("kernel", "elf", linux.clone()),
        seed("kernel", "pvh", elf("Xen", 18)),
        seed("kernel", "plain", bzimage(&linux)),
        seed("kernel", "gzip", bzimage(&stored_gzip(&linux))),
        seed("kernel", "lz4", bzimage(&stored_lz4(&linux))),
        seed("qcow2", "image", qcow2()),
    ]
}
