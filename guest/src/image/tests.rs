use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::bundle::DiskFormat;
use crate::variant;

/// Stands in for mmdebstrap: notes that it was called, does what the file `mode` says, and writes
/// an archive with the least that a build looks for.
const FAKE_MMDEBSTRAP: &str = r#"#!/bin/sh
set -eu
here=$(dirname "$0")
printf '%s\n' "$*" >> "$here/calls"
for word; do case $word in *.tar) archive=$word ;; esac; done
echo "0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded."
echo "Unpacking pcp (6.3.8-1) ..."
case $(cat "$here/mode") in
    killed) echo half > "$archive"; kill -9 $$ ;;
    full) echo half > "$archive"; cat /dev/zero > /dev/full ;;
    short) echo "E: You don't have enough free space in /var/cache/apt/archives/."
        for line in 1 2 3 4 5 6 7 8; do echo "I: cleaning up $line"; done; exit 25 ;;
esac
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
modules=$tree/usr/lib/modules/6.1-fake
mkdir -p "$tree/boot" "$modules" "$tree/var/lib/dpkg" "$tree/etc" "$tree/dev"
echo kernel > "$tree/boot/vmlinuz-6.1-fake"
echo fake > "$tree/etc/hostname"
: > "$modules/modules.dep"
for m in virtio_pci virtio_mmio fuse virtiofs overlay virtio_net virtio_rng virtio_blk erofs; do
    echo "kernel/$m.ko" >> "$modules/modules.builtin"
done
for package in pcp unrelated $(cat "$here/extra"); do
    printf 'Package: %s\nStatus: install ok installed\nVersion: 6.3.8-1\n\n' "$package"
done > "$tree/var/lib/dpkg/status"
tar -C "$tree" -cf "$archive" .
"#;

const FAKE_MKFS: &str = "#!/bin/sh\nset -eu\ncat \"$2/etc/hostname\" > \"$1\"\n";

/// A machine with stand-ins for the tools, and a build on it.
struct Bench {
    dir: tempfile::TempDir,
    host: Host,
    spec: ImageSpec,
}

/// What a build told.
#[derive(Default)]
struct Heard(Vec<String>);

impl Progress for Heard {
    fn event(&mut self, event: Event<'_>) {
        self.0.push(format!("{event:?}"));
    }
}

fn bench(variant: &str, root: RootForm) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, text) in [("mmdebstrap", FAKE_MMDEBSTRAP), ("mkfs.erofs", FAKE_MKFS)] {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(bin.join("mode"), "work").unwrap();
    fs::write(bin.join("extra"), "").unwrap();
    let host = Host::new(format!("{}:/usr/bin:/bin", bin.display()).as_ref(), true);
    let variant = variant::find(variant).unwrap();
    let (output, cache) = (dir.path().join("out/bundle"), dir.path().join("cache"));
    let mut spec = ImageSpec::new(variant, output, cache);
    spec.mirror = Some("http://mirror.example.org/debian".to_owned());
    spec.root = root;
    Bench { dir, host, spec }
}

impl Bench {
    fn build(&self) -> (Result<Bundle, ImageError>, Heard) {
        let mut heard = Heard::default();
        (build_on(&self.host, &self.spec, &mut heard), heard)
    }

    fn set(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join("bin").join(file), text).unwrap();
    }

    /// How often mmdebstrap was called, and with what.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.dir.path().join("bin/calls")).unwrap_or_default();
        calls
            .lines()
            .filter(|line| line.starts_with("--verbose"))
            .map(str::to_owned)
            .collect()
    }

    /// The names in a folder, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join(folder))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_build_makes_a_bundle_with_a_root_share() {
    let bench = bench("base", RootForm::Share);
    let (bundle, heard) = bench.build();
    let bundle = bundle.unwrap();
    assert_eq!(bundle.dir, bench.spec.output);
    assert_eq!(bundle.build.kernel_release, "6.1-fake");
    assert_eq!(
        bundle.build.packages.into_iter().collect::<Vec<_>>(),
        [("pcp".to_owned(), "6.3.8-1".to_owned())]
    );
    assert_eq!(fs::read(bundle.dir.join("kernel")).unwrap(), b"kernel\n");
    assert_eq!(
        fs::read(bundle.dir.join("root/etc/hostname")).unwrap(),
        b"fake\n"
    );
    assert!(!bundle.dir.join("root/boot/vmlinuz-6.1-fake").exists());
    assert!(
        bundle.cmdline.ends_with("pcpvmm.root=virtiofs:root"),
        "{}",
        bundle.cmdline
    );
    let expected = ["bundle.json", "initrd", "kernel", "recipe-key", "root"];
    assert_eq!(bench.names("out/bundle"), expected);
    assert_eq!(bench.names("out"), ["bundle"]);
    let steps = heard
        .0
        .iter()
        .filter(|event| event.starts_with("Step"))
        .count();
    assert_eq!(steps, STEPS.len());
    assert!(
        heard.0.iter().any(|event| event.contains("debug image")),
        "{:?}",
        heard.0
    );
    assert!(
        heard
            .0
            .iter()
            .any(|event| event == "Packages { done: 1, total: 2 }")
    );
}

#[test]
fn a_build_makes_a_bundle_with_a_root_disk() {
    let bench = bench("base", RootForm::Disk(DiskFormat::Erofs));
    let bundle = bench.build().0.unwrap();
    assert!(
        bundle.cmdline.ends_with("pcpvmm.root=disk:root:erofs"),
        "{}",
        bundle.cmdline
    );
    assert_eq!(
        bench.names("out/bundle"),
        [
            "bundle.json",
            "initrd",
            "kernel",
            "recipe-key",
            "root.erofs"
        ]
    );
    assert_eq!(fs::read(bundle.dir.join("root.erofs")).unwrap(), b"fake\n");
}

#[test]
fn a_finished_build_is_not_repeated() {
    let mut bench = bench("base", RootForm::Share);
    bench.build().0.unwrap();
    let (again, heard) = bench.build();
    again.unwrap();
    assert_eq!(bench.calls().len(), 1);
    assert_eq!(heard.0.last().unwrap(), "Reused");
    bench.spec.force = true;
    bench.build().0.unwrap();
    assert_eq!(bench.calls().len(), 2, "unless it is asked for");
}

#[test]
fn another_form_of_root_uses_the_same_packages() {
    let mut bench = bench("base", RootForm::Share);
    bench.build().0.unwrap();
    bench.spec.root = RootForm::Disk(DiskFormat::Erofs);
    let bundle = bench.build().0.unwrap();
    assert!(matches!(bundle.root, Root::Disk { .. }));
    assert_eq!(bench.calls().len(), 1);
    assert!(
        !bundle.dir.join("root").exists(),
        "the bundle before is gone"
    );
}

#[test]
fn another_recipe_is_built_anew_and_the_old_packages_go() {
    let mut bench = bench("base", RootForm::Share);
    bench.build().0.unwrap();
    let first = bench.names("cache/trees");
    bench.spec.kernel = KernelFlavour::Standard;
    bench.build().0.unwrap();
    let second = bench.names("cache/trees");
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    let calls = fs::read_to_string(bench.dir.path().join("bin/calls")).unwrap();
    assert!(calls.contains("depends linux-image-amd64 "));
}

#[test]
fn a_killed_installation_leaves_nothing_and_a_rerun_completes() {
    let bench = bench("base", RootForm::Share);
    bench.set("mode", "killed");
    let error = bench.build().0.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`mmdebstrap` failed (signal: 9"),
        "{error}"
    );
    assert_eq!(bench.names("cache/trees"), [""; 0]);
    assert_eq!(bench.names("out"), [""; 0]);
    bench.set("mode", "work");
    bench.build().0.unwrap();
    assert_eq!(bench.calls().len(), 2);
}

#[test]
fn a_full_disk_is_told_as_such_and_a_rerun_completes() {
    let bench = bench("base", RootForm::Share);
    bench.set("mode", "full");
    let error = bench.build().0.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert!(error.hint().unwrap().starts_with("make room"));
    assert_eq!(bench.names("cache/work"), [""; 0]);
    bench.set("mode", "work");
    bench.build().0.unwrap();
}

#[test]
fn a_disk_that_apt_finds_too_small_is_told_as_such() {
    let bench = bench("base", RootForm::Share);
    bench.set("mode", "short");
    let error = bench.build().0.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
}

#[test]
fn what_a_killed_builder_left_is_swept_away() {
    let bench = bench("base", RootForm::Share);
    let cache = &bench.spec.cache;
    fs::create_dir_all(cache.join("work/mmdebstrap.x")).unwrap();
    fs::write(cache.join("work/tree.tar"), "half").unwrap();
    fs::create_dir_all(bench.dir.path().join("out/.bundle.partial/root")).unwrap();
    fs::write(bench.dir.path().join("out/.bundle.partial/kernel"), "half").unwrap();
    let bundle = bench.build().0.unwrap();
    assert_eq!(fs::read(bundle.dir.join("kernel")).unwrap(), b"kernel\n");
    assert_eq!(bench.names("out"), ["bundle"]);
    assert_eq!(bench.names("cache/work"), [""; 0]);
}

#[test]
fn a_build_works_in_the_folder_that_is_named_for_it_and_sweeps_its_own_alone() {
    let mut bench = bench("base", RootForm::Share);
    let tmp = bench.dir.path().join("tmp");
    bench.spec.work = Some(tmp.clone());
    fs::create_dir_all(tmp.join("of-others")).unwrap();
    bench.set("mode", "killed");
    bench.build().0.unwrap_err();
    assert_eq!(bench.names("tmp"), ["of-others"]);
    bench.set("mode", "work");
    bench.build().0.unwrap();
    assert_eq!(bench.names("tmp"), ["of-others"]);
    assert_eq!(bench.names("cache/work"), [""; 0]);
    assert_eq!(bench.names("cache/trees").len(), 1);
    let calls = fs::read_to_string(bench.dir.path().join("bin/calls")).unwrap();
    assert!(calls.contains("tmp/pcp-vmm-build-"), "{calls}");
}

#[test]
fn a_tree_is_kept_whole_from_another_disk_too() {
    let (one, other) = (tempfile::tempdir().unwrap(), "/dev/shm");
    let Ok(far) = tempfile::tempdir_in(other) else {
        panic!("this test needs a second file system at {other}");
    };
    for (from, name) in [(one.path(), "near"), (far.path(), "far")] {
        let (partial, archive) = (from.join("tree.tar"), one.path().join(name));
        fs::write(&partial, "tree").unwrap();
        tree::keep(&partial, &archive).unwrap();
        assert_eq!(fs::read(&archive).unwrap(), b"tree");
    }
    let missing = tree::keep(&far.path().join("none"), &one.path().join("x"));
    assert!(missing.is_err());
    let names = fs::read_dir(one.path()).unwrap();
    assert_eq!(names.count(), 2, "no draft is left");
}

#[test]
fn a_failure_after_the_packages_keeps_them_and_the_old_bundle() {
    let mut bench = bench("base", RootForm::Share);
    bench.build().0.unwrap();
    bench.spec.root = RootForm::Disk(DiskFormat::Erofs);
    bench.set(
        "mkfs.erofs",
        "#!/bin/sh\necho 'no room: No space left on device' >&2\nexit 1\n",
    );
    let error = bench.build().0.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert!(Bundle::load(&bench.spec.output).is_ok());
    assert_eq!(bench.names("out"), ["bundle"]);
    bench.set("mkfs.erofs", FAKE_MKFS);
    bench.build().0.unwrap();
    assert_eq!(bench.calls().len(), 1);
}

#[test]
fn missing_tools_are_named_with_their_packages() {
    let mut bench = bench("base", RootForm::Disk(DiskFormat::Erofs));
    let bin = bench.dir.path().join("empty");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/tar", bin.join("tar")).unwrap();
    bench.host = Host::new(bin.as_os_str(), true);
    let error = bench.build().0.unwrap_err();
    let ImageError::MissingTools { missing } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        missing[0],
        Tool {
            program: "mmdebstrap",
            package: "mmdebstrap"
        }
    );
    assert!(
        error
            .to_string()
            .starts_with("the build needs `mmdebstrap` (package mmdebstrap)")
    );
    assert!(
        error
            .hint()
            .unwrap()
            .starts_with("apt-get install mmdebstrap"),
        "{:?}",
        error.hint()
    );
}

#[test]
fn a_root_share_is_for_root_to_build() {
    let mut bench = bench("base", RootForm::Share);
    bench.host.privileged = false;
    let error = bench.build().0.unwrap_err();
    assert!(matches!(error, ImageError::ShareNeedsRoot));
    assert!(error.hint().unwrap().contains("--root-disk erofs"));
}

#[test]
fn a_folder_with_other_contents_is_not_replaced() {
    let bench = bench("base", RootForm::Share);
    fs::create_dir_all(&bench.spec.output).unwrap();
    fs::write(bench.spec.output.join("letter"), "dear").unwrap();
    assert!(matches!(
        bench.build().0.unwrap_err(),
        ImageError::OutputInUse(_)
    ));
    assert_eq!(bench.names("out/bundle"), ["letter"]);
}

#[test]
fn the_slot_for_grafana_is_empty_unless_its_package_is_given() {
    let mut bench = bench("grafana", RootForm::Share);
    let (bundle, heard) = bench.build();
    let bundle = bundle.unwrap();
    assert!(!bundle.services.contains(&"grafana".to_owned()));
    assert!(
        bundle
            .http_checks
            .iter()
            .all(|check| check.name != "grafana")
    );
    assert!(
        heard
            .0
            .iter()
            .any(|event| event.contains("`grafana` is in no Debian suite"))
    );

    let package = bench.dir.path().join("grafana.deb");
    fs::write(&package, "deb").unwrap();
    bench.spec.extra_packages.push(package);
    bench.set("extra", "grafana");
    let (bundle, heard) = bench.build();
    let bundle = bundle.unwrap();
    assert!(bundle.services.contains(&"grafana".to_owned()));
    assert!(
        bundle
            .http_checks
            .iter()
            .any(|check| check.name == "grafana")
    );
    assert!(bundle.build.packages.contains_key("grafana"));
    assert!(
        !heard
            .0
            .iter()
            .any(|event| event.contains("no Debian suite"))
    );
    let calls = fs::read_to_string(bench.dir.path().join("bin/calls")).unwrap();
    assert!(calls.contains("grafana.deb' /extra-0.deb"), "{calls}");
}

#[test]
fn a_second_build_waits_for_the_first() {
    let bench = bench("base", RootForm::Share);
    fs::create_dir_all(&bench.spec.cache).unwrap();
    let held = lock(&bench.spec.cache, &mut Heard::default()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.build());
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(bench.calls().is_empty(), "it does not begin");
        drop(held);
        let (bundle, heard) = waiting.join().unwrap();
        bundle.unwrap();
        assert!(
            heard
                .0
                .contains(&"Detail(\"waiting for another build\")".to_owned())
        );
    });
}
