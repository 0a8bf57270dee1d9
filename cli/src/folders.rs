//! The folders that the user may name.

use std::path::PathBuf;

use crate::args::CommonArgs;
use crate::diagnostic::Diagnostic;
use crate::env;

/// The folder of what is kept between runs.
pub(crate) fn state_dir(args: &CommonArgs) -> Result<PathBuf, Diagnostic> {
    let named = args.state_dir.clone();
    let named = named.or_else(|| env::get(env::STATE_DIR).map(PathBuf::from));
    let path = named.or_else(env::state_dir).ok_or_else(|| {
        Diagnostic::usage("state-dir", "there is no folder to keep anything in")
            .cause("`HOME` is not set")
            .hint("`--state-dir DIR` names a folder of yours")
    })?;
    std::path::absolute(path).map_err(|error| {
        Diagnostic::usage("state-dir", "`--state-dir` names no folder").because(&error)
    })
}
