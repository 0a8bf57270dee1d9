//! The guest's init, ready to go into an initrd; its source is in `guest/init/`.

/// The init as a static x86-64 executable, compiled by the build script. A `static`: a constant would be there once for each
/// crate that uses it.
pub static INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

#[cfg(test)]
mod tests {
    use super::INIT;

    /// The program headers' types (ELF-64 Object File Format 1.5, "Program header").
    fn segments() -> Vec<u32> {
        let word = |at: usize| u16::from_le_bytes(INIT[at..at + 2].try_into().unwrap());
        let table = u64::from_le_bytes(INIT[32..40].try_into().unwrap()) as usize;
        (0..usize::from(word(56)))
            .map(|index| table + index * usize::from(word(54)))
            .map(|at| u32::from_le_bytes(INIT[at..at + 4].try_into().unwrap()))
            .collect()
    }

    #[test]
    fn the_init_needs_no_dynamic_loader() {
        const PT_INTERP: u32 = 3;
        const PT_LOAD: u32 = 1;
        assert_eq!(&INIT[..5], b"\x7fELF\x02");
        let segments = segments();
        assert!(segments.contains(&PT_LOAD));
        assert!(!segments.contains(&PT_INTERP), "{segments:?}");
    }

    #[test]
    fn the_init_stays_small() {
        assert!(INIT.len() < 640 << 10, "{} bytes", INIT.len());
    }
}
