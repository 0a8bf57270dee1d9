//! Adding a kernel to the cache: found in a suite, fetched, unpacked, indexed, and put in its place.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::KernelError;
use super::offer::Offer;
use super::suite::{Source, Suite, TOOLS};
use super::{CachedKernel, HIDDEN, KernelStore, RECORD};
use crate::image::program::Host;
use crate::image::{Event, ImageError, KernelFlavour, Progress};

/// The suites that are looked through, in this order, where none is named: Debian's stable one, the one before, what is
/// backported to stable, and the development's.
const SUITES: [&str; 4] = ["trixie", "bookworm", "trixie-backports", "sid"];
const STEPS: usize = 4;

/// A kernel to add.
#[derive(Clone, Debug)]
pub struct Order {
    /// A release, a package's version, or how one of them begins: `6.12`. The newest of that name is taken.
    pub wanted: String,
    /// The flavour, unless `wanted` is a release, which names it.
    pub flavour: Option<KernelFlavour>,
    /// The suite; without one, Debian's are looked through.
    pub suite: Option<String>,
    /// The mirror.
    pub source: Source,
}

impl Order {
    fn flavour(&self) -> KernelFlavour {
        let package = format!("linux-image-{}", self.wanted);
        let named = Offer::named(&package).map(|(_, flavour)| flavour);
        named.or(self.flavour).unwrap_or(KernelFlavour::Cloud)
    }

    fn suites(&self) -> Vec<String> {
        suites(self.suite.as_deref())
    }
}

fn suites(named: Option<&str>) -> Vec<String> {
    match named {
        Some(name) => vec![name.to_owned()],
        None => SUITES.map(str::to_owned).to_vec(),
    }
}

impl KernelStore {
    /// Adds the kernel that `order` names, unless it is there, and returns it.
    ///
    /// # Errors
    /// If programs, keys or a mirror are missing, no suite has such a kernel, its packages cannot be fetched or are not
    /// what the suite says, or the folder cannot be written. The cache is then as it was.
    pub fn add(
        &self,
        order: &Order,
        progress: &mut dyn Progress,
    ) -> Result<CachedKernel, KernelError> {
        self.add_on(&Host::current(), order, progress)
    }

    pub(super) fn add_on(
        &self,
        host: &Host,
        order: &Order,
        progress: &mut dyn Progress,
    ) -> Result<CachedKernel, KernelError> {
        check(host)?;
        let _lock = self.lock(|| progress.event(Event::Detail("waiting for another process")))?;
        self.sweep()?;
        let mut offered = Vec::new();
        for name in order.suites() {
            step(1, &format!("reading what {name} has"), progress);
            let suite = Suite::fetch(host, &order.source, &name, &self.lists(), progress)?;
            let mut offers = suite.offers()?;
            offers.retain(|it| it.flavour == order.flavour());
            if let Some(offer) = offers.iter().find(|it| it.is_named(&order.wanted)) {
                return self.take(host, &suite, offer, progress);
            }
            offered.extend(offers);
        }
        Err(KernelError::NotOffered {
            wanted: order.wanted.clone(),
            flavour: order.flavour().name(),
            suites: order.suites(),
            offered: near(&offered, &order.wanted),
        })
    }

    /// The kernels that the suite, or each of the usual ones, has.
    ///
    /// # Errors
    /// As [`KernelStore::add`].
    pub fn available(
        &self,
        suite: Option<&str>,
        source: &Source,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Offer>, KernelError> {
        let host = Host::current();
        check(&host)?;
        let _lock = self.lock(|| progress.event(Event::Detail("waiting for another process")))?;
        let suites = suites(suite);
        let mut offers = Vec::new();
        for (index, name) in suites.iter().enumerate() {
            progress.event(Event::Step {
                number: index + 1,
                count: suites.len(),
                title: &format!("reading what {name} has"),
            });
            offers.extend(Suite::fetch(&host, source, name, &self.lists(), progress)?.offers()?);
        }
        Ok(offers)
    }

    /// Where apt keeps its lists.
    fn lists(&self) -> PathBuf {
        self.folder.join(format!("{HIDDEN}lists"))
    }

    fn take(
        &self,
        host: &Host,
        suite: &Suite<'_>,
        offer: &Offer,
        progress: &mut dyn Progress,
    ) -> Result<CachedKernel, KernelError> {
        let place = self.folder.join(&offer.release);
        if let Ok(there) = CachedKernel::load(place.clone())
            && there.packages == offer.packages
        {
            progress.event(Event::Reused);
            return Ok(there);
        }
        let part = self.folder.join(format!("{HIDDEN}{}.part", offer.release));
        let made = fill(host, suite, offer, &part, progress).and_then(|()| {
            // A package that was built again has the old release; a damaged entry makes room too.
            if place.exists() {
                self.remove_locked(&offer.release)?;
            }
            fs::rename(&part, &place).map_err(KernelError::file("place", &place))
        });
        if let Err(error) = made {
            // The error is what counts; what is left now is swept away later.
            let _ = fs::remove_dir_all(&part);
            return Err(error);
        }
        CachedKernel::load(place)
    }
}

fn check(host: &Host) -> Result<(), KernelError> {
    let missing = host.missing(&TOOLS);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(KernelError::MissingTools { missing })
    }
}

fn step(number: usize, title: &str, progress: &mut dyn Progress) {
    progress.event(Event::Step {
        number,
        count: STEPS,
        title,
    });
}

/// The versions of `offered` that may have been meant by `wanted`: those of its series, such as 6.12, else all.
fn near(offered: &[Offer], wanted: &str) -> Vec<String> {
    let series = |text: &str| text.split('.').take(2).collect::<Vec<_>>().join(".");
    let versions = offered.iter().map(|it| &it.version);
    let same: Vec<_> = versions
        .clone()
        .filter(|it| series(it) == series(wanted))
        .cloned()
        .collect();
    if same.is_empty() {
        versions.cloned().collect()
    } else {
        same
    }
}

/// Fetches and unpacks the kernel into the folder `part`.
fn fill(
    host: &Host,
    suite: &Suite<'_>,
    offer: &Offer,
    part: &Path,
    progress: &mut dyn Progress,
) -> Result<(), KernelError> {
    let (debs, tree) = (part.join("debs"), part.join("tree"));
    for folder in [&debs, &tree] {
        fs::create_dir_all(folder).map_err(KernelError::file("create", folder))?;
    }
    step(2, &format!("fetching {}", offer.release), progress);
    suite.download(offer, &debs, progress)?;
    step(3, "unpacking", progress);
    let unpack = |source: ImageError| KernelError::Unpack {
        release: offer.release.clone(),
        source,
    };
    for entry in fs::read_dir(&debs).map_err(KernelError::file("list", &debs))? {
        let deb = entry.map_err(KernelError::file("list", &debs))?.path();
        let program = host
            .program("dpkg-deb")
            .arg("--extract")
            .arg(&deb)
            .arg(&tree);
        program.run(|_| ()).map_err(unpack)?;
    }
    pick(offer, &tree, part)?;
    step(4, "indexing the modules", progress);
    // depmod looks for lib/modules/RELEASE.
    let base = part.join("base");
    let modules = base.join("lib/modules").join(&offer.release);
    let above = base.join("lib/modules");
    fs::create_dir_all(&above).map_err(KernelError::file("create", &above))?;
    fs::rename(part.join("modules"), &modules).map_err(KernelError::file("place", &modules))?;
    host.program("depmod")
        .arg("--basedir")
        .arg(&base)
        .arg(&offer.release)
        .run(|line| progress.event(Event::Detail(line)))
        .map_err(unpack)?;
    fs::rename(&modules, part.join("modules")).map_err(KernelError::file("place", &modules))?;
    for folder in [&debs, &tree, &base] {
        fs::remove_dir_all(folder).map_err(KernelError::file("remove", folder))?;
    }
    record(offer, part)
}

/// Takes the kernel's parts out of the tree of its packages: older ones have the kernel in `/boot`, newer ones beside the
/// modules.
fn pick(offer: &Offer, tree: &Path, part: &Path) -> Result<(), KernelError> {
    let release = &offer.release;
    let folders = ["usr/lib/modules", "lib/modules"].map(|it| tree.join(it).join(release));
    let incomplete = |what| KernelError::Incomplete {
        release: release.clone(),
        part: what,
    };
    let modules = folders.into_iter().find(|it| it.is_dir());
    let modules = modules.ok_or_else(|| incomplete("modules"))?;
    for (name, what) in [("vmlinuz", "kernel"), ("config", "configuration")] {
        let places = [
            tree.join(format!("boot/{name}-{release}")),
            modules.join(name),
        ];
        let found = places.into_iter().find(|it| it.is_file());
        let found = found.ok_or_else(|| incomplete(what))?;
        fs::rename(&found, part.join(name)).map_err(KernelError::file("place", &found))?;
    }
    fs::rename(&modules, part.join("modules")).map_err(KernelError::file("place", &modules))
}

/// Writes where the kernel came from, and sees that all of it is on the disk.
fn record(offer: &Offer, part: &Path) -> Result<(), KernelError> {
    let record = CachedKernel {
        release: offer.release.clone(),
        version: offer.version.clone(),
        flavour: offer.flavour,
        suite: offer.suite.clone(),
        size: used(part).map_err(KernelError::file("read", part))?,
        packages: offer.packages.clone(),
        folder: part.to_owned(),
    };
    let path = part.join(RECORD);
    let text = serde_json::to_vec_pretty(&record).map_err(|source| KernelError::Record {
        path: path.clone(),
        source,
    })?;
    fs::write(&path, text).map_err(KernelError::file("write", &path))?;
    let folder = File::open(part).map_err(KernelError::file("read", part))?;
    rustix::fs::syncfs(&folder).map_err(|errno| KernelError::file("write", part)(errno.into()))
}

/// The bytes that a folder takes on the disk (512 to a block, stat(3type)).
fn used(folder: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += meta.blocks() * 512;
        if meta.is_dir() {
            sum += used(&entry.path())?;
        }
    }
    Ok(sum)
}
