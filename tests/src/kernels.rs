//! Debian's own kernels, as `cargo xtask` fetched them: `PCP_VMM_KERNELS` names their folder.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::initrd;

/// One kernel package, unpacked.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Version and flavour, as `6.12-cloud`.
    pub name: String,
    folder: PathBuf,
}

impl Kernel {
    /// The kernel `name`.
    ///
    /// # Errors
    ///
    /// When it was not fetched.
    pub fn named(name: &str) -> Result<Self> {
        let all = env::var_os("PCP_VMM_KERNELS").context("PCP_VMM_KERNELS names no folder")?;
        let folder = Path::new(&all).join(name);
        ensure!(
            folder.is_dir(),
            "no kernel {name} in {}",
            Path::new(&all).display()
        );
        Ok(Self {
            name: name.into(),
            folder,
        })
    }

    /// The bzImage.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The ELF file inside the bzImage.
    #[must_use]
    pub fn elf(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// The initramfs with the modules and busybox, to which programs can be added.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn initrd(&self) -> Result<Vec<u8>> {
        let base = self.folder.join("initrd");
        fs::read(&base).with_context(|| format!("cannot read {}", base.display()))
    }

    /// Writes an initramfs that runs `script` (for busybox's shell) to `path`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written.
    pub fn write_initrd(&self, script: &str, path: &Path) -> Result<()> {
        fs::write(path, initrd::with_job(&self.initrd()?, script)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
