//! How long the tests wait, and waiting for a condition.

use std::env;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// `seconds` on plain hardware; five times as long in the lab, where every instruction is emulated.
#[must_use]
pub fn limit(seconds: u64) -> Duration {
    let factor = if env::var_os("PCP_VMM_LAB").is_some() {
        5
    } else {
        1
    };
    Duration::from_secs(seconds * factor)
}

/// Waits until `holds` does.
///
/// # Errors
///
/// When it does not within [`limit`]`(seconds)`; the error names `what`.
pub fn wait_until(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + limit(seconds);
    while !holds() {
        if Instant::now() > end {
            bail!("waited {:?} in vain: {what}", limit(seconds));
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
