//! The firmware configuration device (QEMU docs/specs/fw_cfg.rst): named files, which the guest reads
//! by a port that selects one and a port that gives its bytes in turn. Found by ACPI as `QEMU0002`.
//!
//! Nothing can be written, and there is no DMA interface: Linux uses that one for writing alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bus::{BusDevice, Effect};
use crate::persist::{Payload, PersistError};

/// The number of ports: the selector takes two, and the second of them gives the data.
pub const LEN: u64 = 2;
/// The longest name of a file; a zero byte follows it in the directory.
pub const MAX_NAME: usize = NAME_FIELD - 1;

const SELECTOR: u64 = 0;
/// Keys of the items that are always there, and that of the first file.
const SIGNATURE: u16 = 0x00;
const ID: u16 = 0x01;
const DIRECTORY: u16 = 0x19;
const FIRST_FILE: u16 = 0x20;
/// The bits of the selector that are no key: write mode and items of the architecture's own.
const NO_KEY: u16 = 0xc000;
/// The interface that is there (the item [`ID`]): selector and data.
const TRADITIONAL: u32 = 1 << 0;
const NAME_FIELD: usize = 56;

const KIND: &str = "fw-cfg";
const VERSION: u32 = 1;

/// A file.
#[derive(Clone, PartialEq, Eq)]
pub struct FwCfgFile {
    /// Its path, as `opt/org.example/name`.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// The content is kept out of logs and messages.
impl fmt::Debug for FwCfgFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FwCfgFile({}, {} bytes)", self.name, self.content.len())
    }
}

/// Why there cannot be such files.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FwCfgError {
    /// A name is empty, too long or has a zero byte.
    #[error("file name `{0}` has not 1 to {MAX_NAME} bytes")]
    Name(String),
    /// A file has more bytes than its length can say.
    #[error("file `{0}` is larger than 4 GiB")]
    TooLarge(String),
    /// There are more files than keys.
    #[error("{0} files are more than there are keys")]
    TooMany(usize),
}

/// The device.
#[derive(Debug)]
pub struct FwCfg {
    files: Vec<FwCfgFile>,
    directory: Vec<u8>,
    key: u16,
    at: usize,
}

impl FwCfg {
    /// A device with `files`.
    ///
    /// # Errors
    /// A name or a file's size does not fit, or there are too many.
    pub fn new(files: Vec<FwCfgFile>) -> Result<Self, FwCfgError> {
        let keys = usize::from(!NO_KEY - FIRST_FILE) + 1;
        if files.len() > keys {
            return Err(FwCfgError::TooMany(files.len()));
        }
        Ok(Self {
            directory: directory(&files)?,
            files,
            key: SIGNATURE,
            at: 0,
        })
    }

    /// The bytes of the selected item; none for a key that has none.
    fn item(&self) -> &[u8] {
        const FEATURES: [u8; 4] = TRADITIONAL.to_le_bytes();
        match self.key {
            SIGNATURE => b"QEMU",
            ID => &FEATURES,
            DIRECTORY => &self.directory,
            key => key
                .checked_sub(FIRST_FILE)
                .and_then(|file| self.files.get(usize::from(file)))
                .map_or(&[], |file| &file.content),
        }
    }

    /// What the guest is reading.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn save(&self) -> Result<Payload, PersistError> {
        let state = FwCfgStateV1 {
            key: self.key,
            at: self.at as u64,
        };
        Payload::pack(KIND, VERSION, &state)
    }

    /// Takes back what [`FwCfg::save`] gave, with the same files.
    ///
    /// # Errors
    /// The payload is of another device or version.
    pub fn restore(&mut self, state: &Payload) -> Result<(), PersistError> {
        let state: FwCfgStateV1 = state.unpack(KIND, VERSION)?;
        self.key = state.key & !NO_KEY;
        self.at = usize::try_from(state.at).unwrap_or(usize::MAX);
        Ok(())
    }
}

/// The item that lists the files: a count, then size, key and name of each, big-endian.
fn directory(files: &[FwCfgFile]) -> Result<Vec<u8>, FwCfgError> {
    let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let mut directory = count.to_be_bytes().to_vec();
    for (key, file) in (FIRST_FILE..).zip(files) {
        let name = file.name.as_bytes();
        if !(1..=MAX_NAME).contains(&name.len()) || name.contains(&0) {
            return Err(FwCfgError::Name(file.name.clone()));
        }
        let size = u32::try_from(file.content.len())
            .map_err(|_| FwCfgError::TooLarge(file.name.clone()))?;
        directory.extend(size.to_be_bytes());
        directory.extend(key.to_be_bytes());
        directory.extend([0; 2]);
        directory.extend(name);
        directory.resize(directory.len() + NAME_FIELD - name.len(), 0);
    }
    Ok(directory)
}

impl BusDevice for FwCfg {
    /// The item's next bytes, one for each that is read: a string instruction reads many at once.
    /// Behind its end there are zeros.
    fn read(&mut self, _: u64, data: &mut [u8]) {
        let rest = self.item().get(self.at..).unwrap_or_default();
        let count = rest.len().min(data.len());
        let (there, behind) = data.split_at_mut(count);
        there.copy_from_slice(rest.get(..count).unwrap_or_default());
        behind.fill(0);
        self.at += count;
    }

    /// Selects an item; other writes do nothing.
    fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        if offset == SELECTOR
            && data.len() >= 2
            && let Some(key) = data.last_chunk()
        {
            self.key = u16::from_le_bytes(*key) & !NO_KEY;
            self.at = 0;
        }
        Effect::None
    }
}

/// Saved state, version 1.
#[derive(Debug, Serialize, Deserialize)]
struct FwCfgStateV1 {
    key: u16,
    at: u64,
}

#[cfg(test)]
mod tests;
