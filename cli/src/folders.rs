//! The folders that the user may name.

use std::path::PathBuf;

use crate::args::CommonArgs;
use crate::diagnostic::Diagnostic;
use crate::env;

/// The folder of what is kept between runs.
pub(crate) fn state_dir(args: &CommonArgs) -> Result<PathBuf, Diagnostic> {
    let usual = env::state_dir();
    chosen(args.state_dir.clone(), env::STATE_DIR, usual, "state-dir")
}

/// Whether the user names the folder of the logs.
pub(crate) fn names_log_dir(args: &CommonArgs) -> bool {
    args.log_dir.is_some() || env::is_set(env::LOG_DIR)
}

/// The folder of logs.
pub(crate) fn log_dir(args: &CommonArgs) -> Result<PathBuf, Diagnostic> {
    let usual = env::log_dir();
    chosen(args.log_dir.clone(), env::LOG_DIR, usual, "log-dir")
}

/// The folder that the flag names, else the variable, else the usual one.
fn chosen(
    named: Option<PathBuf>,
    variable: &str,
    usual: Option<PathBuf>,
    flag: &'static str,
) -> Result<PathBuf, Diagnostic> {
    let named = named.or_else(|| env::get(variable).map(PathBuf::from));
    let path = named.or(usual).ok_or_else(|| {
        Diagnostic::usage(flag, "there is no folder to keep anything in")
            .cause("`HOME` is not set")
            .hint(format!("`--{flag} DIR` names a folder of yours"))
    })?;
    std::path::absolute(path).map_err(|error| {
        Diagnostic::usage(flag, format!("`--{flag}` names no folder")).because(&error)
    })
}
