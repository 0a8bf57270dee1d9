use std::io::Write;

use super::*;

/// A module tree with these indexes.
fn tree(dep: &str, softdep: &str, alias: &str, builtin: &str) -> (tempfile::TempDir, ModuleTree) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("modules.dep", dep),
        ("modules.softdep", softdep),
        ("modules.alias", alias),
        ("modules.builtin", builtin),
    ] {
        if !text.is_empty() {
            fs::write(dir.path().join(name), text).unwrap();
        }
    }
    let tree = ModuleTree::open(dir.path()).unwrap();
    (dir, tree)
}

fn names(tree: &ModuleTree, wanted: &[&str]) -> Vec<String> {
    tree.resolve(wanted)
        .unwrap()
        .into_iter()
        .map(|module| module.name)
        .collect()
}

const NET: &str = "\
kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz kernel/net/failover.ko.xz
kernel/drivers/net/net_failover.ko.xz: kernel/net/failover.ko.xz
kernel/net/failover.ko.xz:
kernel/fs/overlayfs/overlay.ko.xz:
";

#[test]
fn what_a_module_needs_comes_before_it() {
    let (_dir, tree) = tree(NET, "", "", "");
    assert_eq!(
        names(&tree, &["virtio_net"]),
        ["failover", "net_failover", "virtio_net"]
    );
}

#[test]
fn a_module_is_loaded_once() {
    let (_dir, tree) = tree(NET, "", "", "");
    let wanted = ["overlay", "failover", "virtio-net", "overlay"];
    assert_eq!(
        names(&tree, &wanted),
        ["overlay", "failover", "net_failover", "virtio_net"]
    );
}

#[test]
fn built_in_modules_take_no_file() {
    let (_dir, tree) = tree(
        NET,
        "",
        "",
        "kernel/fs/fuse/fuse.ko\nkernel/drivers/virtio-pci.ko\n",
    );
    assert_eq!(names(&tree, &["fuse", "virtio_pci"]), [""; 0]);
}

#[test]
fn soft_dependencies_come_before_and_after() {
    let dep = "a/lib-c.ko:\na/intel.ko.zst:\na/generic.ko:\na/late.ko:\na/fs.ko: a/lib-c.ko\n";
    let softdep = "# comment\nsoftdep lib_c pre: crc platform: absent post: late\n\
                   softdep fs stray\n";
    let alias = "alias crc intel\nalias crc generic\nalias pci:v*d* late\n";
    let (_dir, tree) = tree(dep, softdep, alias, "");
    assert_eq!(
        names(&tree, &["fs"]),
        ["intel", "generic", "lib_c", "late", "fs"]
    );
}

#[test]
fn circles_end() {
    let (_dir, tree) = tree("a.ko: b.ko\nb.ko: a.ko\n", "softdep a pre: a b\n", "", "");
    assert_eq!(names(&tree, &["a"]), ["b", "a"]);
}

#[test]
fn a_module_that_the_kernel_lacks_is_named() {
    let (_dir, tree) = tree(NET, "", "", "");
    let message = tree.resolve(&["overlay", "erofs"]).unwrap_err().to_string();
    assert!(message.ends_with("has no module `erofs`"), "{message}");
}

#[test]
fn a_folder_without_index_is_no_tree() {
    let dir = tempfile::tempdir().unwrap();
    let message = ModuleTree::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("modules.dep"), "{message}");
}

/// `printf 'a module\n' | xz --check=crc32`: the check that kernel modules have.
const XZ: &[u8] = &[
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01,
    0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x08, 0x61, 0x20, 0x6d, 0x6f, 0x64,
    0x75, 0x6c, 0x65, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x2e, 0xb6, 0x65, 0xce, 0x00, 0x01, 0x1d, 0x09,
    0x93, 0x61, 0x36, 0xa6, 0x90, 0x42, 0x99, 0x0d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
];

#[test]
fn compressed_modules_are_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let contents: Vec<u8> = (0..20_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        Module {
            name: "m".to_owned(),
            path,
        }
    };
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&contents).unwrap();
    let zst = ruzstd::encoding::compress_to_vec(
        &contents[..],
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    assert_eq!(write("m.ko", &contents).read().unwrap(), contents);
    assert_eq!(
        write("m.ko.gz", &gz.finish().unwrap()).read().unwrap(),
        contents
    );
    assert_eq!(write("m.ko.zst", &zst).read().unwrap(), contents);
    assert_eq!(write("m.ko.xz", XZ).read().unwrap(), b"a module\n");
    assert!(
        write("m.ko.xz", &XZ[..40]).read().is_err(),
        "a cut file is no module"
    );
    assert!(write("n.ko.zst", b"not zstd").read().is_err());
}

#[test]
fn signatures_are_left_out() {
    let module = |body: &[u8], length: u32| {
        let info = [&[0, 0, 2, 0, 0, 0, 0, 0][..], &length.to_be_bytes()].concat();
        [body, b"signature", &info, b"~Module signature appended~\n"].concat()
    };
    assert_eq!(unsigned_len(&module(b"body", 9)), 4);
    assert_eq!(unsigned_len(b"body"), 4);
    let wrong = module(b"body", 1000);
    assert_eq!(
        unsigned_len(&wrong),
        wrong.len(),
        "a length beyond the file says nothing"
    );
    let short = b"~Module signature appended~\n";
    assert_eq!(unsigned_len(short), short.len());
}
