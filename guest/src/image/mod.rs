//! The builder of Debian images: from a variant to a bundle that `run` starts.
//!
//! A build has steps, each of which leaves either its whole result or nothing: packages become one
//! archive in the cache (kept under the key of the recipe), the bundle is put together beside its
//! place and then moved there. What was interrupted is started again by the next build; what was
//! finished is not repeated. One build at a time uses a cache; another waits.

mod error;
pub(crate) mod key;
pub(crate) mod mirror;
pub(crate) mod program;
mod recipe;
mod root;
mod script;
mod spec;
mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags};

pub use error::{ImageError, Tool};
use program::Host;
use recipe::Recipe;
pub use recipe::RecipeError;
pub use spec::{Event, ImageSpec, KernelFlavour, Progress, RootForm};

use crate::bundle::{self, BuildInfo, Bundle, ROOT_TAG, Root, Share};
use crate::init::INIT;

/// The file in a bundle that says which recipe it was built from.
const RECIPE_KEY: &str = "recipe-key";
/// Every package whose version a manifest tells besides those that the recipe names.
const TELLING: [&str; 2] = ["systemd", "libc6"];

const STEPS: [&str; 5] = [
    "checking what the host has",
    "installing the packages",
    "writing kernel and initrd",
    "writing the root file system",
    "putting the bundle in place",
];

/// Builds the image and returns its bundle, which is in `spec.output` then.
///
/// # Errors
/// If the host lacks a program or a mirror, a program fails, or files cannot be written. What the
/// build had finished by then is used by the next one.
pub fn build(spec: &ImageSpec, progress: &mut dyn Progress) -> Result<Bundle, ImageError> {
    build_on(&Host::current(), spec, progress)
}

/// The programs that a build of `form` calls and this machine lacks.
#[must_use]
pub fn missing_tools(form: RootForm) -> Vec<Tool> {
    let host = Host::current();
    host.missing(&root::tools(&host, form))
}

fn build_on(
    host: &Host,
    spec: &ImageSpec,
    progress: &mut dyn Progress,
) -> Result<Bundle, ImageError> {
    let recipe = Recipe::of(&spec.variant)?;
    warn(spec, progress);
    step(1, progress);
    fs::create_dir_all(&spec.cache).map_err(ImageError::file("create", &spec.cache))?;
    let _lock = lock(&spec.cache, progress)?;
    check_output(&spec.output)?;
    let tree = tree::TreeBuild {
        host,
        spec,
        recipe: &recipe,
    };
    let tree_key = tree.key()?;
    let cmdline = cmdline(spec.root);
    let key = tree_key
        .clone()
        .with(INIT)
        .with(&cmdline)
        .with(format!("{:?}", spec.root))
        .text();
    if let Some(bundle) = up_to_date(spec, &key) {
        progress.event(Event::Reused);
        return Ok(bundle);
    }
    provide_tools(host, spec, progress)?;

    step(2, progress);
    let archive = tree.archive(&tree_key, progress)?;

    let folder = partial(&spec.output);
    remove(&folder)?;
    fs::create_dir_all(&folder).map_err(ImageError::file("create", &folder))?;
    let delivery = root::Delivery {
        host,
        archive: &archive,
        folder: &folder,
    };
    let made = fill(spec, &recipe, &delivery, cmdline, progress)
        .and_then(|()| place(spec, &folder, &key, progress));
    if made.is_err() {
        // The room may be needed; the error is what counts.
        let _ = remove(&folder);
    }
    made
}

/// Puts everything but the key into the bundle's folder.
fn fill(
    spec: &ImageSpec,
    recipe: &Recipe,
    delivery: &root::Delivery<'_>,
    cmdline: String,
    progress: &mut dyn Progress,
) -> Result<(), ImageError> {
    step(3, progress);
    let kernel_release = delivery.kernel(spec.root)?;
    step(4, progress);
    delivery.root(spec.root, progress)?;
    let packages = delivery.packages()?;
    let info = BuildInfo {
        builder: concat!("pcp-vmm ", env!("CARGO_PKG_VERSION")).to_owned(),
        suite: format!("debian {}", spec.suite),
        kernel_release,
        packages: packages
            .into_iter()
            .filter(|(name, _)| {
                recipe.packages.contains(name)
                    || TELLING.contains(&name.as_str())
                    || spec
                        .variant
                        .services
                        .iter()
                        .any(|s| s.slot.as_ref() == Some(name))
            })
            .collect(),
    };
    manifest(spec, delivery.folder, cmdline, info).write()?;
    Ok(())
}

/// Moves the finished folder to its place.
fn place(
    spec: &ImageSpec,
    folder: &Path,
    key: &str,
    progress: &mut dyn Progress,
) -> Result<Bundle, ImageError> {
    step(5, progress);
    let mark = folder.join(RECIPE_KEY);
    bundle::replace(&mark, key.as_bytes()).map_err(ImageError::file("write", &mark))?;
    let failed = ImageError::file("place", &spec.output);
    if spec.output.exists() {
        // Both names stay whole at every moment; afterwards the old bundle has the other one.
        rustix::fs::renameat_with(CWD, folder, CWD, &spec.output, RenameFlags::EXCHANGE)
            .map_err(|errno| failed(errno.into()))?;
        remove(folder)?;
    } else {
        fs::rename(folder, &spec.output).map_err(failed)?;
    }
    Ok(Bundle::load(&spec.output)?)
}

fn step(number: usize, progress: &mut dyn Progress) {
    let title = STEPS[number - 1];
    progress.event(Event::Step {
        number,
        count: STEPS.len(),
        title,
    });
}

fn warn(spec: &ImageSpec, progress: &mut dyn Progress) {
    if let Some(login) = &spec.variant.debug_logins.ssh {
        let password = login.password.as_deref().unwrap_or_default();
        progress.event(Event::Warning(&format!(
            "this is a debug image: `{}` logs in with the password `{password}`, over SSH too",
            login.user
        )));
    }
    for package in spec
        .variant
        .services
        .iter()
        .filter_map(|service| service.slot.as_ref())
    {
        if spec.extra_packages.is_empty() {
            progress.event(Event::Warning(&format!(
                "package `{package}` is in no Debian suite and is left out; \
                 give its file with --package to have it"
            )));
        }
    }
}

/// Waits until no other build uses the cache; the lock ends with the file.
fn lock(cache: &Path, progress: &mut dyn Progress) -> Result<File, ImageError> {
    let path = cache.join("lock");
    let failed = ImageError::file("lock", &path);
    let file = match File::create(&path) {
        Ok(file) => file,
        Err(error) => return Err(failed(error)),
    };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        progress.event(Event::Detail("waiting for another build"));
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| failed(errno.into()))?;
    }
    Ok(file)
}

/// A folder that holds something else than a bundle is not replaced.
fn check_output(output: &Path) -> Result<(), ImageError> {
    let parent = parent(output);
    fs::create_dir_all(parent).map_err(ImageError::file("create", parent))?;
    let empty = match fs::read_dir(output) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !output.exists(),
    };
    if empty || output.join(bundle::MANIFEST).is_file() {
        return Ok(());
    }
    Err(ImageError::OutputInUse(output.to_owned()))
}

fn up_to_date(spec: &ImageSpec, key: &str) -> Option<Bundle> {
    let built = fs::read_to_string(spec.output.join(RECIPE_KEY)).ok()?;
    let bundle = Bundle::load(&spec.output).ok()?;
    (built == key && !spec.force).then_some(bundle)
}

fn provide_tools(
    host: &Host,
    spec: &ImageSpec,
    progress: &mut dyn Progress,
) -> Result<(), ImageError> {
    if spec.root == RootForm::Share && !host.privileged {
        return Err(ImageError::ShareNeedsRoot);
    }
    let missing = host.missing(&root::tools(host, spec.root));
    if missing.is_empty() {
        return Ok(());
    }
    if !(spec.install_missing && host.privileged) {
        return Err(ImageError::MissingTools { missing });
    }
    host.program("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(missing.iter().map(|tool| tool.package))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run(|line| progress.event(Event::Detail(line)))
}

/// The kernel command line of an image. docs/image.md says why each word is there.
fn cmdline(form: RootForm) -> String {
    let root = match form {
        RootForm::Share => format!("virtiofs:{ROOT_TAG}"),
        RootForm::Disk(format) => format!("disk:{ROOT_TAG}:{}", format.name()),
    };
    format!("{CMDLINE} pcpvmm.root={root}")
}

/// docs/image.md says why each word is there.
const CMDLINE: &str = "console=ttyS0,115200 console=hvc0 8250.nr_uarts=1 reboot=t panic=-1 \
    loglevel=6 audit=0 lsm=yama rcupdate.rcu_expedited=1 systemd.show_status=false \
    systemd.tty.term.console=dumb systemd.tty.rows.console=24 systemd.tty.columns.console=80";

fn manifest(spec: &ImageSpec, folder: &Path, cmdline: String, build: BuildInfo) -> Bundle {
    let variant = &spec.variant;
    let absent: Vec<_> = variant
        .services
        .iter()
        .filter(|service| {
            service
                .slot
                .as_ref()
                .is_some_and(|package| !build.packages.contains_key(package))
        })
        .map(|service| service.unit.as_str())
        .collect();
    let there = |unit: &str| !absent.contains(&unit);
    Bundle {
        dir: folder.to_owned(),
        schema_version: bundle::SCHEMA_VERSION,
        variant: variant.name.clone(),
        hostname: variant.hostname.clone(),
        process: variant.hostname.clone(),
        kernel: "kernel".into(),
        initrd: Some("initrd".into()),
        cmdline,
        root: match spec.root {
            RootForm::Share => Root::Share(Share {
                tag: ROOT_TAG.to_owned(),
                path: "root".into(),
                read_only: true,
                proto: bundle::ShareProtocol::VirtioFs,
            }),
            RootForm::Disk(format) => Root::Disk {
                path: root::disk_name(format).into(),
                format,
                read_only: true,
            },
        },
        shares: Vec::new(),
        memory_mib: variant.memory_mib,
        cpus: variant.cpus,
        mac: variant.mac,
        forwards: variant.forwards.clone(),
        consoles: variant.consoles.clone(),
        services: variant
            .services
            .iter()
            .filter(|service| there(&service.unit))
            .map(|service| service.unit.clone())
            .collect(),
        metrics: variant.metrics.clone(),
        http_checks: variant
            .http_checks
            .iter()
            .filter(|(unit, _)| there(unit))
            .map(|(_, check)| check.clone())
            .collect(),
        logins: variant.debug_logins.clone(),
        // Its init brings one along.
        agent: true,
        build,
    }
}

/// Where a bundle is put together: beside its place, so that it can be moved there.
fn partial(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    parent(output).join(format!(".{name}.partial"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn remove(folder: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ImageError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
