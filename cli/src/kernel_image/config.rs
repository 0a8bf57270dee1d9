//! Where a kernel's configuration is to be had.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use guest::kernel_config::KernelConfig;

/// A configuration and where it is from.
#[derive(Debug)]
pub(crate) struct Found {
    /// The configuration.
    pub(crate) config: KernelConfig,
    /// The file.
    pub(crate) from: PathBuf,
}

/// The configuration of the kernel `image` of version `version` in one of the usual files: beside it, in `/boot`, or with its
/// modules.
pub(crate) fn beside(image: &Path, version: Option<&str>) -> Option<Found> {
    let folder = image.parent().unwrap_or(Path::new("."));
    let mut places = Vec::new();
    if let Some(version) = version {
        places.extend([
            folder.join(format!("config-{version}")),
            folder.join("config"),
            format!("/boot/config-{version}").into(),
            format!("/lib/modules/{version}/config").into(),
            format!("/lib/modules/{version}/build/.config").into(),
        ]);
    } else {
        places.push(folder.join("config"));
    }
    places.into_iter().find_map(|place| read(&place))
}

/// That of the kernel that runs here.
pub(crate) fn of_host(version: &str) -> Option<Found> {
    let own = read(Path::new("/proc/config.gz"));
    own.or_else(|| beside(Path::new("/boot/vmlinuz"), Some(version)))
}

/// The configuration in the file `path`, if it is one.
pub(crate) fn read(path: &Path) -> Option<Found> {
    let config = File::open(path).and_then(KernelConfig::read);
    match config {
        Ok(Some(config)) => Some(Found {
            config,
            from: path.to_owned(),
        }),
        Ok(None) => None,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                log::warn!("cannot read {}: {error}", path.display());
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_configuration_of_the_version_is_taken_first() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("vmlinuz");
        assert!(beside(&image, Some("0.0-none")).is_none());
        fs::write(folder.path().join("config"), "CONFIG_A=y\n").unwrap();
        let from = |version| beside(&image, version).unwrap().from;
        assert_eq!(from(None), folder.path().join("config"));
        assert_eq!(from(Some("0.0-none")), folder.path().join("config"));
        fs::write(folder.path().join("config-0.0-none"), "CONFIG_A=y\n").unwrap();
        assert_eq!(
            from(Some("0.0-none")),
            folder.path().join("config-0.0-none")
        );
    }
}
