//! Where things are: the work tree, its build folder, and the cache that all checkouts share.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

/// The top of the work tree that this xtask was built from.
pub(crate) fn top() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo's build folder.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| top().join("target"), PathBuf::from)
}

/// The project's cache folder, shared by all checkouts of one user, and made if missing: that of the program itself,
/// `$PCP_VMM_CACHE` or `$XDG_CACHE_HOME/pcp-vmm`.
pub(crate) fn cache() -> Result<PathBuf> {
    let get = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let xdg = || get("XDG_CACHE_HOME").or_else(|| Some(get("HOME")?.join(".cache")));
    let cache = get("PCP_VMM_CACHE").or_else(|| Some(xdg()?.join("pcp-vmm")));
    let cache = cache.unwrap_or_else(|| top().join(".cache"));
    fs::create_dir_all(&cache).with_context(|| format!("cannot make `{}`", cache.display()))?;
    fs::canonicalize(&cache).with_context(|| format!("cannot use `{}`", cache.display()))
}
