//! The record of a machine: what runs, as its process wrote it down at the start.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RECORD;
use crate::config::{Credential, CredentialSource, Resolved};

/// What a machine's process writes down at its start. Fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format, 1.
    pub version: u32,
    /// The machine's name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The version of the program that runs it.
    pub program: String,
    /// Milliseconds of Unix time at its start.
    pub started: u64,
    /// The variant of its guest, if it is from a bundle.
    #[serde(default)]
    pub variant: Option<String>,
    /// That bundle's folder.
    #[serde(default)]
    pub bundle: Option<PathBuf>,
    /// The name that its process carries for PCP's scripts.
    #[serde(default)]
    pub process: Option<String>,
    /// The folder in which it was started, where relative paths begin.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Its guest's address, if it is known on the host.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Whether the host reaches the guest at that address, without a forward.
    #[serde(default)]
    pub direct: bool,
    /// The private key by which its guest lets its user in, if it was told one.
    #[serde(default)]
    pub ssh_key: Option<PathBuf>,
    /// Its control socket.
    pub control: PathBuf,
    /// Its values with their origins.
    pub settings: Value,
    /// The whole spec; credentials without their values.
    pub spec: Value,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The record.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not written yet, or by nobody of ours.
    #[error("`{}` is no record of a machine", path.display())]
    Form {
        /// The record.
        path: PathBuf,
        /// Where reading stopped.
        source: serde_json::Error,
    },
}

impl Record {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;

    /// The record in the folder `folder`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn read(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        serde_json::from_slice(&text).map_err(|source| RecordError::Form { path, source })
    }

    /// Takes down what `resolved` says, secrets left out.
    #[must_use]
    pub fn with_config(mut self, resolved: &Resolved) -> Self {
        let mut spec = resolved.spec.clone();
        let hidden = |credential: Credential| Credential {
            source: match credential.source {
                CredentialSource::Text(_) => CredentialSource::Text("…".to_owned()),
                file @ CredentialSource::File(_) => file,
            },
            ..credential
        };
        spec.credentials = spec.credentials.into_iter().map(hidden).collect();
        // Plain data, which JSON can always hold.
        self.spec = serde_json::to_value(&spec).unwrap_or_default();
        self.settings = serde_json::to_value(&resolved.settings).unwrap_or_default();
        self
    }
}
