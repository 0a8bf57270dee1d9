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

/// The project's cache folder, `$XDG_CACHE_HOME/pcp-vmm`: shared by all checkouts of one user, and made if missing.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(xdg), _) if !xdg.is_empty() => PathBuf::from(xdg),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        _ => top().join(".cache"),
    };
    let cache = base.join("pcp-vmm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make `{}`", cache.display()))?;
    Ok(cache)
}
