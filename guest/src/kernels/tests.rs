use std::fmt::Write as _;
use std::process::Command;

use super::*;
use crate::image::program::Host;
use crate::image::{Event, Progress};

/// A signed mirror in a folder, and a cache beside it.
struct Mirror(tempfile::TempDir);

/// What an addition told.
#[derive(Default)]
struct Heard(Vec<String>);

impl Progress for Heard {
    fn event(&mut self, event: Event<'_>) {
        self.0.push(format!("{event:?}"));
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}

fn sha256(file: &Path) -> String {
    let output = run(Command::new("sha256sum").arg(file));
    String::from_utf8(output).unwrap()[..64].to_owned()
}

impl Mirror {
    /// A mirror whose suite `test` has these kernels: release and version.
    fn with(kernels: &[(&str, &str)]) -> Self {
        let mirror = Self(tempfile::tempdir().unwrap());
        let mut index = String::new();
        for (release, version) in kernels {
            mirror.package(release, version, &mut index);
        }
        let folder = mirror.path("mirror/dists/test/main/binary-amd64");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Packages"), index).unwrap();
        mirror.sign();
        mirror
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> KernelStore {
        KernelStore::new(self.path("cache"))
    }

    fn deb(&self, release: &str) -> PathBuf {
        self.path(&format!("mirror/pool/{release}.deb"))
    }

    fn package(&self, release: &str, version: &str, index: &mut String) {
        let tree = self.path(release);
        let modules = tree.join("lib/modules").join(release);
        for folder in [
            &tree.join("boot"),
            &tree.join("DEBIAN"),
            &modules.join("kernel"),
        ] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(
            tree.join("boot").join(format!("vmlinuz-{release}")),
            release,
        )
        .unwrap();
        fs::write(
            tree.join("boot").join(format!("config-{release}")),
            "CONFIG_X=y\n",
        )
        .unwrap();
        fs::write(modules.join("modules.builtin"), "kernel/fs/fuse/fuse.ko\n").unwrap();
        fs::write(modules.join("modules.order"), "").unwrap();
        let control = format!(
            "Package: linux-image-{release}\nVersion: {version}\nArchitecture: amd64\n\
             Maintainer: Test <test@example.org>\nDescription: test\n"
        );
        fs::write(tree.join("DEBIAN/control"), &control).unwrap();
        let deb = self.deb(release);
        fs::create_dir_all(deb.parent().unwrap()).unwrap();
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&tree)
            .arg(&deb));
        let size = fs::metadata(&deb).unwrap().len();
        let sum = sha256(&deb);
        write!(
            index,
            "{control}Filename: pool/{release}.deb\nSize: {size}\nSHA256: {sum}\n\n"
        )
        .unwrap();
    }

    /// Signs the suite as it is with a key of its own.
    fn sign(&self) {
        let home = self.path("keys");
        fs::create_dir_all(&home).unwrap();
        let gpg = || {
            let mut gpg = Command::new("gpg");
            gpg.args(["--batch", "--quiet", "--yes", "--passphrase", ""]);
            gpg.env("GNUPGHOME", &home);
            gpg
        };
        let key = [
            "--quick-generate-key",
            "test@example.org",
            "rsa2048",
            "sign",
            "never",
        ];
        run(gpg().args(key));
        let suite = self.path("mirror/dists/test");
        let packages = suite.join("main/binary-amd64/Packages");
        let release = format!(
            "Origin: Test\nSuite: test\nCodename: test\nArchitectures: amd64\nComponents: main\n\
             Date: Sat, 01 Nov 2025 00:00:00 UTC\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            sha256(&packages),
            fs::metadata(&packages).unwrap().len()
        );
        fs::write(suite.join("Release"), release).unwrap();
        let signed = suite.join("InRelease");
        run(gpg()
            .args(["--clearsign", "--output"])
            .arg(&signed)
            .arg(suite.join("Release")));
        run(gpg()
            .args(["--export", "--output"])
            .arg(self.path("keys.gpg")));
        // The agent would outlive the test.
        run(Command::new("gpgconf")
            .args(["--kill", "all"])
            .env("GNUPGHOME", &home));
    }

    fn order(&self, wanted: &str) -> Order {
        Order {
            wanted: wanted.to_owned(),
            flavour: None,
            suite: Some("test".to_owned()),
            source: Source {
                mirror: Some(format!("file:{}", self.path("mirror").display())),
                keyring: Some(self.path("keys.gpg")),
            },
        }
    }

    fn add(&self, wanted: &str) -> (Result<CachedKernel, KernelError>, Vec<String>) {
        let mut heard = Heard::default();
        let added = self
            .store()
            .add_on(&Host::current(), &self.order(wanted), &mut heard);
        (added, heard.0)
    }

    /// What the cache holds but its lock and lists.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("cache")).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|it| it != ".lock" && it != ".lists").collect();
        names.sort();
        names
    }
}

/// What an error and its causes say.
fn said(error: &KernelError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

const CLOUD: (&str, &str) = ("6.12.57+deb13-cloud-amd64", "6.12.57-1");
const STANDARD: (&str, &str) = ("6.12.57+deb13-amd64", "6.12.57-1");
const OLDER: (&str, &str) = ("6.12.9+deb13-cloud-amd64", "6.12.9-1");

#[test]
fn a_kernel_is_fetched_once_and_whole() {
    let mirror = Mirror::with(&[OLDER, CLOUD, STANDARD]);
    let (kernel, heard) = mirror.add("6.12");
    let kernel = kernel.unwrap();
    assert_eq!((&*kernel.release, &*kernel.version), CLOUD);
    assert_eq!(kernel.flavour, KernelFlavour::Cloud);
    assert_eq!(kernel.packages[0].sha256, sha256(&mirror.deb(CLOUD.0)));
    assert_eq!(fs::read_to_string(kernel.image()).unwrap(), CLOUD.0);
    assert_eq!(fs::read_to_string(kernel.config()).unwrap(), "CONFIG_X=y\n");
    assert!(kernel.modules().join("modules.dep").exists());
    assert!(kernel.size > 0);
    let files = fs::read_dir(kernel.folder()).unwrap();
    let mut files: Vec<_> = files.map(|it| it.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["config", "kernel.json", "modules", "vmlinuz"]);
    assert_eq!(mirror.cached(), [CLOUD.0]);
    assert!(!heard.contains(&"Reused".to_owned()));

    let (again, heard) = mirror.add("6.12.57-1");
    assert_eq!(again.unwrap(), kernel);
    assert!(heard.contains(&"Reused".to_owned()), "{heard:?}");
    assert_eq!(mirror.store().kernels().unwrap(), [kernel]);
}

#[test]
fn what_is_not_as_signed_is_not_taken() {
    let mirror = Mirror::with(&[CLOUD]);
    let deb = mirror.deb(CLOUD.0);
    let mut bytes = fs::read(&deb).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&deb, bytes).unwrap();
    let error = mirror.add("6.12").0.unwrap_err();
    assert!(
        matches!(error, KernelError::Fetch { .. }),
        "{}",
        said(&error)
    );
    assert!(
        said(&error).contains("Hash Sum mismatch"),
        "{}",
        said(&error)
    );
    assert!(mirror.cached().is_empty());

    let mirror = Mirror::with(&[CLOUD]);
    let packages = mirror.path("mirror/dists/test/main/binary-amd64/Packages");
    let index = fs::read_to_string(&packages).unwrap();
    fs::write(&packages, index.replace("6.12.57-1", "6.12.58-1")).unwrap();
    let error = mirror.add("6.12").0.unwrap_err();
    assert!(
        matches!(error, KernelError::Lists { .. }),
        "{}",
        said(&error)
    );

    // Good signatures of somebody else.
    let other = Mirror::with(&[CLOUD]);
    let mut order = other.order("6.12");
    order.source.keyring = Some(mirror.path("keys.gpg"));
    let added = other
        .store()
        .add_on(&Host::current(), &order, &mut Heard::default());
    let error = added.unwrap_err();
    assert!(
        matches!(error, KernelError::Lists { .. }),
        "{}",
        said(&error)
    );
    assert!(said(&error).contains("is not signed"), "{}", said(&error));
    assert!(other.cached().is_empty());
}

#[test]
fn a_mirror_that_is_not_there_and_a_kernel_that_is_not_are_told() {
    let mirror = Mirror::with(&[OLDER, STANDARD]);
    let error = mirror.add("6.12.57").0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "test has no kernel 6.12.57 of the flavour cloud"
    );
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("there are 6.12.9-1;"), "{hint}");

    let mut order = mirror.order("6.12");
    order.source.mirror = Some("file:/nonexistent".to_owned());
    let added = mirror
        .store()
        .add_on(&Host::current(), &order, &mut Heard::default());
    let error = added.unwrap_err();
    assert_eq!(error.to_string(), "cannot read the package lists of test");
    assert!(error.hint().is_some());

    let bare = Host::new("/nonexistent".as_ref(), false);
    let added = mirror
        .store()
        .add_on(&bare, &mirror.order("6.12"), &mut Heard::default());
    let error = added.unwrap_err();
    assert!(
        error.to_string().contains("`apt-get` (package apt)"),
        "{error}"
    );
}

#[test]
fn a_kernel_in_use_is_not_removed_and_a_removed_one_leaves_nothing() {
    let mirror = Mirror::with(&[CLOUD, STANDARD]);
    mirror.add(CLOUD.0).0.unwrap();
    mirror.add(STANDARD.0).0.unwrap();
    let store = mirror.store();
    let (kernel, held) = store.hold("6.12").unwrap().unwrap();
    assert_eq!(kernel.release, CLOUD.0);
    assert_eq!(
        store.hold(STANDARD.0).unwrap().unwrap().0.release,
        STANDARD.0
    );
    assert!(store.hold("6.1").unwrap().is_none());
    let error = store.remove(CLOUD.0).unwrap_err();
    assert!(matches!(error, KernelError::InUse(_)), "{error}");
    assert_eq!(store.kernels().unwrap().len(), 2);
    drop(held);
    store.remove(CLOUD.0).unwrap();
    assert_eq!(mirror.cached(), [STANDARD.0]);
}

#[test]
fn what_killed_processes_left_is_swept_away_and_what_is_damaged_is_told_and_replaced() {
    let mirror = Mirror::with(&[CLOUD]);
    for left in [
        ".6.12.57+deb13-cloud-amd64.part/debs",
        ".6.1.0-41-amd64.gone/modules",
    ] {
        fs::create_dir_all(mirror.path("cache").join(left)).unwrap();
    }
    assert!(mirror.store().entries().unwrap().is_empty());
    let damaged = mirror.path("cache").join(CLOUD.0);
    fs::create_dir_all(&damaged).unwrap();
    fs::write(damaged.join("kernel.json"), "{}").unwrap();
    let entries = mirror.store().entries().unwrap();
    assert_eq!(entries[0].name, CLOUD.0);
    assert!(entries[0].kernel.is_err());
    assert!(mirror.store().hold("6.12").unwrap().is_none());
    mirror.add("6").0.unwrap();
    assert_eq!(mirror.cached(), [CLOUD.0]);
    assert_eq!(mirror.store().kernels().unwrap().len(), 1);
}
