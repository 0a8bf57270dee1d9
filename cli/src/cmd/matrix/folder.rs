//! The folder of results: all of them as JSON, and as JUnit with the ends of the logs.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::matrix::junit;
use crate::matrix::results::Outcome;
use crate::whole_file;

/// How much of a log JUnit gets.
const LOG_TAIL: u64 = 16 << 10;

/// Makes the folder, if it is missing.
pub(in crate::cmd) fn make(folder: &Path) -> Result<(), Diagnostic> {
    fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))
}

/// Writes `results` as `results.json`, and the outcomes in them as the suite `name` of `junit.xml`.
pub(in crate::cmd) fn write(
    folder: &Path,
    name: &str,
    results: &impl Serialize,
    outcomes: &[Outcome],
) -> Result<(), Diagnostic> {
    let json = serde_json::to_vec_pretty(results).map_err(|error| {
        Diagnostic::failure("results", "cannot write the results").because(&error)
    })?;
    let xml = junit::xml(name, outcomes, tail);
    for (name, bytes) in [("results.json", json), ("junit.xml", xml.into_bytes())] {
        let path = folder.join(name);
        whole_file::write(&path, &bytes, 0o666).map_err(|error| cannot_write(&path, &error))?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Diagnostic {
    let what = format!("cannot write `{}`", path.display());
    Diagnostic::failure("results", what).because(error)
}

/// The end of the log of an outcome's last attempt.
fn tail(outcome: &Outcome) -> String {
    let read = || {
        let mut log = File::open(outcome.attempts.last()?.log.as_ref()?).ok()?;
        let length = log.metadata().ok()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))
            .ok()?;
        let mut bytes = Vec::new();
        log.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}
