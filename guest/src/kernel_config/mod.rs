//! A kernel's configuration (the format of `.config`, Linux Documentation/kbuild/kconfig.rst), and what of it a guest needs.

mod needs;

use std::collections::HashMap;
use std::io::{self, Read};

use flate2::read::GzDecoder;

pub use needs::{Importance, Need, Purpose, Report, Row};

/// The most that is read of a configuration; real ones have 300 kB.
const MAX_BYTES: u64 = 4 << 20;
/// What a configuration inside a kernel lies behind (Linux kernel/configs.c).
const MARK: &[u8] = b"IKCFG_ST";
/// How much of a kernel is in memory while it is searched.
const CHUNK: usize = 1 << 20;

/// How an option is set; one that is not set has no setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Built in.
    BuiltIn,
    /// A module.
    Module,
    /// Anything else: a number, a text.
    Value,
}

/// The options that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelConfig(HashMap<String, Setting>);

impl KernelConfig {
    /// Reads lines such as `CONFIG_VIRTIO_PCI=y`, compressed with gzip or not. `None` if there is not one.
    ///
    /// # Errors
    /// If it cannot be read or unpacked.
    pub fn read(mut from: impl Read) -> io::Result<Option<Self>> {
        let mut magic = [0; 2];
        let mut filled = 0;
        while let Some(rest) = magic.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match from.read(rest)? {
                0 => break,
                n => filled += n,
            }
        }
        let begin = magic.get(..filled).unwrap_or_default().to_vec();
        let whole = io::Cursor::new(begin).chain(from);
        let mut text = Vec::new();
        if magic == [0x1f, 0x8b] {
            GzDecoder::new(whole)
                .take(MAX_BYTES)
                .read_to_end(&mut text)?;
        } else {
            whole.take(MAX_BYTES).read_to_end(&mut text)?;
        }
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// The configuration inside an uncompressed kernel that was built with `CONFIG_IKCONFIG`, if it was.
    ///
    /// # Errors
    /// If the kernel cannot be read, or what is inside not be unpacked.
    pub fn inside(mut kernel: impl Read) -> io::Result<Option<Self>> {
        let mut window = Vec::with_capacity(CHUNK + MARK.len());
        loop {
            let read = kernel
                .by_ref()
                .take(CHUNK as u64)
                .read_to_end(&mut window)?;
            let found = window.windows(MARK.len()).position(|it| it == MARK);
            if let Some(at) = found {
                let behind = window.split_off(at + MARK.len());
                return Self::read(io::Cursor::new(behind).chain(kernel));
            }
            if read == 0 {
                return Ok(None);
            }
            // A mark that begins at the end is whole in the next window.
            window.drain(..window.len().saturating_sub(MARK.len() - 1));
        }
    }

    /// Reads the lines of `text`; `None` if none of them sets an option.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let set = text.lines().filter_map(|line| {
            let (name, value) = line.trim().strip_prefix("CONFIG_")?.split_once('=')?;
            let setting = match value {
                "y" => Setting::BuiltIn,
                "m" => Setting::Module,
                "n" => return None,
                _ => Setting::Value,
            };
            Some((name.to_owned(), setting))
        });
        let options: HashMap<_, _> = set.collect();
        (!options.is_empty()).then_some(Self(options))
    }

    /// How the option is set, named without `CONFIG_`.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<Setting> {
        self.0.get(option).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "# Linux/x86 6.12.57\nCONFIG_PCI=y\nCONFIG_VSOCKETS=m\nCONFIG_HZ=250\n\
                        # CONFIG_KVM_GUEST is not set\nCONFIG_X=n\n";

    fn packed() -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(TEXT.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    fn is_text(config: Option<KernelConfig>) {
        let config = config.unwrap();
        assert_eq!(config.get("PCI"), Some(Setting::BuiltIn));
        assert_eq!(config.get("VSOCKETS"), Some(Setting::Module));
        assert_eq!(config.get("HZ"), Some(Setting::Value));
        for unset in ["KVM_GUEST", "X", "VSOCK"] {
            assert_eq!(config.get(unset), None, "{unset}");
        }
    }

    #[test]
    fn options_are_read_plain_and_compressed() {
        is_text(KernelConfig::read(TEXT.as_bytes()).unwrap());
        is_text(KernelConfig::read(&*packed()).unwrap());
    }

    #[test]
    fn what_is_no_configuration_is_none() {
        assert_eq!(KernelConfig::read(&b""[..]).unwrap(), None);
        assert_eq!(KernelConfig::read(&b"x"[..]).unwrap(), None);
        assert_eq!(KernelConfig::read(&b"#!/bin/sh\n"[..]).unwrap(), None);
        assert!(KernelConfig::read(&[0x1f, 0x8b, 1, 2][..]).is_err());
    }

    #[test]
    fn a_configuration_inside_a_kernel_is_found_wherever_it_lies() {
        for before in [0, 7, CHUNK - 3, CHUNK, 2 * CHUNK - 8] {
            let mut kernel = vec![b'I'; before];
            kernel.extend(MARK);
            kernel.extend(packed());
            kernel.extend(b"IKCFG_ED");
            kernel.extend(vec![0; 1000]);
            is_text(KernelConfig::inside(&*kernel).unwrap());
        }
        assert_eq!(KernelConfig::inside(&*vec![0; 3 * CHUNK]).unwrap(), None);
    }
}
