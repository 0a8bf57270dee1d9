//! The tree of packages: one archive per recipe, made by mmdebstrap and kept in the cache.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::ImageError;
use super::key::Key;
use super::mirror;
use super::program::Host;
use super::recipe::Recipe;
use super::script;
use super::spec::{Event, ImageSpec, KernelFlavour, Progress};

/// Changes when the way in which trees are made changes.
const FORMAT: &str = "1";

/// A tree in the making.
pub(super) struct TreeBuild<'b> {
    /// The machine that builds.
    pub(super) host: &'b Host,
    /// What is asked for.
    pub(super) spec: &'b ImageSpec,
    /// What goes in.
    pub(super) recipe: &'b Recipe,
}

impl TreeBuild<'_> {
    /// The key of the tree: whatever changes its contents changes it.
    pub(super) fn key(&self) -> Result<Key, ImageError> {
        let mut key = Key::new()
            .with(FORMAT)
            .with(&self.spec.suite)
            .with(kernel_package(self.spec.kernel))
            .with(self.packages())
            .with(script::customize(self.recipe));
        for package in &self.spec.extra_packages {
            key = key.with(fs::read(package).map_err(ImageError::file("read", package))?);
        }
        Ok(key)
    }

    fn packages(&self) -> String {
        self.recipe.packages.join(",")
    }

    /// The tree's archive: that of an earlier build with the same key, or a new one.
    pub(super) fn archive(
        &self,
        key: &Key,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, ImageError> {
        let folder = self.spec.cache.join("trees");
        fs::create_dir_all(&folder).map_err(ImageError::file("create", &folder))?;
        let kind = format!("{}-{}-", self.spec.variant.name, self.spec.suite);
        let archive = folder.join(format!("{kind}{}.tar", key.text()));
        if archive.is_file() && !self.spec.force {
            progress.event(Event::Reused);
            return Ok(archive);
        }
        let work = self.work();
        self.clear(&work)?;
        let above = work.parent().unwrap_or(&work);
        fs::create_dir_all(above)
            // One that is there now was put there by somebody else.
            .and_then(|()| fs::create_dir(&work))
            .map_err(ImageError::file("create", &work))?;
        let made = self.make(&work, progress);
        // Whatever came out of it, a rerun starts from the packages that are kept, not from this.
        let partial = work.join("tree.tar");
        let kept = made
            .and_then(|()| keep(&partial, &archive).map_err(ImageError::file("keep", &archive)));
        let cleared = self.clear(&work);
        kept.and(cleared)?;
        remove_others(&folder, &kind, &archive)?;
        Ok(archive)
    }

    /// The folder of what is there only during the build. In a folder of others it is this cache's alone, so that the next
    /// build sweeps away what a killed one left, and nobody else's is touched.
    fn work(&self) -> PathBuf {
        match &self.spec.work {
            None => self.spec.cache.join("work"),
            Some(folder) => {
                let cache = self.spec.cache.to_string_lossy();
                let key = Key::new().with(cache.as_ref()).text();
                folder.join(format!("pcp-vmm-build-{key}"))
            }
        }
    }

    /// Removes what a build left, but nothing that is mounted in there.
    fn clear(&self, work: &Path) -> Result<(), ImageError> {
        self.host
            .program("rm")
            .args(["-rf", "--one-file-system"])
            .arg(work)
            .run(|_| ())
    }

    fn make(&self, work: &Path, progress: &mut dyn Progress) -> Result<(), ImageError> {
        let packages = self.spec.cache.join("packages");
        fs::create_dir_all(&packages).map_err(ImageError::file("create", &packages))?;
        let recipe = work.join("recipe.sh");
        fs::write(&recipe, script::customize(self.recipe))
            .map_err(ImageError::file("write", &recipe))?;
        let mirror = self.spec.mirror.as_deref();
        let sources = mirror::sources(self.host, &self.spec.suite, mirror)?;
        let mode = if self.host.privileged {
            "root"
        } else {
            "unshare"
        };
        let mut program = self
            .host
            .program_that_mounts("mmdebstrap")
            .args([
                "--verbose",
                "--variant=minbase",
                "--format=tar",
                "--skip=essential/unlink",
            ])
            .arg(format!("--mode={mode}"))
            .arg(format!("--include={}", self.packages()))
            .args(APT_OPTIONS.map(|option| format!("--aptopt={option}")))
            .args(DPKG_OPTIONS.map(|option| format!("--dpkgopt={option}")))
            .args(self.hooks(&packages, &recipe));
        if Path::new(mirror::KEYRING).is_file() {
            program = program.arg(format!("--keyring={}", mirror::KEYRING));
        }
        if self.host.privileged {
            // The tree is put together here, on the cache's disk; unprivileged, another user needs
            // to get at it, and the default place allows that.
            program = program.env("TMPDIR", work);
        }
        let mut count = Count::default();
        program
            .arg(&self.spec.suite)
            .arg(work.join("tree.tar"))
            .args(sources)
            .run(|line| count.hear(line, progress))
    }

    /// What happens to the tree around the installation of packages. `"$1"` is the tree.
    fn hooks(&self, packages: &Path, recipe: &Path) -> Vec<String> {
        let cache = script::quote(&packages.to_string_lossy());
        let archives = "/var/cache/apt/archives";
        let mut hooks = vec![
            format!("--setup-hook=mkdir -p \"$1\"{archives}"),
            format!("--setup-hook=sync-in {cache} {archives}"),
            format!("--customize-hook={}", kernel_hook(self.spec.kernel)),
            format!("--customize-hook=sync-out {archives} {cache}"),
        ];
        for (number, package) in self.spec.extra_packages.iter().enumerate() {
            let outside = script::quote(&package.to_string_lossy());
            let inside = format!("/extra-{number}.deb");
            hooks.push(format!("--customize-hook=upload {outside} {inside}"));
            hooks.push(format!(
                "--customize-hook=chroot \"$1\" apt-get install --yes --no-install-recommends \
                 {inside} && rm \"$1\"{inside}"
            ));
        }
        let outside = script::quote(&recipe.to_string_lossy());
        hooks.push(format!("--customize-hook=upload {outside} /recipe.sh"));
        hooks
            .push("--customize-hook=chroot \"$1\" sh /recipe.sh && rm \"$1\"/recipe.sh".to_owned());
        hooks
    }
}

const APT_OPTIONS: [&str; 2] = [
    "Acquire::Languages \"none\"",
    "Apt::Install-Recommends \"false\"",
];

/// Manuals and translations stay out; licences stay in.
const DPKG_OPTIONS: [&str; 7] = [
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

fn kernel_package(flavour: KernelFlavour) -> &'static str {
    match flavour {
        KernelFlavour::Cloud => "linux-image-cloud-amd64",
        KernelFlavour::Standard => "linux-image-amd64",
    }
}

/// Unpacks the kernel's package instead of installing it: that would bring a builder of initrds,
/// and run it. The modules go where a merged /usr has them.
fn kernel_hook(flavour: KernelFlavour) -> String {
    let package = kernel_package(flavour);
    format!(
        r#"set -eu
root=$(realpath "$1")
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
kernel=$(apt-cache depends {package} | sed -n 's/^.*Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
test -n "$kernel"
cd "$root/var/cache/apt/archives"
apt-get download "$kernel"
mkdir "$root/kernel"
dpkg-deb -x "$(ls -t "$kernel"_*.deb | head -n 1)" "$root/kernel"
mkdir -p "$root/usr/lib/modules" "$root/boot"
for modules in "$root"/kernel/lib/modules/* "$root"/kernel/usr/lib/modules/*; do
    if [ -d "$modules" ]; then mv "$modules" "$root/usr/lib/modules/"; fi
done
mv "$root"/kernel/boot/vmlinuz-* "$root/boot/"
rm -r "$root/kernel"
chroot "$root" depmod "$(ls "$root/usr/lib/modules")""#
    )
}

/// Puts a whole file in the place of `archive`, which may be on another disk.
pub(super) fn keep(partial: &Path, archive: &Path) -> io::Result<()> {
    let whole = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    whole(partial)?;
    match fs::rename(partial, archive) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {}
        other => return other,
    }
    // A killed copy is an archive of no recipe, which the next build removes.
    let draft = archive.with_extension("partial");
    let copied = fs::copy(partial, &draft)
        .and_then(|_| whole(&draft))
        .and_then(|()| fs::rename(&draft, archive));
    if copied.is_err() {
        let _ = fs::remove_file(&draft);
    }
    copied
}

/// Removes the archives of other recipes for the same kind of image.
fn remove_others(folder: &Path, kind: &str, keep: &Path) -> Result<(), ImageError> {
    let failed = ImageError::file("clear", folder);
    let removed = fs::read_dir(folder).and_then(|entries| {
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with(kind) && path != keep {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    });
    removed.map_err(failed)
}

/// Counts packages as apt and dpkg name them: each is unpacked once and set up once.
#[derive(Default)]
struct Count {
    done: u64,
    total: u64,
}

impl Count {
    fn hear(&mut self, line: &str, progress: &mut dyn Progress) {
        progress.event(Event::Detail(line));
        let new = line
            .split_once(" newly installed")
            .and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u64>().ok());
        if let Some(new) = new {
            self.total += 2 * new;
        } else if line.starts_with("Unpacking ") || line.starts_with("Setting up ") {
            self.done += 1;
        } else {
            return;
        }
        // Essential packages are counted by nobody beforehand.
        let total = self.total.max(self.done);
        progress.event(Event::Packages {
            done: self.done,
            total,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_counted_as_they_pass() {
        struct Heard(Vec<(u64, u64)>);
        impl Progress for Heard {
            fn event(&mut self, event: Event<'_>) {
                if let Event::Packages { done, total } = event {
                    self.0.push((done, total));
                }
            }
        }
        let mut heard = Heard(Vec::new());
        let mut count = Count::default();
        for line in [
            "Unpacking base-files (13.8) ...",
            "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.",
            "Get:1 http://mirror.example.org/debian trixie/main amd64 pcp 6.3.8-1 [1 kB]",
            "Unpacking pcp (6.3.8-1) ...",
            "Setting up pcp (6.3.8-1) ...",
        ] {
            count.hear(line, &mut heard);
        }
        assert_eq!(heard.0, [(1, 1), (1, 4), (2, 4), (3, 4)]);
    }
}
