//! Saved device state: what a device hands to the snapshot container and takes back.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One device's saved state. The container stores it beside the device's id and cannot look inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// What kind of device wrote it, for example `virtio-rng`.
    pub kind: String,
    /// The version of the device's state type (`ConsoleStateV1` is 1).
    pub version: u32,
    /// The state itself, as JSON.
    pub data: Vec<u8>,
}

impl Payload {
    /// Packs `state` as version `version` of `kind`.
    ///
    /// # Errors
    /// The state cannot be written as JSON.
    pub fn pack<T: Serialize>(kind: &str, version: u32, state: &T) -> Result<Self, PersistError> {
        let data = serde_json::to_vec(state).map_err(PersistError::Encode)?;
        Ok(Self {
            kind: kind.to_owned(),
            version,
            data,
        })
    }

    /// Unpacks a payload that must be version `version` of `kind`.
    ///
    /// # Errors
    /// The payload is of another kind or version, or its data does not parse.
    pub fn unpack<T: DeserializeOwned>(&self, kind: &str, version: u32) -> Result<T, PersistError> {
        if self.kind != kind || self.version != version {
            return Err(PersistError::Mismatch {
                found: format!("{} v{}", self.kind, self.version),
                wanted: format!("{kind} v{version}"),
            });
        }
        serde_json::from_slice(&self.data).map_err(PersistError::Decode)
    }
}

/// Why device state could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The state type refused to serialise.
    #[error("cannot encode device state")]
    Encode(#[source] serde_json::Error),
    /// The bytes are not this version's state.
    #[error("cannot decode device state")]
    Decode(#[source] serde_json::Error),
    /// Another kind or version of state was found.
    #[error("device state is {found}, expected {wanted}")]
    Mismatch {
        /// What the payload says it is.
        found: String,
        /// What the device takes.
        wanted: String,
    },
    /// The state parsed but breaks a rule of the device.
    #[error("device state is invalid: {0}")]
    Invalid(String),
}
