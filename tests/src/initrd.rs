//! The initramfs of a stock kernel, with what one test wants done in the guest.

use std::io::Write;

use anyhow::{Context, Result};
use cpio::newc;

/// `base` followed by an archive with the script `/job`, which the init in `base` runs before it powers the guest off.
///
/// # Errors
///
/// When the archive cannot be made.
pub fn with_job(base: &[u8], script: &str) -> Result<Vec<u8>> {
    with_programs(base, &[("job", script.as_bytes())])
}

/// `base` followed by an archive of programs, each with its name: a kernel unpacks archives that follow each other into
/// the same tree.
///
/// # Errors
///
/// When the archive cannot be made.
pub fn with_programs(base: &[u8], programs: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    // Archives begin at multiples of four bytes.
    let mut whole = base.to_vec();
    whole.resize(base.len().next_multiple_of(4), 0);
    for (name, program) in programs {
        let length =
            u32::try_from(program.len()).with_context(|| format!("`{name}` is too long"))?;
        let mut writer = newc::Builder::new(name)
            .mode(0o100_755)
            .nlink(1)
            .write(&mut whole, length);
        writer.write_all(program)?;
        writer.finish()?;
    }
    newc::trailer(&mut whole)?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_follows_the_base() {
        let whole = with_job(&[0; 5], "echo hello\n").unwrap();
        let reader = newc::Reader::new(&whole[8..]).unwrap();
        assert_eq!(reader.entry().name(), "job");
        assert_eq!(reader.entry().file_size(), 11);
    }
}
