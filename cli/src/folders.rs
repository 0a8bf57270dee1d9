//! The folders that the user may name.

use std::path::{Path, PathBuf};

use crate::args::CommonArgs;
use crate::diagnostic::Diagnostic;
use crate::digest::digest;
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

/// The folder of what is there for a moment, if the user names one.
pub(crate) fn tmp_dir(args: &CommonArgs) -> Result<Option<PathBuf>, Diagnostic> {
    if args.tmp_dir.is_none() && !env::is_set(env::TMP_DIR) {
        return Ok(None);
    }
    chosen(args.tmp_dir.clone(), env::TMP_DIR, None, "tmp-dir").map(Some)
}

/// The flags that name a VM's own folders to another process, as the user named them to this one. It has the variables.
pub(crate) fn flags(args: &CommonArgs) -> Vec<String> {
    let named = [
        ("--state-dir", &args.state_dir),
        ("--log-dir", &args.log_dir),
    ];
    let given = |(flag, folder): (&str, &Option<PathBuf>)| {
        let folder = folder.as_deref()?.to_string_lossy().into_owned();
        Some([flag.to_owned(), folder])
    };
    named.into_iter().filter_map(given).flatten().collect()
}

/// The longest name of [`name_of`], with room for what is put behind it (`NAME_MAX` is 255).
const NAME_MAX: usize = 200;

/// A file name that is `path`'s alone: its text, with what file names do not have written otherwise.
pub(crate) fn name_of(path: &Path) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let text = path.to_string_lossy();
    let escaped = text.chars().map(|c| match c {
        c if good(c) => c.to_string(),
        '/' => "+".to_owned(),
        other => format!("%{:x}", u32::from(other)),
    });
    let escaped = escaped.collect::<String>();
    match escaped.len().checked_sub(NAME_MAX) {
        None => escaped,
        // Its end tells people most; the digest keeps it apart from others with that end.
        Some(over) => format!(
            "%{:016x}{}",
            digest([text.as_bytes()]),
            &escaped[over + 17..]
        ),
    }
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
            .cause("`HOME` names no folder")
            .hint(format!("`--{flag} DIR` names a folder of yours"))
    })?;
    std::path::absolute(path).map_err(|error| {
        Diagnostic::usage(flag, format!("`--{flag}` names no folder")).because(&error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_a_file_name_of_its_own() {
        assert_eq!(name_of("/a/vms.toml".as_ref()), "+a+vms.toml");
        assert_ne!(name_of("/a/b c".as_ref()), name_of("/a/b+c".as_ref()));
        let long = |first: &str| name_of(format!("/{first}/{}", "x/".repeat(1000)).as_ref());
        assert_ne!(long("a"), long("b"));
        assert_eq!(long("a").len(), NAME_MAX);
    }
}
