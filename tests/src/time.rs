//! How long the tests wait, and waiting for a condition.

use std::env;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// `seconds` on plain hardware; four times as long in the lab, where every instruction is emulated.
#[must_use]
pub fn limit(seconds: u64) -> Duration {
    Duration::from_secs(if is_lab() { seconds * 4 } else { seconds })
}

/// Whether the tests run in the lab.
#[must_use]
pub fn is_lab() -> bool {
    env::var_os("PCP_VMM_LAB").is_some()
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
